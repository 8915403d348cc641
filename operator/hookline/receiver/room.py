"""How many bodies of one endpoint may be in memory before anybody knows who sent them.

In: the address of whoever begins a body. Out: a place for it, or ``Full``. Each endpoint has a room of its own, so who
knows the path of one can't close another. In a full room the slowest makes way: bodies that are only
held open, by somebody without a key, can't keep out those that come at a normal speed. Who begins as many bodies as
there are places within ``PATIENCE_SECONDS``, from as many addresses or behind one proxy, still can, for that endpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

PATIENCE_SECONDS = 1.0
"""How long a body may take, in a full room, before it makes way for one of the same address."""


class Full(Exception):
    """There is no place, and nobody who should make way."""


@dataclass(eq=False)
class Place:
    """One body under way. ``deadline`` is there while it is read; without it, it has arrived and stays."""

    address: str
    began: float
    deadline: asyncio.Timeout | None = None


class Room:
    """``places`` for bodies; ``clock`` gives seconds. For one event loop."""

    def __init__(
        self, places: int, patience: float = PATIENCE_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._places = places
        self._patience = patience
        self._clock = clock
        self._taken: dict[Place, None] = {}  # the oldest first

    @contextlib.contextmanager
    def enter(self, address: str) -> Iterator[Place]:
        """A place for as long as the block lasts; it may end another's reading with TimeoutError. Raises Full."""
        place = Place(address, self._clock())
        if len(self._taken) >= self._places:
            self._make_way(place)
        self._taken[place] = None
        try:
            yield place
        finally:
            self._taken.pop(place, None)

    def _make_way(self, newcomer: Place) -> None:
        # The oldest of the address that has the most bodies under way: at once when the newcomer's has fewer. Behind
        # a proxy all have one address: there it goes when it had its time.
        reading = {place: place.deadline for place in self._taken if place.deadline and not place.deadline.expired()}
        if not reading:
            raise Full
        number = Counter(place.address for place in reading)
        slowest = max(reading, key=lambda place: (number[place.address], newcomer.began - place.began))
        greedy = number[slowest.address] > number[newcomer.address] + 1
        if not greedy and newcomer.began - slowest.began < self._patience:
            raise Full
        reading[slowest].reschedule(0)
        del self._taken[slowest]
