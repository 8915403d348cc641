"""The rate limit of one lane: a token bucket. Pure; the clock is an argument.

In: a ``RateLimit`` and the time. Out: whether the next attempt may begin, or when. ``lane`` asks it.
"""

from __future__ import annotations

from hookline.spec import RateLimit


class Bucket:
    """Lets ``burst`` attempts begin at once, then ``per_second``, evenly spread.

    Kept as one time, as the generic cell rate algorithm does (ITU-T I.371): no rounding adds up, and ``ready_at`` is
    exactly the time from which on ``take`` is allowed. A clock that was set back can't stop it.
    """

    __slots__ = ("__weakref__", "_full_at", "_step", "_tolerance", "limit")

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._step = 1.0 / limit.per_second
        self._tolerance = (limit.burst - 1) * self._step
        self._full_at = 0.0  # when all tokens are back

    def ready_at(self, now: float) -> float:
        """When the next attempt may begin; not later than a step from now."""
        self._full_at = min(self._full_at, now + self._tolerance + self._step)
        return max(self._full_at - self._tolerance, 0.0)

    def take(self, now: float) -> None:
        """An attempt begins."""
        self._full_at = max(self._full_at, now) + self._step
