"""When to look at which lane again: one heap of times for all lanes.

In: the times at which a lane's next message is due, or at which it may send again. Out: the lanes whose time has come.
The dispatcher (``worker``) waits for the first.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import count

from hookline.deliver.lane import Lane


class Alarms:
    """Times are Unix seconds. Of each kind only a lane's earliest counts."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Lane]] = []
        self._order = count()

    @property
    def first(self) -> float:
        """The earliest time; infinity without any."""
        return self._heap[0][0] if self._heap else math.inf

    def due(self, lane: Lane, time: float) -> bool:
        """A message of this lane in the outbox is due then. Returns whether that is news."""
        if time >= lane.due:
            return False
        lane.due = time
        heapq.heappush(self._heap, (time, next(self._order), lane))
        return True

    def wake(self, lane: Lane, time: float) -> bool:
        """This lane may send again then. Returns whether that is news."""
        if time >= lane.wake:
            return False
        lane.wake = time
        heapq.heappush(self._heap, (time, next(self._order), lane))
        return True

    def expired(self, now: float) -> Iterator[tuple[Lane, bool]]:
        """Take out the lanes whose time has come, each with whether a message of it is due."""
        while self._heap and self._heap[0][0] <= now:
            _, _, lane = heapq.heappop(self._heap)
            due = lane.due <= now
            if due:
                lane.due = math.inf
            if lane.wake <= now:
                lane.wake = math.inf
            yield lane, due
