"""What of some questions is still to be asked, in which portions. Pure.

In: questions, and what came of each portion. Out: the next portion, in the end the answers. ``evaluator`` asks.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

from hookline.errors import EvaluationError
from hookline.expressions.expression import Answer, Expression, Question, mentions_old_object

PORTION_BYTES = 1 << 20
PORTION_TEXTS = 2000
TOGETHER = "*"
"""The lane of portions with expressions of several namespaces; no namespace is called so."""


class Item(NamedTuple):
    """One expression to evaluate: its number among all, that of its question, its place there."""

    number: int
    question: int
    place: int
    expression: Expression


class Asking:
    """Questions, as far as they are answered. ``answered`` has an answer for each expression in the end.

    Expressions of several namespaces are asked together, but for those of namespaces that ``is_apart`` names when a
    portion is made: each of these has its own portions, in its own lane, after all others.
    """

    def __init__(self, questions: Sequence[Question], is_apart: Callable[[str], bool]) -> None:
        self._questions = questions
        self._is_apart = is_apart
        self._pending: deque[Item] = deque()
        for question, asked in enumerate(questions):
            for place, expression in enumerate(asked.expressions):
                self._pending.append(Item(len(self._pending), question, place, expression))
        namespaces = {item.expression.namespace for item in self._pending}
        self._lane = namespaces.pop() if len(namespaces) == 1 else TOGETHER
        self._apart: dict[str, deque[Item]] = {}  # none is empty
        self._failed: dict[int, EvaluationError] = {}
        self._alone: set[int] = set()
        self._packed: dict[int, bytes] = {}
        self._answered: list[list[Answer | None]] = [[None] * len(question.expressions) for question in questions]

    @property
    def answered(self) -> list[list[Answer]]:
        """The answers, in order, when there is no lane any more."""
        return cast(list[list[Answer]], self._answered)

    def lane(self, wait: Callable[[str], float]) -> str | None:
        """In whose lane the next portion is asked; None when all is answered. ``wait`` is for how long one must."""
        if self._pending:
            return self._lane
        return min(self._apart, key=wait) if self._apart else None

    def portion(self, lane: str) -> list[Item]:
        """What to ask next in this lane, in order; it may be nothing. ``put_back`` what gets no answer."""
        pending = self._pending if lane == self._lane else self._apart[lane]
        together = lane == TOGETHER
        portion: list[Item] = []
        packed: dict[int, bytes] = {}
        apart: dict[str, bool] = {}
        size, last = 0, -1
        while pending and len(portion) < PORTION_TEXTS:
            item = pending[0]
            if error := self._over(item):
                self.answer(pending.popleft(), error)
                continue
            if together:
                namespace = item.expression.namespace
                if namespace not in apart:
                    apart[namespace] = self._is_apart(namespace)
                if apart[namespace]:
                    self._apart.setdefault(namespace, deque()).append(pending.popleft())
                    continue
            alone = item.number in self._alone
            if portion and alone:
                break
            if item.question != last:
                last = item.question
                packed[last] = self._packed.get(last) or marshal.dumps(_variables(self._questions[last]))
                size += len(packed[last])
                if portion and size > PORTION_BYTES:
                    break
            portion.append(pending.popleft())
            if alone:
                break
        self._packed = packed
        self._tidy(lane)
        return portion

    def jobs(self, portion: Sequence[Item]) -> list[tuple[bytes, list[tuple[str, bool]]]]:
        """The last portion as the child wants it: for each question its variables and its texts."""
        jobs: list[tuple[bytes, list[tuple[str, bool]]]] = []
        last = -1
        for item in portion:
            if item.question != last:
                last = item.question
                jobs.append((self._packed[last], []))
            jobs[-1][1].append((item.expression.text, item.expression.boolean))
        return jobs

    def answer(self, item: Item, answer: Answer) -> None:
        """Note an answer."""
        self._answered[item.question][item.place] = answer

    def put_back(self, lane: str, items: Sequence[Item]) -> None:
        """These, of the last portion of this lane, have no answer yet."""
        if items:
            pending = self._pending if lane == self._lane else self._apart.setdefault(lane, deque())
            pending.extendleft(reversed(items))

    def refuse(self, lane: str, error: EvaluationError) -> None:
        """Ask nothing more of what is left in this lane: this is the answer."""
        pending = self._pending if lane == self._lane else self._apart[lane]
        while pending:
            item = pending.popleft()
            self.answer(item, self._over(item) or error)
        self._tidy(lane)

    def fail(self, item: Item, error: EvaluationError) -> None:
        """Note that this one is not to be asked any more."""
        self._failed[item.number] = error

    def separate(self, items: Sequence[Item]) -> None:
        """Ask each of these alone."""
        self._alone.update(item.number for item in items)

    def is_alone(self, item: Item) -> bool:
        """Whether it is asked alone."""
        return item.number in self._alone

    def _over(self, item: Item) -> EvaluationError | None:
        """What it is answered without being asked."""
        if item.number in self._failed:
            return self._failed[item.number]
        if why := item.expression.fuse.why:
            return EvaluationError(
                f"the expression {why}, so it is not evaluated any more: simplify it; any change of the spec gives it "
                "another try"
            )
        return None

    def _tidy(self, lane: str) -> None:
        if lane in self._apart and not self._apart[lane]:
            del self._apart[lane]


def _variables(question: Question) -> dict[str, Any]:
    change = question.change
    resource = change.scope.resource
    # The old object costs as much as the new one, and few look at it.
    old = change.old if any(mentions_old_object(item.text) for item in question.expressions) else None
    return {
        "object": change.object,
        "oldObject": old,
        "operation": change.operation.value,
        "source": {"apiVersion": resource.api_version, "kind": resource.kind, "resource": resource.plural},
    }
