"""What is done next: each namespace has its turn, however much of another waits. No I/O.

In: uids with their namespaces. Out: the next uid. ``reconciler`` works them off. ``reviews`` and ``polled`` have all
of a round at once, and put it in such an order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 2
"""So many of one namespace are looked at at the same time: a look waits for the API server, as often as a spec says."""


def in_turn(items: Iterable[T], namespace_of: Callable[[T], str]) -> list[T]:
    """The first of each namespace, then the second of each, and so on."""
    taken: Counter[str] = Counter()
    turns: list[tuple[int, T]] = []
    for item in items:
        namespace = namespace_of(item)
        turns.append((taken[namespace], item))
        taken[namespace] += 1
    return [item for _, item in sorted(turns, key=itemgetter(0))]


class Queue:
    """Uids that wait, once each, and those that are worked on. Make ``done`` of each that ``take`` gave."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, None]] = {}  # by namespace, whose turn it is first
        self._busy: dict[str, str] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def put(self, namespace: str, uid: str) -> None:
        """It is to be looked at, after what waits of its namespace already."""
        self._waiting.setdefault(namespace, {})[uid] = None

    def take(self) -> str | None:
        """The next that may be worked on now; None when there is none."""
        working = list(self._busy.values())
        for namespace, waiting in self._waiting.items():
            if working.count(namespace) >= AT_ONCE:
                continue
            uid = next((uid for uid in waiting if uid not in self._busy), None)
            if uid is not None:
                del self._waiting[namespace], waiting[uid]
                if waiting:
                    self._waiting[namespace] = waiting  # behind the other namespaces
                self._busy[uid] = namespace
                return uid
        return None

    def done(self, uid: str) -> None:
        """It is worked on no more."""
        del self._busy[uid]
