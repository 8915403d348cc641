"""How one watch is: open, failing, and whether that must be told.

In: what happened to the informer's tries. Out: the reason to ``on_problem`` of the ``teller``'s hooks, and None when
it is over; what the metrics ask.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from hookline.errors import ApiError

_log = logging.getLogger(__name__)
_PASSING = frozenset({408, 409, 425, 429})
"""Refusals of the moment."""


class Condition:
    """The condition of one watch. ``tell`` gets the problem or None, each once; ``lasting``: so many failures are one.

    ``open`` says whether a stream is open now; ``key`` is the watch's name for the log.
    """

    def __init__(self, tell: Callable[[ApiError | None], None], lasting: int, key: str = "") -> None:
        self._about = {"watch": key}
        self.open = False
        self._tell = tell
        self._lasting = lasting
        self._failures = 0
        self._inside = False
        self._problem: str | None = None

    @property
    def failing(self) -> bool:
        """Whether the last try to list or watch failed, and none has succeeded since."""
        return self._failures > 0

    def opened(self) -> None:
        """A stream is open. After a failure of an open one that alone is no success."""
        self.open = True
        if not self._inside:
            self.succeeded()

    def interrupted(self, error: ApiError) -> None:
        """A try failed; but an open stream that just broke is nothing but the end of that stream."""
        if error.status or not self.open:
            self.failed(error)
        else:
            _log.debug("the stream of a watch ended early: %s", error, extra=self._about)

    def failed(self, error: ApiError) -> None:
        """Tell what waiting does not heal at once, anything else when it lasts."""
        level = logging.DEBUG if self.failing else logging.INFO
        _log.log(level, "a watch fails, it is tried again: %s", error, extra=self._about)
        self._failures += 1
        self._inside = self.open
        refused = 400 <= error.status < 500 and error.status not in _PASSING
        if refused or self._failures >= self._lasting:
            self._report(error)

    def succeeded(self) -> None:
        """A stream brought something, or ended well."""
        if self.failing:
            _log.info("a watch works again", extra=self._about)
        self._failures = 0
        self._inside = False
        self._report(None)

    def _report(self, error: ApiError | None) -> None:
        text = None if error is None else str(error)
        if text != self._problem:
            self._problem = text
            self._tell(error)
