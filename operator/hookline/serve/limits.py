"""How much of anything one client, and all together, may take. Pure: the clock is an argument."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from hookline.serve.refusals import Refused

T = TypeVar("T")
Clock = Callable[[], float]
"""Monotonic seconds."""
_ROUNDING = 1e-6


class Memory(Generic[T]):
    """What was found out, for ``seconds``: at most ``size`` entries, of which the oldest goes first."""

    def __init__(self, size: int, seconds: float, clock: Clock) -> None:
        self._size = size
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        """What is known; None when nothing is any more."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and self._clock() < entry[0] else None

    def put(self, key: Hashable, value: T, asked: float) -> None:
        """Know this from now on. ``asked`` is when it was asked for: what was true then may have changed since."""
        self._entries.pop(key, None)
        self._entries[key] = (asked + self._seconds, value)
        if len(self._entries) > self._size:
            self._entries.popitem(last=False)


class Buckets:
    """A token bucket for each key: ``burst`` at once, then ``rate`` a second. Full ones are forgotten.

    When there are more than ``size`` others, those that were not asked for longest are forgotten, too.
    """

    def __init__(self, rate: float, burst: int, clock: Clock, size: int = 4096) -> None:
        self._step = 1.0 / rate
        self._tolerance = (burst - 1) * self._step
        self._clock = clock
        self._size = size
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, key: Hashable = None) -> bool:
        """Take one, if there is one."""
        now = self._clock()
        full_at = max(self._full_at.pop(key, now), now)
        allowed = full_at - self._tolerance <= now + _ROUNDING
        self._full_at[key] = full_at + self._step if allowed else full_at
        while len(self._full_at) > self._size or next(iter(self._full_at.values())) <= now:
            self._full_at.popitem(last=False)
            if not self._full_at:
                break
        return allowed

    def give_back(self, key: Hashable = None) -> None:
        """Undo one ``take``."""
        if key in self._full_at:
            self._full_at[key] -= self._step


class Places:
    """So many at the same time, in all and for each key; ``refusal`` makes what the others get."""

    def __init__(self, total: int, each: int, refusal: Callable[[], Refused]) -> None:
        self._total = total
        self._each = each
        self._refusal = refusal
        self._taken: Counter[Hashable] = Counter()

    @property
    def taken(self) -> int:
        """How many there are now."""
        return self._taken.total()

    @contextmanager
    def one(self, key: Hashable) -> Iterator[None]:
        """While this lasts, a place is taken. Raises Refused when there is none."""
        if self._taken[key] >= self._each or self.taken >= self._total:
            raise self._refusal()
        self._taken[key] += 1
        try:
            yield
        finally:
            self._taken[key] -= 1
            if not self._taken[key]:
                del self._taken[key]
