"""CEL: what compiles, what is refused with a position, what fails on one object only."""

from contextlib import suppress
from dataclasses import replace

import pytest

from hookline.errors import EvaluationError, ExpressionError
from hookline.expressions import (
    SLOW_TIMES,
    SLOW_WINDOW_SECONDS,
    Bindings,
    Fuse,
    compile_filter,
    compile_value,
    mentions_old_object,
)
from support.samples import change, config_map


def test_a_syntax_error_is_told_with_line_and_column():
    with pytest.raises(ExpressionError, match="line 1, column 12"):
        compile_filter("object.a ==", "spec.filter.expression")


def test_an_unknown_variable_is_refused_when_compiled_not_when_it_runs():
    with pytest.raises(ExpressionError, match="undeclared reference to 'objekt"):
        compile_filter("objekt.a == 1", "spec.filter.expression")


def test_a_filter_that_yields_text_is_refused():
    with pytest.raises(ExpressionError, match="must be true or false"):
        compile_filter("'yes'", "spec.filter.expression")


def test_the_four_variables_are_there():
    text = (
        "object.data.a == '2' && oldObject.data.a == '1' && operation == 'Updated' "
        "&& source.kind == 'ConfigMap' && source.apiVersion == 'v1' && source.resource == 'configmaps'"
    )
    seen = change(obj=config_map(data={"a": "2"}), old=config_map(data={"a": "1"}))
    assert Bindings(seen).holds(compile_filter(text, "f"))


def test_a_missing_key_is_an_error_of_this_object_and_not_a_crash():
    with pytest.raises(EvaluationError, match="missing"):
        Bindings(change()).holds(compile_filter("object.missing == 1", "f"))


def test_an_endless_expression_runs_out_of_budget():
    numbers = "[" + ",".join(map(str, range(10))) + "]"
    text = "size(" + f"{numbers}.map(a, " * 6 + "a" + ")" * 6 + ") > 0"
    with pytest.raises(EvaluationError):
        Bindings(change()).holds(compile_filter(text, "f"))


def test_a_transform_yields_plain_json_values():
    expression = compile_value("{'text': object.metadata.name + '!', 'n': [1, 2.5, true, null], 'o': object.data}", "f")
    value = Bindings(change(obj=config_map(data={"a": "ü"}))).value(expression)
    assert value == {"text": "web!", "n": [1, 2.5, True, None], "o": {"a": "ü"}}


@pytest.mark.parametrize(("text", "uses"), [("oldObject.a == 1", True), ("object.oldObjects == 1", False)])
def test_it_is_known_whether_old_objects_are_needed(text, uses):
    assert mentions_old_object(text) is uses


class Times:
    """A fuse with clocks that the test moves: each evaluation takes ``cost`` seconds of processor time."""

    def __init__(self, cost, limit=0.1):
        self.now = self.spent = 0.0
        self.cost = cost
        self.fuse = Fuse(limit, lambda: self.now, self.tick)

    def tick(self):
        self.spent += self.cost
        return self.spent

    def evaluate(self, text="true"):
        return Bindings(change()).value(replace(compile_value(text, "f"), fuse=self.fuse))


def test_an_expression_that_takes_too_long_for_one_object_fails_on_it_and_one_that_does_not_passes():
    with pytest.raises(
        EvaluationError, match="took too long for one object: 200 ms of processor time, it may take 100"
    ):
        Times(cost=0.2).evaluate()
    assert Times(cost=0.1).evaluate() is True


def test_an_expression_that_took_too_long_for_several_objects_is_not_evaluated_any_more():
    times = Times(cost=0.2)
    for _ in range(SLOW_TIMES):
        with pytest.raises(EvaluationError, match="for one object"):
            times.evaluate()
    before = times.spent
    with pytest.raises(EvaluationError, match="not evaluated any more"):
        times.evaluate()
    assert times.spent == before, "not even tried"


def test_quick_evaluations_between_slow_ones_do_not_save_an_expression():
    times = Times(cost=0.2)
    for number in range(2 * SLOW_TIMES):
        times.cost = 0.2 if number % 2 else 0.0
        with suppress(EvaluationError):
            times.evaluate()
    assert times.fuse.blown


def test_a_slow_evaluation_now_and_then_is_forgiven():
    times = Times(cost=0.2)
    for _ in range(3 * SLOW_TIMES):
        times.now += SLOW_WINDOW_SECONDS / (SLOW_TIMES - 2)
        with pytest.raises(EvaluationError, match="for one object"):
            times.evaluate()


def test_an_expression_that_fails_slowly_counts_as_slow_and_keeps_its_own_error():
    times = Times(cost=0.2)
    for _ in range(SLOW_TIMES):
        with pytest.raises(EvaluationError, match="missing"):
            times.evaluate("object.missing")
    assert times.fuse.blown
