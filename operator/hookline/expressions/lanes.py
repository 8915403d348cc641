"""Whose turn it is at the child. Pure, but for the futures.

In: who asks, by lane, and how long each turn takes. Out: one turn at a time. ``evaluator`` asks in the lane of the
namespace whose expressions it evaluates.

In each lane first come, first served. Of the lanes that wait the one goes first that has had least time since it came:
each turn puts its lane back by the time that it took, and one that comes begins where the others are (start-time fair
queueing, Goyal, Vin and Cheng 1996). So who asks little waits for the turn that is under way, and at worst for one more
of each lane that is busy, however many stand in that lane and however dear they are.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable

_MANY = 256


class Lanes:
    """One turn at a time: ``begin`` waits for it, ``end`` must follow. ``clock`` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # none is empty
        # A heap: each lane of ``_waiting`` by where it stands, without the one that has the turn.
        self._order: list[tuple[float, int, str]] = []
        self._stand: dict[str, float] = {}  # of lanes that had a turn, as far as they are ahead of ``_at``
        self._came = 0
        self._at = 0.0
        self._turn: tuple[str, float] | None = None  # whose, since when

    async def begin(self, lane: str) -> None:
        """Wait for a turn of this lane."""
        if self._turn is None:
            self._start(lane)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if lane in self._waiting:
            self._waiting[lane].append(future)
        else:
            self._waiting[lane] = deque([future])
            if lane != self._turn[0]:  # where that one will stand is known in the end
                self._line_up(lane)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # it had the turn already
                self.end()
            raise

    def end(self) -> None:
        """The turn is over: the next one begins."""
        if self._turn is None:
            raise RuntimeError("there is no turn")
        lane, since = self._turn
        self._turn = None
        self._stand[lane] = self._at + max(0.0, self._clock() - since)
        if lane in self._waiting:
            self._line_up(lane)
        while self._order:
            self._at, _, lane = heapq.heappop(self._order)
            queue = self._waiting[lane]
            while queue and queue[0].done():  # given up
                queue.popleft()
            future = queue.popleft() if queue else None
            if not queue:
                del self._waiting[lane]
            if future is not None:
                self._start(lane)
                future.set_result(None)
                break
        else:
            self._stand.clear()  # nobody waits: all begin anew
        if len(self._stand) > _MANY + 2 * len(self._waiting):
            self._stand = {lane: stand for lane, stand in self._stand.items() if stand > self._at}

    def _start(self, lane: str) -> None:
        self._turn = lane, self._clock()

    def _line_up(self, lane: str) -> None:
        self._came += 1
        heapq.heappush(self._order, (max(self._at, self._stand.get(lane, 0.0)), self._came, lane))
