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
TRUSTED_SECONDS = 900.0
"""Who was good so lately is asked about apart from strangers."""
TRUSTED_ENTRIES, TRUSTED_EACH = 4096, 64
REVIEWS_PER_SECOND, REVIEWS_AT_ONCE = 50.0, 100
EACH_PER_SECOND, EACH_AT_ONCE = 10.0, 50


class Memory(Generic[T]):
    """What was found out, for ``seconds``: at most ``size`` entries, ``each`` of one owner; the oldest goes first."""

    def __init__(self, size: int, seconds: float, clock: Clock, each: int | None = None) -> None:
        self._size = size
        self._each = size if each is None else each
        self._seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[Hashable, tuple[float, T, Hashable]] = OrderedDict()
        self._of: dict[Hashable, OrderedDict[Hashable, None]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        """What is known; None when nothing is any more."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and self._clock() < entry[0] else None

    def put(self, key: Hashable, value: T, asked: float, owner: Hashable = None) -> None:
        """Know this from now on. ``asked`` is when it was asked for: what was true then may have changed since."""
        self._forget(key)
        self._entries[key] = (asked + self._seconds, value, owner)
        theirs = self._of.setdefault(owner, OrderedDict())
        theirs[key] = None
        if len(theirs) > self._each:
            self._forget(next(iter(theirs)))
        elif len(self._entries) > self._size:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            theirs = self._of[entry[2]]
            del theirs[key]
            if not theirs:
                del self._of[entry[2]]


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


class Reviews:
    """How often the API server is asked one kind of question, so that nobody keeps others from being asked about.

    Who was good lately has a bucket apart from strangers, and in each of the two nobody has more than a share.
    """

    def __init__(self, clock: Clock) -> None:
        self._lately: Memory[str] = Memory(TRUSTED_ENTRIES, TRUSTED_SECONDS, clock, TRUSTED_EACH)
        self._shares = Buckets(EACH_PER_SECOND, EACH_AT_ONCE, clock)
        self._all = Buckets(REVIEWS_PER_SECOND, REVIEWS_AT_ONCE, clock)

    def knows(self, key: Hashable) -> bool:
        """Whether the answer to this question was good lately."""
        return self._lately.get(key) is not None

    def take(self, key: Hashable, stranger: str) -> bool:
        """Whether this may be asked now. ``stranger`` is whose share it takes unless the answer was good lately."""
        known = self._lately.get(key)
        share = (known is not None, stranger if known is None else known)
        if not self._shares.take(share):
            return False
        if self._all.take(share[0]):
            return True
        self._shares.give_back(share)
        return False

    def good(self, key: Hashable, owner: str, asked: float) -> None:
        """The answer was good; the next time it takes of the share of ``owner``."""
        self._lately.put(key, owner, asked, owner)


class Places:
    """So many at the same time, in all and for each of some kinds of key; ``refusal`` makes what the others get."""

    def __init__(self, total: int, refusal: Callable[[], Refused], **each: int) -> None:
        self._total = total
        self._refusal = refusal
        self._each = each
        self._held = 0
        self._taken: Counter[tuple[str, str]] = Counter()

    @property
    def taken(self) -> int:
        """How many there are now."""
        return self._held

    @contextmanager
    def one(self, **keys: str) -> Iterator[None]:
        """While this lasts, a place is taken, of each kind of key. Raises Refused when there is none."""
        shares = [*keys.items()]
        if self._held >= self._total or any(self._taken[share] >= self._each[share[0]] for share in shares):
            raise self._refusal()
        self._held += 1
        self._taken.update(shares)
        try:
            yield
        finally:
            self._held -= 1
            self._taken -= Counter(shares)
