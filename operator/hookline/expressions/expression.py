"""The words about expressions that rooms use: an expression, its fuse, a question about a change, an answer."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from hookline.errors import EvaluationError, RenderError
from hookline.model import Change

_OLD_OBJECT = re.compile(r"\boldObject\b")
SLOW_TIMES = 5
SLOW_WINDOW_SECONDS = 600.0

Answer = bool | orjson.Fragment | EvaluationError | RenderError
"""Of a filter, true or false; of any other expression the JSON that it yields; of either, why there is no such."""


class Fuse:
    """Ends the patience with one subscription's expression, so that a dear one does not cost the others time for ever.

    After SLOW_TIMES evaluations that had to be broken off within SLOW_WINDOW_SECONDS it has blown: the expression
    fails on every object without being evaluated, until it gets a new fuse. ``budget`` blows the dearest fuses of a
    namespace that takes too much. ``why`` is the reason, empty before. ``clock`` is monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slow: deque[float] = deque(maxlen=SLOW_TIMES)
        self.why = ""

    @property
    def blown(self) -> bool:
        """Whether the expression is not to be evaluated any more."""
        return bool(self.why)

    def note(self) -> None:
        """One evaluation took more than it may."""
        self._slow.append(self._clock())
        if len(self._slow) == SLOW_TIMES and self._slow[-1] - self._slow[0] <= SLOW_WINDOW_SECONDS:
            self.blow(f"took too much time or memory for {SLOW_TIMES} objects")

    def blow(self, why: str) -> None:
        """Give it up, for what the expression did; the first reason stays."""
        self.why = self.why or why


@dataclass(frozen=True, slots=True)
class Expression:
    """A text that was accepted by ``Evaluator.check``; whether it must yield a boolean; what ends the patience.

    ``namespace`` is that of its subscription, whose time it takes.
    """

    text: str
    boolean: bool
    fuse: Fuse = field(default_factory=Fuse, compare=False)
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What do these expressions yield on this change?

    Variables: ``object``, ``oldObject`` (null when there is none), ``operation``, ``source`` (``apiVersion``, ``kind``,
    ``resource``).
    """

    change: Change
    expressions: Sequence[Expression]


def mentions_old_object(text: str) -> bool:
    """Whether an expression's text uses ``oldObject``, so that the last-seen objects must be kept whole."""
    return _OLD_OBJECT.search(text) is not None
