"""What all lanes of a namespace share: a rate, bytes in memory, attempts under way. So none takes the operator's all.

In: what lanes claim, begin and end. Out: whether one may claim or begin more. ``lane`` and ``worker`` ask.

A tenant's endpoints that never answer hold bodies and connections as long as attempts last, with as many subscriptions
as the quota allows. An attempt over TLS with a body of 60 KiB takes some 750 KiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from hookline.deliver.bucket import Bucket
from hookline.spec import RateLimit

if TYPE_CHECKING:
    from hookline.deliver.lane import Lane

MIB = 1024 * 1024
CROWD = 256
"""With so many attempts under way in a namespace, each of its lanes makes one at a time."""
ATTEMPTS = 512
"""With so many, its lanes take turns."""
ALL_ATTEMPTS = 1024
"""With so many in all namespaces together, those of one that has more than ``FLOOR_ATTEMPTS``."""
FLOOR_ATTEMPTS = 64
NAMESPACE_BYTES = 64 * MIB
"""The lanes of a namespace claim no more while their messages have bodies of so many bytes."""
ALL_BYTES = 256 * MIB
"""Those of all namespaces neither, except that each may have ``FLOOR_BYTES``."""
FLOOR_BYTES = 4 * MIB
PIECE = MIB
"""A lane claims so many bytes at a time: what a claim brings is known only afterwards."""


class Share:
    """Of one namespace. ``rate`` limits how many attempts begin per second (0: any number)."""

    __slots__ = (
        "__weakref__",
        "_blocked",
        "_held",
        "_hungry",
        "_in_flight",
        "_permits",
        "_shares",
        "bucket",
        "reserved",
    )

    def __init__(self, shares: Shares | None = None, rate: int = 0) -> None:
        self.bucket = Bucket(RateLimit(rate, rate)) if rate else None
        self.reserved = 0
        self._shares = shares or Shares()
        self._held = 0
        self._in_flight = 0
        self._hungry: dict[Lane, None] = {}
        self._blocked: dict[Lane, None] = {}
        self._permits: set[Lane] = set()  # of those that waited for a place, whose turn it is

    @property
    def crowded(self) -> bool:
        """Whether each lane must do with one attempt at a time."""
        return self._in_flight >= CROWD

    @property
    def places(self) -> int:
        """How many attempts may begin."""
        everybodys = max(ALL_ATTEMPTS - self._shares.in_flight, FLOOR_ATTEMPTS - self._in_flight)
        return max(0, min(ATTEMPTS - self._in_flight, everybodys))

    @property
    def room(self) -> int:
        """How many bytes may be claimed."""
        mine, all_of_them = self._held + self.reserved, self._shares.held + self._shares.reserved
        return min(NAMESPACE_BYTES - mine, max(ALL_BYTES - all_of_them, FLOOR_BYTES - mine))

    def places_for(self, lane: Lane) -> int:
        """How many attempts this lane may begin: while others wait for a place, one, and only when it is its turn."""
        if self._blocked:
            return min(self.places, int(lane in self._permits))
        return self.places

    def begin(self, lane: Lane) -> None:
        """An attempt begins."""
        self._permits.discard(lane)
        self._count(1)

    def end(self) -> None:
        """One is over."""
        self._count(-1)

    def _count(self, change: int) -> None:
        self._in_flight += change
        self._shares.in_flight += change

    def hold(self, size: int) -> None:
        """So many bytes were claimed; given back, where it is negative."""
        self._held += size
        self._shares.held += size

    def reserve(self, lane: Lane) -> bool:
        """Whether this lane may claim a piece in this round; else it waits for room (``Shares.fed``)."""
        if self.room < PIECE:
            self._hungry[lane] = None
            self._shares.waited_for.add(self)
            return False
        self.reserved += PIECE
        self._shares.reserved += PIECE
        self._shares.reserving.add(self)
        return True

    def block(self, lane: Lane) -> None:
        """This lane has messages, and waits until there is a place (``Shares.fed``)."""
        self._blocked[lane] = None
        self._shares.waited_for.add(self)

    def renounce(self, lane: Lane) -> None:
        """It was this lane's turn, and it has no use for a place."""
        self._permits.discard(lane)

    @property
    def feeds(self) -> bool:
        """Whether there is something for those that wait."""
        return bool((self._hungry and self.room >= PIECE) or (self._blocked and self.places > len(self._permits)))

    def fed(self) -> list[Lane]:
        """Those that waited and may try again, as many as there is room and places for, who waited longest first."""
        lanes = list(self._hungry)[: max(0, self.room // PIECE)]
        for lane in lanes:
            del self._hungry[lane]
        for lane in list(self._blocked):
            if len(self._permits) >= self.places:
                break
            del self._blocked[lane]
            if lane.queued:
                self._permits.add(lane)
                lanes.append(lane)
        if not (self._hungry or self._blocked):
            self._shares.waited_for.discard(self)
        return lanes


class Shares:
    """The shares of all namespaces, each as long as a lane has it."""

    def __init__(self, rate: int = 0) -> None:
        self.held = 0
        self.reserved = 0
        self.in_flight = 0
        self.reserving: set[Share] = set()
        self.waited_for: set[Share] = set()
        self._rate = rate
        self._of: WeakValueDictionary[str, Share] = WeakValueDictionary()

    def of(self, namespace: str) -> Share:
        """The one of this namespace."""
        share = self._of.get(namespace)
        if share is None:
            share = self._of[namespace] = Share(self, self._rate)
        return share

    def settle(self) -> None:
        """The round of claims is over: what came of it is held."""
        for share in self.reserving:
            share.reserved = 0
        self.reserving.clear()
        self.reserved = 0

    @property
    def feeds(self) -> bool:
        """Whether there is something for some that wait."""
        return any(share.feeds for share in self.waited_for)

    def fed(self) -> list[Lane]:
        """The lanes that waited and may try again, in the order in which they may."""
        return [lane for share in list(self.waited_for) for lane in share.fed()]
