"""Ask children what expressions yield, in turn and in small portions, and say whose fault it is when one dies.

In: questions about changes. Out: answers. One child works, a second one stands by, so that a death costs others little;
the first is started when the first question comes.

An expression that is killed for its time fails. One at which a child died otherwise is asked again, alone, of a new
child, before it is blamed: others may have taken the memory. Either counts on its fuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import marshal
from collections.abc import Callable, Iterator, Sequence

import orjson

from hookline.errors import EvaluationError, ExpressionError, RenderError
from hookline.expressions import child
from hookline.expressions.asking import Asking, Item
from hookline.expressions.expression import Answer, Expression, Question
from hookline.expressions.worker import Cause, Death, Worker

log = logging.getLogger(__name__)
CHECK_SECONDS = 0.5
"""Processor time that compiling one text may take; honest ones of 4,096 characters take 0.01 s."""
SILENT_SECONDS = 5.0
"""A child that says nothing for so long, and ten times the limit, is killed, whatever holds it up."""


class Evaluator:
    """All evaluation of one operator. Close it in the end.

    ``seconds`` is the processor time that one expression may take for one object, ``memory`` the bytes that a child may
    take, ``limit`` the largest result in bytes. ``on_death`` is told the cause whenever a child died in its work.
    """

    def __init__(self, seconds: float, memory: int, limit: int, on_death: Callable[[Cause], None]) -> None:
        self._seconds = seconds
        self._memory = memory
        self._limit = limit
        self._on_death = on_death
        self._turn = asyncio.Lock()  # first come, first served, for each portion
        self._worker: Worker | None = None
        self._spare: asyncio.Task[Worker] | None = None

    async def check(self, text: str, field: str, *, boolean: bool) -> None:
        """Whether an expression compiles, and may yield a boolean if it must.

        Raises ExpressionError with line and column; OSError when there can be no child.
        """
        request = marshal.dumps((child.CHECK, CHECK_SECONDS, text, boolean))
        try:
            reply = await self._ask(request, CHECK_SECONDS)
        except Death as death:
            if death.cause is Cause.TIME:
                raise _too_dear(field) from None
            try:
                reply = await self._ask(request, CHECK_SECONDS)  # it may have died of something else
            except Death:
                raise _too_dear(field) from None
        for tag, content in _items(reply):
            if tag != child.ACCEPTED:
                raise ExpressionError(field, content.decode(errors="replace"))

    async def answers(self, questions: Sequence[Question]) -> list[list[Answer]]:
        """An answer for each expression of each question, in order. Raises OSError when there can be no child."""
        asking = Asking(questions)
        while portion := asking.portion():
            request = marshal.dumps((child.EVALUATE, self._seconds, self._limit, asking.jobs(portion)))
            try:
                reply = await self._ask(request, self._seconds)
            except Death as death:
                self._blame(asking, portion, death)
                continue
            for (tag, content), item in zip(_items(reply), portion, strict=False):
                asking.answer(self._read(tag, content, item.expression))
        return asking.answered

    async def close(self) -> None:
        """End the children."""
        async with self._turn:
            if self._worker is not None:
                await self._worker.end()
                self._worker = None
            if self._spare is not None:
                with contextlib.suppress(OSError):
                    await (await self._spare).end()
                self._spare = None

    async def _ask(self, request: bytes, seconds: float) -> bytes:
        async with self._turn:
            worker = await self._ready()
            try:
                return await worker.ask(request, SILENT_SECONDS + 10 * seconds)
            except BaseException as error:
                self._worker = None
                await worker.end()
                if isinstance(error, Death):
                    log.warning("a process for expressions was replaced", extra={"cause": error.cause.value})
                    self._on_death(error.cause)
                raise

    async def _ready(self) -> Worker:
        if self._worker is None:
            starting, self._spare = self._spare or self._start(), None
            try:
                self._worker = await asyncio.shield(starting)
            except asyncio.CancelledError:
                self._spare = starting
                raise
        if self._spare is None:
            self._spare = self._start()
        return self._worker

    def _start(self) -> asyncio.Task[Worker]:
        return asyncio.create_task(Worker.start(self._memory))

    def _blame(self, asking: Asking, portion: Sequence[Item], death: Death) -> None:
        known = 0 <= death.at < len(portion)
        suspects = [portion[death.at]] if known else portion
        if (known and death.cause is Cause.TIME) or all(map(asking.is_alone, suspects)):
            for item in suspects:
                item.expression.fuse.note()
                asking.fail(item, EvaluationError(self._reason(death.cause)))
        else:
            asking.separate(suspects)

    def _reason(self, cause: Cause) -> str:
        match cause:
            case Cause.TIME:
                what = f"took too long for one object: more than {self._seconds * 1000:.0f} ms of processor time"
            case Cause.MEMORY:
                what = f"took too much memory for one object: more than {self._memory >> 20} MiB"
            case Cause.SILENT:
                what = "did not end in time for one object"
            case Cause.CRASH:
                what = "could not be evaluated for one object: its process crashed"
        return f"the expression {what}: simplify it"

    def _read(self, tag: bytes, content: bytes, expression: Expression) -> Answer:
        if tag in (child.TRUE, child.FALSE):
            return tag == child.TRUE
        if tag == child.JSON:
            return orjson.Fragment(content)
        text = content.decode(errors="replace")
        if tag == child.NOT_ENCODABLE:
            return RenderError("not_encodable", f"the payload can't be written as JSON: {text}")
        if tag == child.TOO_LARGE:
            return RenderError("too_large", f"the transform yields {text} bytes, the limit is {self._limit}")
        if tag == child.SLOW:
            expression.fuse.note()
            return EvaluationError(
                f"the expression took too long for one object: {text} ms of processor time, it may take "
                f"{self._seconds * 1000:.0f} ms: simplify it"
            )
        return EvaluationError(text)


def _too_dear(field: str) -> ExpressionError:
    return ExpressionError(field, "takes too much time or memory to compile: simplify it")


def _items(reply: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The items of an answer: tag and content."""
    at = 0
    while at < len(reply):
        tag, length = child.ITEM.unpack_from(reply, at)
        at += child.ITEM.size
        yield tag, reply[at : at + length]
        at += length
