"""The circuit breaker of one lane: an endpoint in trouble gets one attempt at a time, with growing pauses. Pure.

In: what attempts said of the endpoint, and the time. Out: whether the next attempt may be made. ``lane`` asks it;
``verdict.trouble`` tells which results are the endpoint's trouble.
"""

from __future__ import annotations

THRESHOLD = 10
"""So many results in a row that say "trouble" open the breaker."""

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


class Breaker:
    """Closed: all may be tried. Open: one probe after each pause, which doubles until the endpoint answers again.

    ``now`` is Unix time. A clock that was set back delays a probe by one pause at most.
    """

    __slots__ = ("_failures", "_next", "_pause", "_probing", "_threshold")

    def __init__(self, threshold: int = THRESHOLD) -> None:
        self._threshold = threshold
        self._failures = 0
        self._pause = 0.0
        self._next = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether the endpoint is in trouble."""
        return self._failures >= self._threshold

    def allows(self, now: float) -> bool:
        """Whether an attempt may begin now."""
        return not self.open or (not self._probing and now >= self.ready_at(now))

    def ready_at(self, now: float) -> float:
        """When the next attempt may begin, if none is under way: not later than a pause from now."""
        return min(self._next, now + self._pause) if self.open else now

    def begin(self) -> None:
        """An attempt begins: the probe, when it is open."""
        self._probing = self.open

    def cancel(self) -> None:
        """What began was no attempt: the next one may be it."""
        self._probing = False

    def record(self, trouble: bool | None, now: float) -> bool:
        """An attempt ended; ``trouble`` is None when it says nothing of the endpoint. Returns whether ``open`` changed.

        While it is open only the probe may be under way: whoever begins one waits for the others first.
        """
        before = self.open
        if trouble is False:
            self._failures = 0
        elif trouble and not before:
            self._failures += 1
        if not self.open:
            self._probing = False
        elif not before:
            self._pause = FIRST_PAUSE_SECONDS
            self._next = now + self._pause
        elif self._probing:
            self._probing = False
            self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
            self._next = now + self._pause
        return self.open != before
