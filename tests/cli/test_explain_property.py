"""What ``explain`` says of generated subscriptions and changes is what the router does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from hookline.cli.explaining.steps import Check, Result, check_all, either, together
from hookline.expressions.expression import Answer, Expression, Question
from hookline.match.router import Router, asked
from hookline.match.rule import Step, make_rule
from hookline.model import Change
from hookline.spec import LabelRequirement, LabelSelector, NamespacesFrom, Operation, Source, Subscription
from support.evaluating import evaluating
from support.samples import change, config_map, subscription

FIELDS = ("data.a", "data.b", "metadata.labels")
STEPS = ("operation", "position", "name", "namespace labels", "labels", "changed", "expression")
EXPRESSIONS = (
    "",
    "true",
    "object.data.a == 'x'",  # fails where there is no such key
    "oldObject == null",
    "operation == 'Updated' && object.metadata.name != 'db'",
)


@dataclass(frozen=True)
class Case:
    subscription: Subscription
    change: Change
    namespaces: Mapping[str, Mapping[str, str] | None]
    since: str

    @property
    def rules(self) -> list[Any]:
        return [make_rule(self.subscription, source, self.since) for source in self.subscription.sources]


labels = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))
requirement = st.one_of(
    st.builds(
        LabelRequirement,
        st.sampled_from("ab"),
        st.sampled_from(["In", "NotIn"]),
        st.frozensets(st.sampled_from("xy"), min_size=1),
    ),
    st.builds(LabelRequirement, st.sampled_from("ab"), st.sampled_from(["Exists", "DoesNotExist"])),
)
selector = st.builds(LabelSelector, st.lists(requirement, max_size=2).map(tuple))
source = st.builds(
    Source,
    st.just("v1"),
    st.just("ConfigMap"),
    namespaces_from=st.sampled_from([NamespacesFrom.ALL, NamespacesFrom.SELECTOR]),
    namespace_selector=selector,
    names=st.frozensets(st.sampled_from(["web", "db"]), max_size=1),
    labels=selector,
    operations=st.frozensets(st.sampled_from(Operation), min_size=1),
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    def state() -> dict[str, Any]:
        data = draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy")))
        return config_map(name, version, labels=draw(labels), **({"data": data} if data else {}))

    name, version = draw(st.sampled_from(["web", "db"])), draw(st.sampled_from(["6", "7"]))
    operation = draw(st.sampled_from(Operation))
    old = state() if operation is not Operation.CREATED and draw(st.booleans()) else None
    partial = old is not None and draw(st.booleans())
    wanted = subscription(
        sources=tuple(draw(st.lists(source, min_size=1, max_size=2))),
        changed=tuple(
            draw(st.lists(st.sampled_from(["data.a", "data.b", "metadata.labels"]), max_size=2, unique=True))
        ),
        expression=draw(st.sampled_from(EXPRESSIONS)),
    )
    namespaces = {"shop": draw(st.one_of(st.none(), labels))}
    since = draw(st.sampled_from(["", "6"]))
    return Case(wanted, change(operation, state(), old, partial=partial), namespaces, since)


class Answers:
    """What real children say of expressions, each question asked once."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner
        self._block = evaluating()
        self._evaluating = runner.run(self._block.__aenter__())

    def of(self, case: Case) -> Answer | None:
        if not case.subscription.expression:
            return None
        question = Question(case.change, [Expression(case.subscription.expression, boolean=True)])
        [[answer]] = self._runner.run(self._evaluating.evaluator.answers([question]))
        return answer

    def close(self) -> None:
        self._runner.run(self._block.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    with asyncio.Runner() as runner:
        made = Answers(runner)
        yield made
        made.close()


def routed(case: Case, answer: Answer | None) -> bool:
    router = Router(case.namespaces.get, lambda *_: None)
    router.put(case.subscription.uid, case.change.scope.key, case.rules)
    rules = router.candidates(case.change)
    answers = {} if answer is None else dict.fromkeys(asked(rules), answer)
    return router.match(case.change, rules, answers) == [case.subscription.uid]


def looks(case: Case, answer: Answer | None) -> list[list[Check]]:
    return [check_all(rule, case.change, case.namespaces.get, answer) for rule in case.rules]


@settings(max_examples=250, deadline=None)
@given(cases())
def test_the_verdict_is_the_routers(answers: Answers, case: Case) -> None:
    answer = answers.of(case)
    verdict = either(together(checks) for checks in looks(case, answer))
    assert verdict is (Result.PASSED if routed(case, answer) else Result.FAILED)


@pytest.mark.parametrize(
    "step", ["operation", "position", "name", "namespace labels", "labels", "changed", "expression"]
)
def test_an_explanation_that_leaves_out_a_step_is_found_out(answers: Answers, step: str) -> None:
    """The control of the property: it has cases in which each step decides."""

    def deviates(case: Case) -> bool:
        answer = answers.of(case)
        kept = [[check for check in checks if check.step != step] for checks in looks(case, answer)]
        return either(map(together, kept)) is Result.PASSED and not routed(case, answer)

    search = settings(max_examples=3000, deadline=None, database=None, phases=[Phase.generate])
    find(cases(), deviates, settings=search)


@settings(max_examples=150, deadline=None)
@given(cases())
def test_every_step_that_fails_is_named_and_no_other(case: Case) -> None:
    """A rule without the steps that are named passes, and with one of them it does not."""
    for rule in case.rules:
        probe, named = rule, set()
        while (step := probe.stopped_at(case.change, case.namespaces.get)) is not None:
            assert step not in named
            named.add(step)
            probe = probe.without(step)
        for step in named:
            alone = rule
            for other in set(Step) - {step}:
                alone = alone.without(other)
            assert alone.stopped_at(case.change, case.namespaces.get) is step
        for step in set(Step) - named:
            alone = rule
            for other in set(Step) - {step}:
                alone = alone.without(other)
            assert alone.stopped_at(case.change, case.namespaces.get) is None
