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
    refused: dict[str, str] = field(default_factory=dict)
    too_young: set[str] = field(default_factory=set)  # those of them that no other spec could help
    stale: bool = False


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
        namespace.stale = True

    def drop(self, uid: str) -> None:
        """A subscription is gone."""
        if (found := self._keys.pop(uid, None)) is None:
            return
        namespace = self._namespaces[found[0]]
        namespace.order.remove(found[1])
        namespace.scopes.pop(uid, None)
        namespace.stale = True
        if not namespace.order:
            del self._namespaces[found[0]]

    def wants(self, uid: str, scopes: frozenset[str]) -> None:
        """These are the scopes (their keys) that a subscription asks for now."""
        if (found := self._keys.get(uid)) is not None:
            namespace = self._namespaces[found[0]]
            if namespace.scopes.get(uid) != scopes:
                namespace.scopes[uid] = scopes
                namespace.stale = True

    def refusal(self, uid: str) -> str:
        """Why a subscription has no place, and what to do; empty when it has one."""
        namespace = self._looked_at(uid)
        return namespace.refused.get(uid, "") if namespace is not None else ""

    def too_young(self, uid: str) -> str:
        """The same, but empty also where it wants too many watches: its spec may be another one by now."""
        namespace = self._looked_at(uid)
        return namespace.refused[uid] if namespace is not None and uid in namespace.too_young else ""

    def _looked_at(self, uid: str) -> _Namespace | None:
        if (found := self._keys.get(uid)) is None:
            return None
        namespace = self._namespaces[found[0]]
        if namespace.stale:
            before = namespace.refused.keys()
            self._seat(namespace)
            if lost := namespace.refused.keys() - before - {uid}:
                self.on_lost(lost)
        return namespace

    def _seat(self, namespace: _Namespace) -> None:
        refused: dict[str, str] = {}
        namespace.refused, namespace.too_young, namespace.stale = refused, set(), False
        watched: set[str] = set()
        seated = 0
        for place, (_, uid) in enumerate(namespace.order, 1):
            scopes = namespace.scopes.get(uid, frozenset())
            total = len(watched | scopes)
            if self._subscriptions and seated >= self._subscriptions:
                namespace.too_young.add(uid)
                refused[uid] = (
                    f"it is number {place} by age, and the oldest {self._subscriptions} of a namespace are served: "
                    "delete some, or ask the administrator to raise `max_subscriptions_per_namespace`"
                )
            elif self._informers and total > self._informers:
                refused[uid] = (
                    f"with it the namespace's subscriptions would need {total} watches, and {self._informers} are "
                    "served: name fewer kinds and namespaces, or ask the administrator to raise "
                    "`max_informers_per_namespace`"
                )
            else:
                watched |= scopes
                seated += 1
