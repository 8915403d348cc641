"""The expressions of one step of a watch: whom to ask what, between match and render, and what came of it.

In: changes with their candidate rules, then what matched. Out: whom each change concerns, then what to render of it.
``hookline.flow`` makes the step. Where there is no expression nothing is asked and nobody waits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from hookline.expressions.evaluator import Evaluator
from hookline.expressions.expression import Answer, Question
from hookline.match.router import Router, asked
from hookline.match.rule import Rule
from hookline.model import Change, Scope
from hookline.observe.metrics import Metrics
from hookline.render.renderer import Renderer
from hookline.settings import Settings
from hookline.spec import Subscription


@dataclass(slots=True)
class Wanted:
    """A change that a subscription gets. ``transformed`` is the answer to its transform, if it has one."""

    uid: str
    renderer: Renderer
    change: Change
    transformed: Answer | None = None


class Asked:
    """All that is asked of expressions. Close it in the end.

    ``is_of_one``: whether all that listen to a scope are of one namespace. Only then its changes wait until that
    namespace has time again for its expressions: else others would wait with them.
    """

    def __init__(
        self, settings: Settings, metrics: Metrics, is_of_one: Callable[[Scope], bool] = lambda _: True
    ) -> None:
        self._is_of_one = is_of_one
        self._evaluator = Evaluator(
            settings.expression_limit_milliseconds / 1000,
            settings.expression_memory_bytes,
            settings.max_body_bytes,
            metrics.expression_worker_died,
            settings.max_expression_share_per_namespace,
        )

    async def check(self, subscription: Subscription) -> None:
        """Compile the expressions of a subscription. Raises ExpressionError with the position."""
        if subscription.expression:
            await self._evaluator.check(subscription.expression, "spec.filter.expression", boolean=True)
        if subscription.payload.transform:
            await self._evaluator.check(subscription.payload.transform, "spec.payload.transform", boolean=False)

    async def matched(self, router: Router, found: Sequence[tuple[Change, Sequence[Rule]]]) -> list[list[str]]:
        """The uids of the subscriptions that want each of these changes, of which ``found`` has the candidates."""
        asking = [asked(rules) for _, rules in found]
        questions = [
            Question(change, list(texts.values())) for (change, _), texts in zip(found, asking, strict=True) if texts
        ]
        answers = iter(await self._answers(questions))
        return [
            router.match(change, rules, dict(zip(texts, next(answers), strict=True)) if texts else {})
            for (change, rules), texts in zip(found, asking, strict=True)
        ]

    async def transform(self, wanted: Sequence[Wanted]) -> None:
        """Ask all transforms, and note what they yield."""
        asking: list[tuple[Change, list[Wanted]]] = []
        for item in wanted:
            if item.renderer.transform is None:
                continue
            subject = item.renderer.subject(item.change)
            if asking and asking[-1][0] is subject:
                asking[-1][1].append(item)
            else:
                asking.append((subject, [item]))
        questions = [
            Question(subject, [item.renderer.transform for item in group if item.renderer.transform is not None])
            for subject, group in asking
        ]
        for (_, group), answers in zip(asking, await self._answers(questions), strict=True):
            for item, answer in zip(group, answers, strict=True):
                item.transformed = answer

    async def _answers(self, questions: Sequence[Question]) -> list[list[Answer]]:
        scopes = {question.change.scope for question in questions}
        return await self._evaluator.answers(questions, partial(self._may_wait, scopes))

    def _may_wait(self, scopes: Iterable[Scope]) -> bool:
        return all(map(self._is_of_one, scopes))

    async def close(self) -> None:
        """End the processes that evaluate."""
        await self._evaluator.close()
