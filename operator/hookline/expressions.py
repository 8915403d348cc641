"""CEL behind one small interface: compile once, evaluate many on bindings that are converted once per change.

Backed by Google's cel-cpp (``cel-expr-python``): typed errors with positions at compile time, bounded iterations and
recursion at run time. Variables: ``object``, ``oldObject`` (null when there is none), ``operation``, ``source``
(``apiVersion``, ``kind``, ``resource``). Extensions: strings, optionals, bindings. No function does I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

from hookline.errors import EvaluationError, ExpressionError
from hookline.model import Change

_POSITION = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_OLD_OBJECT = re.compile(r"\boldObject\b")
MESSAGE_LIMIT = 300


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


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression and the text it came from."""

    text: str
    program: Any


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
        value = self._evaluate(expression)
        if value.type() != cel.Type.BOOL:
            raise EvaluationError(f"the expression yields {value.type()}, not true or false")
        return bool(value.value())

    def value(self, expression: Expression) -> Any:
        """What an expression yields, as plain JSON values. Raises EvaluationError."""
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
