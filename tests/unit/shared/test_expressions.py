"""CEL: what compiles, what is refused with a position, what fails on one object only; portions and fuses."""

from __future__ import annotations

import orjson
import pytest

from hookline.errors import EvaluationError, ExpressionError, RenderError
from hookline.expressions.asking import PORTION_BYTES, PORTION_TEXTS, TOGETHER, Asking
from hookline.expressions.expression import (
    SLOW_TIMES,
    SLOW_WINDOW_SECONDS,
    Expression,
    Fuse,
    Question,
    mentions_old_object,
)
from support.evaluating import evaluating
from support.samples import change, config_map


@pytest.fixture
async def cel():
    async with evaluating() as made:
        yield made


async def test_a_syntax_error_is_told_with_line_and_column(cel):
    with pytest.raises(ExpressionError, match="f: line 1, column 12"):
        await cel.check("object.a ==", "f", boolean=True)


async def test_an_unknown_variable_is_refused_when_compiled_not_when_it_runs(cel):
    with pytest.raises(ExpressionError, match="undeclared reference to 'objekt"):
        await cel.check("objekt.a == 1", "f", boolean=True)


async def test_a_filter_that_yields_text_is_refused_and_a_transform_is_not(cel):
    with pytest.raises(ExpressionError, match="must be true or false"):
        await cel.check("'yes'", "f", boolean=True)
    await cel.check("'yes'", "f", boolean=False)
    await cel.check("object.a", "f", boolean=True)
    assert cel.deaths == []


async def test_the_four_variables_are_there(cel):
    text = (
        "object.data.a == '2' && oldObject.data.a == '1' && operation == 'Updated' "
        "&& source.kind == 'ConfigMap' && source.apiVersion == 'v1' && source.resource == 'configmaps'"
    )
    assert await cel.holds(text, change(obj=config_map(data={"a": "2"}), old=config_map(data={"a": "1"})))
    assert await cel.holds("oldObject == null", change())


async def test_a_missing_key_is_an_error_of_this_object_and_not_a_crash(cel):
    with pytest.raises(EvaluationError, match="missing"):
        await cel.holds("object.missing == 1", change())
    with pytest.raises(EvaluationError, match="not true or false"):
        await cel.holds("object.data", change(obj=config_map(data={"a": "1"})))
    assert cel.deaths == []


async def test_a_transform_yields_json(cel):
    text = "{'text': object.metadata.name + '!', 'n': [1, 2.5, true, null], 'o': object.data, 3: 'a number'}"
    value = await cel.value(text, change(obj=config_map(data={"a": "ü"})))
    assert value == {"text": "web!", "n": [1, 2.5, True, None], "o": {"a": "ü"}, "3": "a number"}
    with pytest.raises(RenderError, match="can't be written as JSON") as caught:
        await cel.value("b'bytes'", change())
    assert caught.value.reason == "not_encodable"


async def test_an_object_is_evaluated_as_deep_as_one_can_be_read(cel):
    deep: object = "the bottom"
    for _ in range(1000):
        deep = {"a": deep}
    seen = change(obj=config_map(spec=deep))
    assert await cel.holds("object.metadata.name == 'web'", seen)
    with pytest.raises(RenderError) as caught:
        await cel.value("object", seen)
    assert caught.value.reason == "not_encodable"


async def test_answers_come_in_the_order_of_the_questions(cel):
    questions = [
        Question(change(obj=config_map(data={"n": n})), [Expression(f"object.data.n + {k}", False) for k in range(n)])
        for n in range(60)
    ]
    answers = orjson.loads(orjson.dumps(await cel.evaluator.answers(questions)))
    assert answers == [[n + k for k in range(n)] for n in range(60)]


async def test_where_there_is_no_expression_no_process_is_started(cel):
    assert await cel.evaluator.answers([]) == []
    assert await cel.evaluator.answers([Question(change(), [])]) == [[]]
    assert cel.evaluator._worker is None
    assert cel.evaluator._spare is None
    await cel.holds("true", change())
    assert cel.evaluator._worker is not None, "the control"


@pytest.mark.parametrize(("text", "uses"), [("oldObject.a == 1", True), ("object.oldObjects == 1", False)])
def test_it_is_known_whether_old_objects_are_needed(text, uses):
    assert mentions_old_object(text) is uses


# Portions.

SHOP = ""


def nobody(_: str) -> bool:
    """Who is apart."""
    return False


def no_wait(_: str) -> float:
    return 0.0


def items(count, size=10):
    return [Question(change(obj=config_map(data={"a": "x" * size})), [Expression("a", False)]) for _ in range(count)]


@pytest.mark.parametrize(
    ("questions", "first"),
    [
        (items(3), 3),
        (items(3, PORTION_BYTES * 2 // 5), 2),
        (items(2, PORTION_BYTES * 2), 1),
        ([Question(change(), [Expression("a", False)] * (PORTION_TEXTS + 1))], PORTION_TEXTS),
    ],
    ids=["all", "as much as fits", "one at least", "not too many"],
)
def test_a_portion_is_bounded_so_that_others_get_their_turn(questions, first):
    asking = Asking(questions, nobody)
    portion = asking.portion(SHOP)
    assert len(portion) == first
    for item in portion:
        asking.answer(item, True)
    assert len(asking.portion(SHOP)) == sum(len(question.expressions) for question in questions) - first or first > 2


def test_what_was_separated_is_asked_alone_and_what_failed_not_again():
    asking = Asking(items(4), nobody)
    first = asking.portion(SHOP)
    asking.put_back(SHOP, first)
    asking.separate([first[1]])
    assert asking.portion(SHOP) == first[:1]
    asking.answer(first[0], True)
    assert asking.portion(SHOP) == first[1:2]
    asking.put_back(SHOP, first[1:2])
    asking.fail(first[1], EvaluationError("no"))
    assert asking.portion(SHOP) == first[2:]
    for item in first[2:]:
        asking.answer(item, True)
    assert asking.lane(no_wait) is None
    assert [type(answer) for [answer] in asking.answered] == [bool, EvaluationError, bool, bool]


def of(namespace: str) -> Expression:
    return Expression(namespace, False, namespace=namespace)


def test_a_namespace_that_is_apart_has_its_own_portions_after_the_others_and_nothing_is_asked_twice() -> None:
    apart: set[str] = set()
    asking = Asking([Question(change(), [of("a"), of("b"), of("c")])] * 2, apart.__contains__)
    assert asking.lane(no_wait) == TOGETHER
    portion = asking.portion(TOGETHER)
    assert [item.expression.text for item in portion] == list("abcabc")
    asking.answer(portion[0], True)
    asking.put_back(TOGETHER, portion[1:])
    apart |= {"a", "b"}
    [c, last] = asking.portion(TOGETHER)
    asking.answer(c, False)
    asking.put_back(TOGETHER, [last])
    [again] = asking.portion(TOGETHER)
    assert again == last
    asking.answer(again, True)
    assert asking.lane({"a": 1.0, "b": 0.0}.__getitem__) == "b", "who need not wait is first"
    assert [item.expression.text for item in asking.portion("b")] == ["b", "b"]
    assert asking.lane(no_wait) == "a"
    asking.refuse("a", EvaluationError("no time"))
    assert asking.lane(no_wait) is None
    assert [asking.answered[0][0], asking.answered[0][2], asking.answered[1][2]] == [True, False, True]
    assert str(asking.answered[1][0]) == "no time"


def test_one_namespace_alone_has_its_lane_and_is_never_apart():
    asking = Asking([Question(change(), [of("a")] * 2)], {"a"}.__contains__)
    assert asking.lane(no_wait) == "a"
    assert len(asking.portion("a")) == 2


def test_a_blown_fuse_answers_for_its_expression_and_for_no_other():
    blown = Expression("a", False, fuse_after(*[0.0] * SLOW_TIMES))
    asking = Asking([Question(change(), [blown, Expression("b", False), blown])], nobody)
    [item] = asking.portion(SHOP)
    assert item.expression.text == "b"
    asking.answer(item, True)
    assert asking.portion(SHOP) == []
    assert asking.lane(no_wait) is None
    assert ["not evaluated any more" in str(answer) for answer in asking.answered[0]] == [True, False, True]


# Fuses.


def fuse_after(*times):
    """A fuse that was told at these times that an expression took too much."""
    clock = iter(times)
    fuse = Fuse(lambda: next(clock))
    for _ in times:
        fuse.note()
    return fuse


def test_a_fuse_blows_at_the_fifth_time_and_not_before():
    assert not fuse_after(*range(SLOW_TIMES - 1)).blown
    assert fuse_after(*range(SLOW_TIMES)).blown


def test_a_fuse_forgives_what_happens_now_and_then():
    step = SLOW_WINDOW_SECONDS / (SLOW_TIMES - 2)
    assert not fuse_after(*(number * step for number in range(3 * SLOW_TIMES))).blown


def test_a_blown_fuse_stays_blown():
    assert fuse_after(*[0.0] * SLOW_TIMES, SLOW_WINDOW_SECONDS * 2).blown
