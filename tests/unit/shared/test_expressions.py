"""CEL: what compiles, what is refused with a position, what fails on one object only."""

import pytest

from hookline.errors import EvaluationError, ExpressionError
from hookline.expressions import Bindings, compile_filter, compile_value, mentions_old_object
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
