"""How much of each subscription waits, so that one endpoint that takes nothing does not fill the volume for all.

In: messages as they are made and finished, and from time to time the outbox's own counts, which correct what was added
up since. Out: whether a subscription may have more. ``hookline.flow`` drops what it may not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from hookline.model import Counts, Message


class Backlog:
    """Numbers and bytes of waiting messages, by subscription uid.

    ``most`` messages or ``room`` bytes of one are full; so are all of a namespace that has ``shared`` bytes together,
    where 0 is any number.
    """

    def __init__(self, most: int, room: int, shared: int = 0) -> None:
        self._most = most
        self._room = room
        self._shared = shared
        self._waiting: dict[str, tuple[int, int]] = {}
        self._namespaces: dict[str, str] = {}
        self._of_namespace: Counter[str] = Counter()

    def belongs(self, uid: str, namespace: str) -> None:
        """This subscription is in this namespace."""
        if uid not in self._namespaces:
            self._namespaces[uid] = namespace
            self._of_namespace[namespace] += self._waiting.get(uid, (0, 0))[1]

    def is_full(self, uid: str) -> bool:
        """Whether as much waits as may."""
        number, size = self._waiting.get(uid, (0, 0))
        return number >= self._most or size >= self._room or self.is_crowded(uid)

    def is_crowded(self, uid: str) -> bool:
        """Whether as much waits as may of all subscriptions of its namespace together."""
        return 0 < self._shared <= self._of_namespace.get(self._namespaces.get(uid, ""), 0)

    @property
    def full(self) -> frozenset[str]:
        """The subscriptions of which as much waits as may."""
        return frozenset(uid for uid in self._waiting.keys() | self._namespaces.keys() if self.is_full(uid))

    def came(self, message: Message) -> None:
        """One more waits."""
        number, size = self._waiting.get(message.subscription, (0, 0))
        self._set(message.subscription, number + 1, size + _size(message))

    def went(self, message: Message) -> None:
        """One of those waits no longer."""
        if (waiting := self._waiting.get(message.subscription)) is not None:
            self._set(message.subscription, waiting[0] - 1, waiting[1] - _size(message))

    def counted(self, counts: Mapping[str, Counts]) -> None:
        """The outbox was counted: correct what was added and finished since."""
        self._waiting = {uid: (found.pending, found.pending_bytes) for uid, found in counts.items()}
        self._of_namespace.clear()
        for uid, namespace in self._namespaces.items():
            self._of_namespace[namespace] += self._waiting.get(uid, (0, 0))[1]

    def forget(self, uid: str) -> None:
        """A subscription is gone."""
        if uid in self._waiting:
            self._set(uid, 0, 0)
            del self._waiting[uid]
        self._namespaces.pop(uid, None)

    def _set(self, uid: str, number: int, size: int) -> None:
        if (namespace := self._namespaces.get(uid)) is not None:
            self._of_namespace[namespace] += size - self._waiting.get(uid, (0, 0))[1]
        self._waiting[uid] = (number, size)


def _size(message: Message) -> int:
    """About what the outbox counts, which writes the headers as JSON."""
    return len(message.body) + sum(len(name) + len(value) for name, value in message.headers)
