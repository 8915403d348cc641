"""Ask children what expressions yield, in turn and in small portions, and say whose fault it is when one dies.

In: questions about changes. Out: answers. One child works, a second one stands by, so that a death costs others little;
the first is started when the first question comes. Namespaces take turns (``lanes``), and each has so much time
(``budget``).

An expression that is killed for its time fails. One at which a child died otherwise is asked again, alone, of a new
child, before it is blamed: others may have taken the memory. Either counts on its fuse.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import marshal
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

import orjson

from hookline.errors import EvaluationError, ExpressionError, RenderError
from hookline.expressions import child
from hookline.expressions.asking import Asking, Item
from hookline.expressions.budget import Budgets, Spent
from hookline.expressions.expression import Answer, Expression, Question
from hookline.expressions.lanes import Lanes
from hookline.expressions.worker import Cause, Death, Worker

log = logging.getLogger(__name__)
CHECK_SECONDS = 0.5
"""Processor time that compiling one text may take; honest ones of 4,096 characters take 0.01 s."""
SILENT_SECONDS = 5.0
"""A child that says nothing for so long, and ten times the limit, is killed, whatever holds it up."""
PATIENCE_SECONDS = 30.0
"""So long a question waits until its namespace may take time again. Its watch stands still meanwhile, which it may not
do for long: else the operator seems to hang."""
_CHECKS = "?"
_CLOSING = "."


def _always() -> bool:
    return True


class Evaluator:
    """All evaluation of one operator. Close it in the end.

    ``seconds`` is the processor time that one expression may take for one object, ``memory`` the bytes that a child may
    take, ``limit`` the largest result in bytes. ``on_death`` is told the cause whenever a child died in its work.
    ``share`` is what the expressions of one namespace may take of a core, 0 for any. ``clock`` is monotonic seconds,
    ``start`` starts a child.
    """

    def __init__(
        self,
        seconds: float,
        memory: int,
        limit: int,
        on_death: Callable[[Cause], None],
        share: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        start: Callable[[int], Coroutine[None, None, Worker]] = Worker.start,
    ) -> None:
        self._seconds = seconds
        self._memory = memory
        self._limit = limit
        self._on_death = on_death
        self._share = share
        self._clock = clock
        self._sleep = sleep
        self._begin = start
        self._lanes = Lanes(clock)
        self._budgets = Budgets(share, clock)
        self._worker: Worker | None = None
        self._spare: asyncio.Task[Worker] | None = None

    async def check(self, text: str, field: str, *, boolean: bool) -> None:
        """Whether an expression compiles, and may yield a boolean if it must.

        Raises ExpressionError with line and column; OSError when there can be no child.
        """
        request = marshal.dumps((child.CHECK, CHECK_SECONDS, text, boolean))
        try:
            reply = await self._check(request)
        except Death as death:
            if death.cause is Cause.TIME:
                raise _too_dear(field) from None
            try:
                reply = await self._check(request)  # it may have died of something else
            except Death:
                raise _too_dear(field) from None
        for tag, content, *_ in _items(reply):
            if tag != child.ACCEPTED:
                raise ExpressionError(field, content.decode(errors="replace"))

    async def answers(
        self, questions: Sequence[Question], may_wait: Callable[[], bool] = _always
    ) -> list[list[Answer]]:
        """An answer for each expression of each question, in order. Raises OSError when there can be no child.

        Where the namespace of an expression has no time left, the answer waits for PATIENCE_SECONDS at most, and as
        long as ``may_wait``; then it is that there is none.
        """
        asking = Asking(questions, self._budgets.is_apart)
        until = self._clock() + PATIENCE_SECONDS
        while (lane := asking.lane(self._budgets.wait)) is not None:
            if seconds := self._budgets.wait(lane):
                if self._clock() < until and may_wait():
                    await self._sleep(min(max(seconds, 0.01), 1.0))
                else:
                    asking.refuse(lane, self._spent())
                continue
            await self._lanes.begin(lane)
            try:
                # Others of the namespace may have taken its time meanwhile. What waits for its turn holds no bytes.
                if not self._budgets.wait(lane) and (portion := asking.portion(lane)):
                    await self._evaluate(asking, lane, portion)
            finally:
                self._lanes.end()
        return asking.answered

    async def close(self) -> None:
        """End the children."""
        await self._lanes.begin(_CLOSING)
        try:
            if self._worker is not None:
                await self._worker.end()
                self._worker = None
            if self._spare is not None:
                with contextlib.suppress(OSError):
                    await (await self._spare).end()
                self._spare = None
        finally:
            self._lanes.end()

    async def _evaluate(self, asking: Asking, lane: str, portion: Sequence[Item]) -> None:
        request = marshal.dumps((child.EVALUATE, self._seconds, self._limit, asking.jobs(portion)))
        begun = self._clock()
        try:
            reply = await self._ask(request, self._seconds)
        except Death as death:
            asking.put_back(lane, portion)
            self._blame(asking, portion, death, self._clock() - begun)
            return
        spent: list[Spent] = []
        for (tag, content, own, whole), item in zip(_items(reply), portion, strict=False):
            asking.answer(item, self._read(tag, content, item.expression))
            spent.append((item.expression, own, whole))
        asking.put_back(lane, portion[len(spent) :])
        self._budgets.spend(spent)

    async def _check(self, request: bytes) -> bytes:
        await self._lanes.begin(_CHECKS)
        try:
            return await self._ask(request, CHECK_SECONDS)
        finally:
            self._lanes.end()

    async def _ask(self, request: bytes, seconds: float) -> bytes:
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
        return asyncio.create_task(self._begin(self._memory))

    def _blame(self, asking: Asking, portion: Sequence[Item], death: Death, took: float) -> None:
        known = 0 <= death.at < len(portion)
        suspects = [portion[death.at]] if known else portion
        took = min(took, self._seconds) / len(suspects)
        self._budgets.spend([(item.expression, took, took) for item in suspects])
        if (known and death.cause is Cause.TIME) or all(map(asking.is_alone, suspects)):
            for item in suspects:
                item.expression.fuse.note()
                asking.fail(item, EvaluationError(self._reason(death.cause)))
        else:
            asking.separate(suspects)

    def _spent(self) -> EvaluationError:
        return EvaluationError(
            "the expressions of the namespace took all the processor time that they may take together "
            f"({self._share:g} of a core): simplify them"
        )

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


def _items(reply: bytes) -> Iterator[tuple[bytes, bytes, float, float]]:
    """The items of an answer: tag, content, and the two times."""
    at = 0
    while at < len(reply):
        tag, length, own, whole = child.ITEM.unpack_from(reply, at)
        at += child.ITEM.size
        yield tag, reply[at : at + length], own, whole
        at += length
