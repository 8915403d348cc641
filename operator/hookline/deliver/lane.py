"""The state of one subscription's lane: its claimed messages, what may be sent when, what the outbox still holds.

In: claims from the dispatcher, results of attempts, the time. Out: messages to its workers, wishes for more, rows to
give back. No I/O and no clock in here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hookline.deliver.breaker import Breaker
from hookline.deliver.bucket import Bucket
from hookline.deliver.share import PIECE, Share
from hookline.model import Claimed, Target

ROOM = 4 * 1024 * 1024
"""A lane claims no more while its messages, up to the record of their verdicts, have bodies of so many bytes."""

MAX_CLAIM = 256
"""Messages that a lane with a backlog claims at once at most: a claim costs both threads a hop, whatever it brings."""

QUICK_SECONDS = 0.5
"""A lane that is through with a full claim so soon claims twice as many next time."""

FRESH_SHARE = 4
"""One in so many places in flight, at least one of several, is kept for messages that were never tried."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a lane wants to claim: messages, of these so many tried before at most, none more beyond so many bytes."""

    messages: int
    retries: int
    room: int

    def limits(self, claims: Sequence[Claimed]) -> bool:
        """Whether these claims are all that was asked for, so that there may be more."""
        return (
            len(claims) >= self.messages
            or sum(claimed.attempts > 0 for claimed in claims) >= self.retries
            or sum(len(claimed.message.body) for claimed in claims) >= self.room
        )


class Lane:
    """One subscription's queue.

    ``fresh`` says that the outbox may hold messages that are due; ``due`` is the earliest known time of a later one,
    ``wake`` the time for which the dispatcher has an alarm set. ``gone`` is set when the endpoint answered 410.
    ``workers`` counts those that take from here, ``in_flight`` the attempts under way. ``share`` is what it has
    together with other lanes; ``permitted`` is asked before each attempt, with the subscription's uid and the seconds
    that the attempt takes at most.
    """

    __slots__ = (
        *("_batch", "_bucket", "_filled_at", "_fresh", "_held", "_held_back"),
        *("_past", "_retries", "_retrying", "_size", "_under_way"),
        *("breaker", "closed", "due", "fresh", "gone", "in_flight", "permitted", "share", "target", "wake"),
        "workers",
    )

    def __init__(
        self, target: Target, share: Share | None = None, permitted: Callable[[str, float], bool] = lambda _, __: True
    ) -> None:
        self.target = target
        self.permitted = permitted
        self.share = share or Share()
        self.fresh = True
        self.due = math.inf
        self.wake = math.inf
        self.gone = False
        self.closed = False
        self.workers = 0
        self.in_flight = 0
        self.breaker = Breaker()
        self._bucket = Bucket(target.rate) if target.rate else None
        self._batch = 0  # what a quick lane claims instead of twice its places
        self._filled_at = -math.inf
        self._held_back = 0.0  # by a Retry-After, until then
        self._retrying = 0
        self._retries: deque[Claimed] = deque()
        self._fresh: deque[Claimed] = deque()
        self._held: dict[int, int] = {}  # row -> bytes, of what is claimed and not yet recorded or given back
        self._size = 0
        self._under_way: set[int] = set()  # those of the held rows of which an attempt is being made
        self._past: set[int] = set()  # those of the held rows whose attempt is one at a former target

    # What may be sent.

    @property
    def open(self) -> bool:
        """Whether messages may be sent at all."""
        target = self.target
        return not (self.closed or self.gone or target.paused) and self.permitted(target.subscription, target.timeout)

    def ready_at(self, now: float) -> float:
        """When the next attempt may begin; infinity when that is no matter of time."""
        if not self.open:
            return math.inf
        rated = self._bucket.ready_at(now) if self._bucket else now
        if self.share.bucket:
            rated = max(rated, self.share.bucket.ready_at(now))
        return max(self._held_back, self.breaker.ready_at(now), rated)

    def held(self, now: float) -> bool:
        """Whether what waits does so for its endpoint or by its owner's wish: trouble, a Retry-After, its rate limit.

        Not for what several lanes have together, which is none of theirs to choose.
        """
        limited = self._bucket is not None and now < self._bucket.ready_at(now)
        return self.breaker.open or now < self._held_back or limited

    @property
    def places(self) -> int:
        """How many attempts may be under way at the same time."""
        return 1 if self.breaker.open or self.share.crowded else self.target.max_in_flight

    @property
    def retry_places(self) -> int:
        """How many of them may be of messages tried before."""
        places = self.places
        return places - max(places // FRESH_SHARE, 1) if places > 1 else places

    # What is queued.

    @property
    def queued(self) -> int:
        """How many messages wait here."""
        return len(self._retries) + len(self._fresh)

    @property
    def low(self) -> bool:
        """Whether it is time to claim more: claims are made for many messages at once."""
        return self.queued <= self._depth // 2 and self._size <= ROOM // 2

    @property
    def _depth(self) -> int:
        """How many messages may wait here."""
        return max(self._batch, 2 * self.places)

    def wish(self, now: float) -> Wish | None:
        """What to claim now; None when nothing may be due, there is enough, or nothing may be sent."""
        if not (self.fresh and self.open and now >= self._held_back):
            return None
        room = min(ROOM - self._size, PIECE)
        if self.breaker.open:
            probe = self.breaker.allows(now) and not self.in_flight and not self.queued
            return Wish(1, 1, room) if probe else None
        if self.low:
            if now - self._filled_at >= QUICK_SECONDS:
                self._batch = 0
            wanted = self._depth - self.queued
            return Wish(wanted, min(max(2 * self.retry_places - len(self._retries), 0), wanted), room)
        kept = self.places - self.retry_places - len(self._fresh)
        return Wish(kept, 0, room) if kept > 0 and room > 0 else None  # the places kept for them may be free

    def filled(self, now: float) -> None:
        """A claim brought all that was asked for: there may be more, and soon it may be worth to ask for more at once.

        So what a lane holds is what it sends within a moment: one that is slow, or limited, keeps to twice its places.
        """
        self.fresh = True
        if now - self._filled_at < QUICK_SECONDS:
            self._batch = min(2 * self._depth, MAX_CLAIM)
        self._filled_at = now

    def accept(self, claims: Iterable[Claimed], now: float) -> list[int]:
        """Queue claimed messages. Returns the rows to give back: those that may not be sent any more."""
        refused: list[int] = []
        for claimed in claims:
            if not self.open or now < self._held_back or (self.breaker.open and (self.queued or self.in_flight)):
                refused.append(claimed.row)
                continue
            (self._retries if claimed.attempts else self._fresh).append(claimed)
            self._held[claimed.row] = size = len(claimed.message.body)
            self._size += size
            self.share.hold(size)
        return refused

    @property
    def idle_places(self) -> int:
        """How many workers to add."""
        ready = len(self._fresh) + max(0, min(len(self._retries), self.retry_places - self._retrying))
        return max(0, min(self.places - self.workers, ready, self.share.places_for(self)))

    def take(self, now: float) -> Claimed | None:
        """The next message for a worker, which begins its attempt now; None tells the worker to end."""
        # A probe is made alone: results of attempts that began before it say nothing of now.
        if (
            self.in_flight >= self.places
            or not self.share.places_for(self)
            or now < self.ready_at(now)
            or not self.breaker.allows(now)
        ):
            return None
        claimed = self._next()
        if claimed is not None:
            self.in_flight += 1
            self.share.begin(self)
            self._under_way.add(claimed.row)
            self._retrying += claimed.attempts > 0
            self.breaker.begin()
            for bucket in (self._bucket, self.share.bucket):
                if bucket:
                    bucket.take(now)
        return claimed

    def _next(self) -> Claimed | None:
        """The oldest that may go: retries give way where they would fill the places kept for first attempts."""
        retries, fresh = self._retries, self._fresh
        if retries and self._retrying < self.retry_places and not (fresh and fresh[0].row < retries[0].row):
            return retries.popleft()
        return fresh.popleft() if fresh else None

    # What came of it.

    def ended(self, claimed: Claimed) -> None:
        """An attempt is over, whatever came of it."""
        self.in_flight -= 1
        self.share.end()
        self._under_way.discard(claimed.row)
        if self.closed:  # nobody will tell it of the record
            self.settled(claimed.row)
        self._retrying -= claimed.attempts > 0

    def unmade(self) -> None:
        """Nothing was sent, so nothing is known of the endpoint; the next message may go in its place."""
        self.breaker.cancel()
        self.fresh = True

    def hold_back(self, until: float) -> list[int]:
        """Send nothing before this time, as the endpoint asked. Returns the rows to give back."""
        self._held_back = max(self._held_back, until)
        return self._drain()

    def judge(self, trouble: bool | None, now: float) -> tuple[bool, list[int]]:
        """A result for the breaker: whether it opened or closed, and the rows to give back."""
        changed = self.breaker.record(trouble, now)
        return changed, self._drain() if changed and self.breaker.open else []

    def settled(self, row: int) -> bool:
        """A claimed message was recorded or given back: it takes no room here any more.

        Returns whether its attempt, if there was one, was at the present target.
        """
        current = row in self._held and row not in self._past
        size = self._held.pop(row, 0)
        self._size -= size
        self.share.hold(-size)
        self._past.discard(row)
        return current

    def retarget(self, target: Target) -> list[int]:
        """Go on with another target, which starts without a bad record. Returns the rows to give back.

        What is under way, or ended and not yet recorded, will say nothing of it.
        """
        self._past = self._held.keys() - {claimed.row for claimed in (*self._retries, *self._fresh)}
        if target.rate != self.target.rate:
            self._bucket = Bucket(target.rate) if target.rate else None
        # What was claimed in no order must not go to an ordered target.
        unsorted = target.ordered and not self.target.ordered
        self.target = target
        self.breaker = Breaker()
        self._held_back = 0.0
        self.gone = False
        self.fresh = True
        return [] if self.open and not unsorted else self._drain()

    def stop_gone(self) -> list[int]:
        """Send nothing more until there is another target. Returns the rows to give back."""
        self.gone = True
        return self._drain()

    def close(self) -> list[int]:
        """End the lane. Returns the rows to give back."""
        self.closed = True
        rows = self._drain()
        for row in self._held.keys() - self._under_way:
            self.settled(row)
        return rows

    def _drain(self) -> list[int]:
        rows = [claimed.row for queue in (self._retries, self._fresh) for claimed in queue]
        self._retries.clear()
        self._fresh.clear()
        for row in rows:
            self.settled(row)
        if rows:
            self.fresh = True
        return rows
