"""Expressions, compiled and evaluated by real children."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from hookline.expressions.evaluator import Evaluator
from hookline.expressions.expression import Answer, Expression, Question
from hookline.expressions.worker import Cause
from hookline.model import Change

MIB = 1 << 20


class Evaluating:
    """An evaluator; ``deaths`` are the causes of its children's."""

    def __init__(self, seconds: float, memory: int, limit: int, share: float) -> None:
        self.deaths: list[Cause] = []
        self.evaluator = Evaluator(seconds, memory, limit, self.deaths.append, share)
        self.check = self.evaluator.check

    async def answers(self, change: Change, *expressions: Expression | str) -> list[Answer]:
        """What these yield on a change; texts are no filters."""
        wanted = [Expression(item, boolean=False) if isinstance(item, str) else item for item in expressions]
        [answers] = await self.evaluator.answers([Question(change, wanted)])
        return answers

    async def holds(self, text: str, change: Change) -> bool:
        """Whether a filter is true. Raises what went wrong."""
        answer = (await self.answers(change, Expression(text, boolean=True)))[0]
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, bool)
        return answer

    async def value(self, text: str, change: Change) -> Any:
        """What an expression yields, decoded. Raises what went wrong."""
        answer = (await self.answers(change, text))[0]
        if isinstance(answer, Exception):
            raise answer
        return orjson.loads(orjson.dumps(answer))


@asynccontextmanager
async def evaluating(
    *, seconds: float = 5.0, memory: int = 512 * MIB, limit: int = 2 * MIB, share: float = 0.0
) -> AsyncIterator[Evaluating]:
    """An evaluator, patient unless told otherwise, for the machine may be busy; its children end with the block."""
    made = Evaluating(seconds, memory, limit, share)
    try:
        yield made
    finally:
        await made.evaluator.close()
