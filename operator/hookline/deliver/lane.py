"""The state of one subscription's lane: its claimed messages, and what is known of those still in the outbox.

In: claims from the dispatcher. Out: messages to its workers, rows to give back. No I/O and no clock in here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from hookline.model import Claimed, Target


class Lane:
    """One subscription's queue.

    ``fresh`` says that the outbox may hold messages that are due; ``due`` is the earliest known time of a later one.
    ``gone`` is set when the endpoint answered 410. ``workers`` counts those that take from here.
    """

    __slots__ = ("_queue", "closed", "due", "fresh", "gone", "target", "workers")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.fresh = True
        self.due = math.inf
        self.gone = False
        self.closed = False
        self.workers = 0
        self._queue: deque[Claimed] = deque()

    @property
    def open(self) -> bool:
        """Whether messages may be sent."""
        return not (self.closed or self.gone or self.target.paused)

    @property
    def low(self) -> bool:
        """Whether it is time to claim more: claims are made for many messages at once."""
        return len(self._queue) <= self.target.max_in_flight

    @property
    def wanted(self) -> int:
        """How many messages to claim now; 0 when none may be due, there is enough, or nothing may be sent."""
        if not (self.fresh and self.low and self.open):
            return 0
        return 2 * self.target.max_in_flight - len(self._queue)

    def accept(self, claims: Iterable[Claimed]) -> int:
        """Queue claimed messages. Returns how many workers to add."""
        self._queue.extend(claims)
        return max(0, min(self.target.max_in_flight - self.workers, len(self._queue)))

    def take(self) -> Claimed | None:
        """The next message for a worker; None tells the worker to end."""
        if self._queue and self.open and self.workers <= self.target.max_in_flight:
            return self._queue.popleft()
        return None

    def retarget(self, target: Target) -> list[int]:
        """Go on with another target. Returns the rows to give back: all, if it is paused."""
        self.target = target
        self.gone = False
        self.fresh = True
        return [] if self.open else self._drain()

    def stop_gone(self) -> list[int]:
        """Send nothing more until there is another target. Returns the rows to give back."""
        self.gone = True
        return self._drain()

    def close(self) -> list[int]:
        """End the lane. Returns the rows to give back."""
        self.closed = True
        return self._drain()

    def _drain(self) -> list[int]:
        rows = [claimed.row for claimed in self._queue]
        self._queue.clear()
        return rows
