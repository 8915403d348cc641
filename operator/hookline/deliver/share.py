"""What all lanes of a namespace share: a rate, bytes in memory, attempts under way. So none takes the operator's all.

In: what lanes claim, begin and end. Out: whether one may claim or begin more. ``lane`` and ``worker`` ask.

A tenant's endpoints that never answer hold bodies and connections as long as attempts last, with as many subscriptions
as the quota allows. A lane may always have one attempt under way, however many the others have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from hookline.deliver.bucket import Bucket
from hookline.spec import RateLimit

if TYPE_CHECKING:
    from hookline.deliver.lane import Lane

MIB = 1024 * 1024
ATTEMPTS = 512
"""With so many under way in a namespace, each of its lanes makes one at a time."""
NAMESPACE_BYTES = 64 * MIB
"""The lanes of a namespace claim no more while their messages have bodies of so many bytes."""
ALL_BYTES = 256 * MIB
"""Those of all namespaces neither, except that each may have ``FLOOR``."""
FLOOR = 4 * MIB
PIECE = MIB
"""A lane claims so many bytes at a time: what a claim brings is known only afterwards."""


class Share:
    """Of one namespace. ``rate`` limits how many attempts begin per second (0: any number)."""

    __slots__ = ("__weakref__", "_held", "_shares", "bucket", "in_flight", "reserved", "waiting")

    def __init__(self, shares: Shares | None = None, rate: int = 0) -> None:
        self.bucket = Bucket(RateLimit(rate, rate)) if rate else None
        self.in_flight = 0
        self.waiting: set[Lane] = set()
        self._held = 0
        self.reserved = 0
        self._shares = shares or Shares()

    @property
    def crowded(self) -> bool:
        """Whether each lane must do with one attempt at a time."""
        return self.in_flight >= ATTEMPTS

    @property
    def room(self) -> int:
        """How many bytes may be claimed."""
        everybodys = max(ALL_BYTES - self._shares.held, FLOOR - self._held)
        return min(NAMESPACE_BYTES - self._held, everybodys) - self.reserved

    def hold(self, size: int) -> None:
        """So many bytes were claimed; given back, where it is negative."""
        self._held += size
        self._shares.held += size

    def reserve(self, lane: Lane) -> bool:
        """Whether this lane may claim a piece in this round; else it waits for room (``Shares.fed``)."""
        if self.room < PIECE:
            self.waiting.add(lane)
            self._shares.hungry.add(self)
            return False
        self.reserved += PIECE
        self._shares.reserving.add(self)
        return True


class Shares:
    """The shares of all namespaces, each as long as a lane has it."""

    def __init__(self, rate: int = 0) -> None:
        self.held = 0
        self.reserving: set[Share] = set()
        self.hungry: set[Share] = set()
        self._rate = rate
        self._of: WeakValueDictionary[str, Share] = WeakValueDictionary()

    def of(self, namespace: str) -> Share:
        """The one of this namespace."""
        share = self._of.get(namespace)
        if share is None:
            share = self._of[namespace] = Share(self, self._rate)
        return share

    def settle(self) -> None:
        """The round is over: what came of it is held."""
        for share in self.reserving:
            share.reserved = 0
        self.reserving.clear()

    @property
    def feeds(self) -> bool:
        """Whether there is room for some that wait."""
        return any(share.room >= PIECE for share in self.hungry)

    def fed(self) -> set[Lane]:
        """The lanes that waited and may try again."""
        lanes: set[Lane] = set()
        for share in [share for share in self.hungry if share.room >= PIECE]:
            self.hungry.discard(share)
            lanes |= share.waiting
            share.waiting = set()
        return lanes
