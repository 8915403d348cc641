"""CEL behind one small interface: compile once, evaluate many on bindings that are converted once per change.

Backed by Google's cel-cpp (``cel-expr-python``): typed errors with positions at compile time, bounded iterations and
recursion at run time; ``Fuse`` says what that leaves open. Variables: ``object``, ``oldObject`` (null when there is
none), ``operation``, ``source`` (``apiVersion``, ``kind``, ``resource``). Extensions: strings, optionals, bindings. No
function does I/O.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

from hookline.errors import EvaluationError, ExpressionError
from hookline.model import Change

_POSITION = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_OLD_OBJECT = re.compile(r"\boldObject\b")
MESSAGE_LIMIT = 300
SLOW_TIMES = 5
SLOW_WINDOW_SECONDS = 600.0


@cache
def _environment() -> Any:
    return cel.NewEnv(
        variables={
            "object": cel.Type.DYN,
            "oldObject": cel.Type.DYN,
            "operation": cel.Type.STRING,
            "source": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
        },
        extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings(), ext_bindings.ExtBindings()],
    )


class Fuse:
    """What one subscription's expression may cost, so that a dear one harms only its own subscription.

    ``limit`` is seconds of processor time for one object; more fails. After SLOW_TIMES such within SLOW_WINDOW_SECONDS
    the fuse has ``blown``: the expression fails on every object without being evaluated, until it gets a new fuse.
    What it can't do: one evaluation runs to its end in the thread of the event loop, and the library bounds the number
    of its iterations, not the size of what each of them makes. So neither the time nor the memory of one evaluation is
    bounded: ``object.l.map(x, object.s + object.s + object.s)`` on 300 kB took 1.8 s and 4.5 GB, which may be more
    than the container has.

    ``clock`` is monotonic seconds, ``spent`` seconds of processor time of this thread: that a neighbour or a quota
    held the process up is no fault of an expression.
    """

    def __init__(
        self,
        limit: float,
        clock: Callable[[], float] = time.monotonic,
        spent: Callable[[], float] = time.thread_time,
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._spent = spent
        self._slow: deque[float] = deque(maxlen=SLOW_TIMES)
        self.blown = False

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Around one evaluation. Raises EvaluationError when it took too long, or without a try once blown."""
        if self.blown:
            raise EvaluationError(
                f"the expression took too long for {SLOW_TIMES} objects, so it is not evaluated any more: simplify it; "
                "any change of the spec gives it another try"
            )
        begun = self._spent()
        try:
            yield
        finally:
            taken = self._spent() - begun
            if taken > self._limit:
                self._note_slow()
        if taken > self._limit:
            raise EvaluationError(
                f"the expression took too long for one object: {taken * 1000:.0f} ms of processor time, "
                f"it may take {self._limit * 1000:.0f} ms: simplify it"
            )

    def _note_slow(self) -> None:
        self._slow.append(self._clock())
        self.blown = len(self._slow) == SLOW_TIMES and self._slow[-1] - self._slow[0] <= SLOW_WINDOW_SECONDS


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression, the text it came from, and what bounds its cost."""

    text: str
    program: Any
    fuse: Fuse = field(default_factory=lambda: Fuse(float("inf")), compare=False)


def compile_filter(text: str, field: str) -> Expression:
    """Compile an expression that must yield a boolean. Raises ExpressionError with line and column."""
    expression = compile_value(text, field)
    kind = expression.program.return_type()
    if kind not in (cel.Type.BOOL, cel.Type.DYN):
        raise ExpressionError(field, f"must be true or false, but this yields {kind}")
    return expression


def compile_value(text: str, field: str) -> Expression:
    """Compile an expression of any type. Raises ExpressionError with line and column."""
    try:
        return Expression(text, _environment().compile(text))
    except RuntimeError as error:
        raise ExpressionError(field, _positioned(str(error))) from None


def mentions_old_object(text: str) -> bool:
    """Whether an expression's text uses ``oldObject``, so that the last-seen objects must be kept whole."""
    return _OLD_OBJECT.search(text) is not None


class Bindings:
    """The variables of one change, converted for CEL at the first use and shared by all expressions."""

    __slots__ = ("_activation", "_change")

    def __init__(self, change: Change) -> None:
        self._change = change
        self._activation: Any = None

    def _ready(self) -> Any:
        if self._activation is None:
            change = self._change
            resource = change.scope.resource
            self._activation = _environment().Activation(
                {
                    "object": change.object,
                    "oldObject": change.old,
                    "operation": change.operation.value,
                    "source": {"apiVersion": resource.api_version, "kind": resource.kind, "resource": resource.plural},
                }
            )
        return self._activation

    def holds(self, expression: Expression) -> bool:
        """Whether a filter is true. Raises EvaluationError when it fails on this object or yields no boolean."""
        self._ready()
        with expression.fuse.measured():
            value = self._evaluate(expression)
        if value.type() != cel.Type.BOOL:
            raise EvaluationError(f"the expression yields {value.type()}, not true or false")
        return bool(value.value())

    def value(self, expression: Expression) -> Any:
        """What an expression yields, as plain JSON values. Raises EvaluationError."""
        self._ready()
        with expression.fuse.measured():
            value = self._evaluate(expression)
            try:
                return value.plain_value()
            except (RuntimeError, TypeError, ValueError) as error:
                raise EvaluationError(f"the result is no JSON: {str(error)[:MESSAGE_LIMIT]}") from None

    def _evaluate(self, expression: Expression) -> Any:
        try:
            value = expression.program.eval(self._ready())
        except RuntimeError as error:  # the budget of iterations or recursion
            raise EvaluationError(_first_line(str(error))) from None
        if value.type() == cel.Type.ERROR:
            raise EvaluationError(_first_line(str(value.value())))
        return value


def _positioned(text: str) -> str:
    """``line 1, column 13: Syntax error: …`` for each problem that the compiler names."""
    found = [f"line {line}, column {column}: {what}" for line, column, what in _POSITION.findall(text)]
    return ("; ".join(found) or _first_line(text))[:MESSAGE_LIMIT]


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:MESSAGE_LIMIT]
