"""What of some questions is still to be asked, in which portions. Pure.

In: questions, and what came of each portion. Out: the next portion, in the end the answers. ``evaluator`` asks.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hookline.errors import EvaluationError
from hookline.expressions.expression import SLOW_TIMES, Answer, Expression, Question, mentions_old_object

PORTION_BYTES = 1 << 20
PORTION_TEXTS = 2000

_GIVEN_UP = (
    f"the expression took too much time or memory for {SLOW_TIMES} objects, so it is not evaluated any more: simplify "
    "it; any change of the spec gives it another try"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One expression to evaluate: its number among all, and that of its question."""

    number: int
    question: int
    expression: Expression


class Asking:
    """Questions, as far as they are answered. ``answered`` has an answer for each expression in the end."""

    def __init__(self, questions: Sequence[Question]) -> None:
        self._questions = questions
        pairs = [(place, item) for place, question in enumerate(questions) for item in question.expressions]
        self._pending = deque(Item(number, *pair) for number, pair in enumerate(pairs))
        self._failed: dict[int, EvaluationError] = {}
        self._alone: set[int] = set()
        self._packed: dict[int, bytes] = {}
        self.answered: list[list[Answer]] = [[] for _ in questions]

    def portion(self) -> list[Item]:
        """What to ask next, in order; none when all is answered."""
        self._skip()
        portion: list[Item] = []
        size, last = 0, -1
        for item in self._pending:
            if self._is_over(item) or (portion and self.is_alone(item)) or len(portion) == PORTION_TEXTS:
                break
            if item.question != last:
                last = item.question
                size += len(self._pack(last))
                if portion and size > PORTION_BYTES:
                    break
            portion.append(item)
            if self.is_alone(item):
                break
        return portion

    def jobs(self, portion: Sequence[Item]) -> list[tuple[bytes, list[tuple[str, bool]]]]:
        """A portion as the child wants it: for each question its variables and its texts."""
        jobs: list[tuple[bytes, list[tuple[str, bool]]]] = []
        last = -1
        for item in portion:
            if item.question != last:
                last = item.question
                jobs.append((self._pack(last), []))
            jobs[-1][1].append((item.expression.text, item.expression.boolean))
        return jobs

    def answer(self, answer: Answer) -> None:
        """Note the answer to the first item that had none."""
        item = self._pending.popleft()
        self.answered[item.question].append(answer)
        if not self._pending or self._pending[0].question != item.question:
            self._packed.pop(item.question, None)

    def fail(self, item: Item, error: EvaluationError) -> None:
        """Note that this one is not to be asked any more."""
        self._failed[item.number] = error

    def separate(self, items: Sequence[Item]) -> None:
        """Ask each of these alone."""
        self._alone.update(item.number for item in items)

    def is_alone(self, item: Item) -> bool:
        """Whether it is asked alone."""
        return item.number in self._alone

    def _is_over(self, item: Item) -> bool:
        return item.expression.fuse.blown or item.number in self._failed

    def _skip(self) -> None:
        while self._pending and self._is_over(item := self._pending[0]):
            self.answer(self._failed.get(item.number) or EvaluationError(_GIVEN_UP))

    def _pack(self, place: int) -> bytes:
        packed = self._packed.get(place)
        if packed is None:
            packed = self._packed[place] = marshal.dumps(_variables(self._questions[place]))
        return packed


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
