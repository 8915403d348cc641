"""Writes the verdicts of finished attempts to the outbox, many in one transaction, and never loses one.

In: ``Attempt`` values from the workers. Out: the same values, durable, to a callback (status and metrics follow).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Protocol

from hookline.errors import ValueRefused
from hookline.model import Attempt

logger = logging.getLogger(__name__)

MAX_BATCH = 512
FEW = 64
LINGER_SECONDS = 0.01
"""While fewer than ``FEW`` verdicts wait, the recorder waits for more for so long: each transaction costs an fsync."""

MAX_WAITING = 2048
"""Workers pause when so many attempts wait to be recorded: an outbox that can't write must not fill the memory."""


class Recording(Protocol):
    """What the recorder needs of ``hookline.outbox.store.Store``."""

    async def record(self, attempts: Sequence[Attempt]) -> None:
        """Store the verdicts of attempts, all or nothing."""


class Backoff:
    """Growing pauses after errors, from 0.1 to 5 seconds; ``reset`` after a success."""

    def __init__(self) -> None:
        self._next = 0.1

    def reset(self) -> None:
        """Begin with the shortest pause again."""
        self._next = 0.1

    def next(self) -> float:
        """The seconds to pause now."""
        pause, self._next = self._next, min(self._next * 2, 5.0)
        return pause


class Recorder:
    """Collects attempts while the previous batch is written; ``on_recorded`` gets each batch once it is durable."""

    def __init__(self, store: Recording, on_recorded: Callable[[Sequence[Attempt]], None]) -> None:
        self._store = store
        self._on_recorded = on_recorded
        self._waiting: deque[Attempt] = deque()
        self._work = asyncio.Event()
        self._hurry = asyncio.Event()
        self._space = asyncio.Event()
        self._space.set()
        self._finishing = False

    def add(self, attempt: Attempt, *, urgent: bool = False) -> None:
        """Take an attempt over; from here on it is not lost while the process lives. ``urgent``: others wait for it."""
        self._waiting.append(attempt)
        self._work.set()
        if urgent or len(self._waiting) >= FEW:
            self._hurry.set()
        if len(self._waiting) >= MAX_WAITING:
            self._space.clear()

    async def space(self) -> None:
        """Wait until the next attempt may be made."""
        await self._space.wait()

    def finish(self) -> None:
        """Let ``run`` return when everything is written."""
        self._finishing = True
        self._work.set()
        self._hurry.set()

    async def run(self) -> None:
        """Write until ``finish``; a failing outbox is tried again for ever."""
        while not (self._finishing and not self._waiting):
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                await self._linger()
                batch = list(islice(self._waiting, MAX_BATCH))
                recorded = await self._write(batch)
                for _ in batch:
                    self._waiting.popleft()
                self._space.set()
                self._on_recorded(recorded)

    async def _linger(self) -> None:
        if len(self._waiting) < FEW:
            with suppress(TimeoutError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._hurry.wait()
        if not self._finishing:
            self._hurry.clear()

    async def _write(self, batch: Sequence[Attempt]) -> Sequence[Attempt]:
        """Write until it is done; returns what was written. One that can't be stored at all doesn't stop the others."""
        backoff = Backoff()
        while True:
            try:
                await self._store.record(batch)
            except ValueRefused as error:
                if len(batch) > 1:
                    return [kept for attempt in batch for kept in await self._write([attempt])]
                logger.error("a verdict can't be stored, its message waits until a restart: %s", where(error))  # noqa: TRY400
                return ()
            except Exception as error:  # noqa: BLE001 (a verdict outlives every error of the outbox)
                pause = backoff.next()
                logger.warning("%d verdicts not recorded, trying again in %.1f s: %s", len(batch), pause, where(error))
                await asyncio.sleep(pause)
            else:
                return batch


def where(error: BaseException) -> str:
    """An error for the log: its type and place, not its text, which might hold a URL or a header."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return type(error).__name__ + place
