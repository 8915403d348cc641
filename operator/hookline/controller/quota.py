"""How many subscriptions and watches each namespace may have, and which of its subscriptions have a place. No I/O.

In: the subscriptions that exist, and the scopes that each wants. Out: why one has no place, if so. The oldest keep
theirs: by creationTimestamp, then by uid. Whoever goes makes room for the next.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from hookline.model import Object


@dataclass(slots=True)
class _Namespace:
    order: list[tuple[str, str]] = field(default_factory=list)  # creationTimestamp and uid
    scopes: dict[str, frozenset[str]] = field(default_factory=dict)
    crowded: dict[str, int] = field(default_factory=dict)  # those of the oldest that need too many watches in all
    seated: frozenset[str] = frozenset()
    stale: bool = False

    def place(self, key: tuple[str, str]) -> int:
        """By age, from 0."""
        return bisect.bisect_left(self.order, key)


class Quota:
    """``subscriptions`` and ``informers`` are the most that a namespace may have; 0: any number.

    ``on_lost`` is told the uids of those that had a place and have it no longer.
    """

    def __init__(
        self, subscriptions: int = 0, informers: int = 0, on_lost: Callable[[Iterable[str]], None] = lambda _: None
    ) -> None:
        self._subscriptions = subscriptions
        self._informers = informers
        self.on_lost = on_lost
        self._namespaces: dict[str, _Namespace] = {}
        self._keys: dict[str, tuple[str, tuple[str, str]]] = {}

    def put(self, obj: Object) -> None:
        """A subscription exists."""
        metadata = obj["metadata"]
        uid: str = metadata["uid"]
        if uid in self._keys:
            return
        key = (metadata.get("creationTimestamp") or "", uid)
        self._keys[uid] = (metadata["namespace"], key)
        namespace = self._namespaces.setdefault(metadata["namespace"], _Namespace())
        bisect.insort(namespace.order, key)
        self._outdate(namespace, key)

    def drop(self, uid: str) -> None:
        """A subscription is gone."""
        if (found := self._keys.pop(uid, None)) is None:
            return
        namespace = self._namespaces[found[0]]
        self._outdate(namespace, found[1])
        del namespace.order[namespace.place(found[1])]
        namespace.scopes.pop(uid, None)
        if not namespace.order:
            del self._namespaces[found[0]]

    def wants(self, uid: str, scopes: frozenset[str]) -> None:
        """These are the scopes (their keys, with the ServiceAccount) that a subscription asks for now."""
        if (found := self._keys.get(uid)) is not None:
            namespace = self._namespaces[found[0]]
            if namespace.scopes.get(uid) != scopes:
                namespace.scopes[uid] = scopes
                self._outdate(namespace, found[1])

    def refusal(self, uid: str) -> str:
        """Why a subscription has no place, and what to do; empty when it has one."""
        if text := self.too_young(uid):
            return text
        namespace = self._looked_at(uid)
        if namespace is None or uid not in namespace.crowded:
            return ""
        return (
            f"with it the namespace's subscriptions would need {namespace.crowded[uid]} watches, and {self._informers} "
            "are served: name fewer kinds and namespaces, or ask the administrator to raise "
            "`max_informers_per_namespace`"
        )

    def too_young(self, uid: str) -> str:
        """The same, but empty also where it wants too many watches: its spec may be another one by now."""
        self._looked_at(uid)
        if not self.is_too_young(uid):
            return ""
        namespace, key = self._keys[uid]
        place = self._namespaces[namespace].place(key) + 1
        return (
            f"it is number {place} by age, and the oldest {self._subscriptions} of a namespace are served: "
            "delete some, or ask the administrator to raise `max_subscriptions_per_namespace`"
        )

    def is_too_young(self, uid: str) -> bool:
        """Whether so many are older that it has no place. Nobody is told by this who lost one."""
        found = self._keys.get(uid)
        return found is not None and self._is_beyond(self._namespaces[found[0]].place(found[1]))

    def _is_beyond(self, place: int) -> bool:
        return 0 < self._subscriptions <= place

    def _outdate(self, namespace: _Namespace, key: tuple[str, str]) -> None:
        """Who has a place is to be found out anew, unless this is about one that has none, whoever else has."""
        namespace.stale = namespace.stale or not self._is_beyond(namespace.place(key))

    def _looked_at(self, uid: str) -> _Namespace | None:
        if (found := self._keys.get(uid)) is None:
            return None
        namespace = self._namespaces[found[0]]
        if namespace.stale:
            before = namespace.seated
            self._seat(namespace)
            if lost := {other for other in before - namespace.seated - {uid} if other in self._keys}:
                self.on_lost(lost)
        return namespace

    def _seat(self, namespace: _Namespace) -> None:
        """Look at the oldest, as many as are served: what it costs does not grow with those that are not."""
        namespace.stale = False
        namespace.crowded = {}
        watched: set[str] = set()
        seated = []
        for _, uid in namespace.order[: self._subscriptions or None]:
            scopes = namespace.scopes.get(uid, frozenset())
            total = len(watched | scopes) if self._informers else 0
            if total > self._informers:
                namespace.crowded[uid] = total
            else:
                watched |= scopes
                seated.append(uid)
        namespace.seated = frozenset(seated)
