"""How much of each subscription waits, so that one endpoint that takes nothing does not fill the volume for all.

In: messages as they are made and finished, and from time to time the outbox's own counts, which correct what was added
up since. Out: whether a subscription may have more. ``hookline.flow`` drops what it may not.
"""

from __future__ import annotations

from collections.abc import Mapping

from hookline.model import Counts, Message


class Backlog:
    """Numbers and bytes of waiting messages, by subscription uid. ``most`` messages or ``room`` bytes are full."""

    def __init__(self, most: int, room: int) -> None:
        self._most = most
        self._room = room
        self._waiting: dict[str, tuple[int, int]] = {}

    def is_full(self, uid: str) -> bool:
        """Whether as much waits as may."""
        number, size = self._waiting.get(uid, (0, 0))
        return number >= self._most or size >= self._room

    @property
    def full(self) -> frozenset[str]:
        """The subscriptions of which as much waits as may."""
        return frozenset(uid for uid in self._waiting if self.is_full(uid))

    def came(self, message: Message) -> None:
        """One more waits."""
        number, size = self._waiting.get(message.subscription, (0, 0))
        self._waiting[message.subscription] = (number + 1, size + _size(message))

    def went(self, message: Message) -> None:
        """One of those waits no longer."""
        if (waiting := self._waiting.get(message.subscription)) is not None:
            self._waiting[message.subscription] = (waiting[0] - 1, waiting[1] - _size(message))

    def counted(self, counts: Mapping[str, Counts]) -> None:
        """The outbox was counted: correct what was added and finished since."""
        self._waiting = {uid: (found.pending, found.pending_bytes) for uid, found in counts.items()}

    def forget(self, uid: str) -> None:
        """A subscription is gone."""
        self._waiting.pop(uid, None)


def _size(message: Message) -> int:
    """About what the outbox counts, which writes the headers as JSON."""
    return len(message.body) + sum(len(name) + len(value) for name, value in message.headers)
