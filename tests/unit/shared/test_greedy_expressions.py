"""What a namespace gets that asks too much of expressions, and what others get beside it, on a clock of their own."""

from __future__ import annotations

import asyncio
import marshal
from collections.abc import Callable
from typing import Any

import pytest

from hookline.errors import EvaluationError
from hookline.expressions import child
from hookline.expressions.budget import APART_SECONDS, BURST_SECONDS
from hookline.expressions.evaluator import PATIENCE_SECONDS, Evaluator
from hookline.expressions.expression import Answer, Expression, Question
from support.samples import change

SHARE = 0.1


class Child:
    """Answers true to each text, which takes the milliseconds that it begins with; ``asked`` are the frames' texts."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[list[str]] = []
        self.slept = 0.0

    async def start(self, _: int) -> Any:
        return self

    async def ask(self, request: bytes, _: float) -> bytes:
        await asyncio.sleep(0)  # others ask meanwhile
        *_, jobs = marshal.loads(request)
        texts = [text for _, texts in jobs for text, _ in texts]
        self.asked.append(texts)
        reply, until = b"", self.now + child.TURN_SECONDS
        for text in texts:
            seconds = float(text.split()[0]) / 1000
            self.now += seconds
            reply += child.ITEM.pack(child.TRUE, 0, seconds, seconds)
            if self.now > until:
                break
        return reply

    async def end(self) -> None:
        pass

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds
        await asyncio.sleep(0)

    def evaluator(self, share: float = SHARE) -> Evaluator:
        return Evaluator(
            0.1, 1 << 20, 1 << 20, lambda _: None, share, clock=lambda: self.now, sleep=self.sleep, start=self.start
        )


def greedy(milliseconds: float = 90) -> Expression:
    return Expression(f"{milliseconds} of the greedy", True, namespace="greedy")


def frugal() -> Expression:
    return Expression("0.01 of the frugal", True, namespace="frugal")


async def ask(
    evaluator: Evaluator, *expressions: Expression, may_wait: Callable[[], bool] = lambda: True
) -> list[Answer]:
    [answers] = await evaluator.answers([Question(change(), expressions)], may_wait)
    return answers


def never() -> bool:
    return False


async def test_a_filter_waits_for_one_evaluation_however_many_another_namespace_asks():
    evaluator, ended = Child().evaluator(), list[str]()

    async def watch(name: str, *expressions: Expression) -> None:
        await ask(evaluator, *expressions)
        ended.append(name)

    tasks = [asyncio.create_task(watch("greedy", greedy())) for _ in range(20)]
    await asyncio.sleep(0)  # let them ask first
    tasks.append(asyncio.create_task(watch("frugal", frugal())))
    tasks.append(asyncio.create_task(watch("late", greedy())))
    await asyncio.gather(*tasks)
    assert ended[:2] == ["greedy", "frugal"]
    assert ended[2:] == ["greedy"] * 19 + ["late"], "the control: in their own namespace the last one waits for all"


async def test_beyond_its_budget_a_namespace_waits_and_loses_nothing_on_a_watch_of_its_own():
    one = Child()
    evaluator, cheap = one.evaluator(), [greedy(0.2) for _ in range(250)]
    for _ in range(200):  # 10 s
        assert await ask(evaluator, *cheap) == [True] * 250
    used = one.now - one.slept
    assert used == pytest.approx(10.0)
    assert used <= BURST_SECONDS + SHARE * one.now + child.TURN_SECONDS
    assert await ask(evaluator, frugal(), may_wait=never) == [True]


async def test_many_watches_that_wait_for_their_turn_take_no_more_than_one():
    one = Child()
    evaluator, cheap = one.evaluator(), [greedy(0.2)] * 100  # a turn
    for _ in range(round(BURST_SECONDS / 0.02)):
        await ask(evaluator, *cheap)
    while evaluator._budgets._accounts["greedy"].level >= 0.02:  # there is time for one more turn
        await ask(evaluator, *cheap)
    spent = one.now
    await asyncio.gather(*[ask(evaluator, *cheap, may_wait=never) for _ in range(50)])
    assert one.slept == 0
    assert one.now - spent < 0.05


async def test_where_nothing_is_bounded_nobody_waits():
    """The control."""
    one = Child()
    evaluator, dear = one.evaluator(share=0.0), greedy()
    for _ in range(100):
        assert await ask(evaluator, dear, may_wait=never) == [True]
    assert one.slept == 0
    assert not dear.fuse.blown


async def test_where_others_share_the_watch_it_fails_and_nobody_waits():
    one = Child()
    evaluator, cheap = one.evaluator(), [greedy(0.2) for _ in range(250)]
    answers: list[Answer] = []
    for _ in range(200):
        *of_greedy, of_frugal = await ask(evaluator, *cheap, frugal(), may_wait=never)
        assert of_frugal is True
        answers += of_greedy
    assert one.slept == 0
    assert one.now < BURST_SECONDS + SHARE * one.now + 0.1
    failed = [answer for answer in answers if isinstance(answer, EvaluationError)]
    assert 0 < len(failed) < len(answers)
    assert "took all the processor time that they may take together (0.1 of a core)" in str(failed[0])
    one.now += 1.0
    assert (await ask(evaluator, *cheap[:1], may_wait=never)) == [True], "when there is time again"


async def test_a_watch_that_others_come_to_share_does_not_wait_on():
    one = Child()
    evaluator, cheap = one.evaluator(), [greedy(0.2) for _ in range(250)]
    for _ in range(120):
        await ask(evaluator, *cheap)
    slept = one.slept
    answers = await ask(evaluator, *cheap * 10, may_wait=lambda: one.slept < slept + 2)
    assert isinstance(answers[-1], EvaluationError)
    assert one.slept <= slept + 3


async def test_no_watch_stands_still_for_long():
    one = Child()
    evaluator, cheap = one.evaluator(), [greedy(0.2) for _ in range(250)]
    for _ in range(120):
        await ask(evaluator, *cheap)
    begun = one.now
    answers = await ask(evaluator, *cheap * 100)
    assert answers[0] is True
    assert isinstance(answers[-1], EvaluationError)
    assert one.now - begun < PATIENCE_SECONDS + 2


async def test_the_dear_one_is_switched_off_for_the_reason_and_its_siblings_go_on():
    one = Child()
    evaluator, dear, sibling = one.evaluator(), greedy(34), greedy(0.02)
    last: Answer = True
    for _ in range(500):
        last, of_sibling, of_frugal = await ask(evaluator, dear, sibling, frugal(), may_wait=never)
        assert of_sibling is True
        assert of_frugal is True
    assert isinstance(last, EvaluationError)
    assert str(last).startswith("the expression took most of the processor time that its namespace's expressions have")
    assert "not evaluated any more" in str(last)
    assert one.slept == 0


async def test_who_takes_much_is_asked_apart_and_others_are_not_asked_twice():
    one = Child()
    evaluator, cheap, plain = one.evaluator(), greedy(0.2), frugal()
    question = Question(change(), [cheap, plain, cheap])
    assert await evaluator.answers([question, question]) == [[True, True, True]] * 2
    assert one.asked == [[cheap.text, plain.text, cheap.text] * 2], "at first together"
    for _ in range(2 * round(APART_SECONDS / 0.05)):
        await ask(evaluator, *[cheap] * 250)
    one.asked.clear()
    assert await evaluator.answers([question, question]) == [[True, True, True]] * 2
    assert one.asked == [[plain.text] * 2, [cheap.text] * 4]


async def test_answers_stand_where_they_were_asked_for_when_a_child_ends_its_turn_early():
    one = Child()
    evaluator = one.evaluator()
    dear = greedy(15)
    questions = [Question(change(), [frugal(), dear, frugal(), dear])] * 3
    assert await evaluator.answers(questions) == [[True] * 4] * 3
    assert len(one.asked) > 2
    assert sum(map(len, one.asked)) > 12
