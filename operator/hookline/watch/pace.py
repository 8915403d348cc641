"""How long to wait and how much to take: the numbers of an informer, and the pure arithmetic of its patience."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds and sizes. ``idle``: a stream without a byte for so long is dead (bookmarks come about once a minute).

    ``audit``: the longest time between two comparisons with a fresh list; 0 for none. ``lasting``: so many failures in
    a row, over about 20 seconds, are told as a problem.
    """

    page: int = 500
    batch: int = 256
    idle: float = 70.0
    stream: tuple[float, float] = (290.0, 580.0)
    retry: tuple[float, float] = (0.2, 30.0)
    parked: tuple[float, float] = (5.0, 60.0)
    poison: int = 3
    lasting: int = 8
    audit: float = 1800.0


def delay(failures: int, bounds: tuple[float, float], random: Callable[[], float]) -> float:
    """Seconds before the next try after so many failures in a row: doubling from the first bound up to the second.

    ``random`` gives [0, 1); the result lies between half of the step and the whole of it.
    """
    least, most = bounds
    step = min(most, least * 2.0 ** min(max(failures - 1, 0), 32))
    return step * (1 + random()) / 2


def spread(bounds: tuple[float, float], random: Callable[[], float]) -> float:
    """A value between the bounds, so that many streams don't end together."""
    low, high = bounds
    return low + (high - low) * random()


def failures_after(failures: int, pace: Pace, *, progress: bool, lasted: float) -> int:
    """The count of failures in a row after one more stream, which ended, as all do.

    A stream that brought something or lasted longer than the longest pause starts the count anew.
    """
    return 1 if progress or lasted > pace.retry[1] else failures + 1
