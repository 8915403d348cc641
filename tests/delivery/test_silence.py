"""Whether the dispatcher moves: each look at the outbox counts, and one that never ends is noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from hookline.deliver.worker import Dispatcher
from support.turns import turns


class Outbox:
    """An empty outbox; while ``hangs`` no answer ever comes."""

    def __init__(self) -> None:
        self.hangs = False
        self.asked = asyncio.Event()

    async def claim(self, wanted: Mapping[str, int], now: float) -> list[Any]:
        return []

    async def next_due(self) -> dict[str, float]:
        self.asked.set()
        if self.hangs:
            await asyncio.Event().wait()
        return {}


@pytest.mark.parametrize("hangs", [False, True])
async def test_only_a_dispatcher_that_hangs_falls_silent(monkeypatch: pytest.MonkeyPatch, hangs: bool):
    outbox, loop = Outbox(), asyncio.get_running_loop()
    outbox.hangs = hangs
    unused = cast(Any, None)
    dispatcher = Dispatcher(cast(Any, outbox), unused, unused, lambda _: None, loop.time)
    assert dispatcher.silence == 0.0  # it has not begun
    running = asyncio.create_task(dispatcher.run())
    await outbox.asked.wait()
    before = dispatcher._round
    dispatcher._wake.set()
    await turns()
    assert (dispatcher._round == before) is hangs
    later = loop.time() + 500.0
    monkeypatch.setattr(loop, "time", lambda: later)
    assert dispatcher.silence >= 499.0
    monkeypatch.undo()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
