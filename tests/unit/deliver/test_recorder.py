"""Claims about how verdicts are gathered. The pause is an hour here: what does not wait for it would otherwise hang."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from hookline.deliver import recorder
from hookline.deliver.recorder import FEW, Recorder
from hookline.model import Attempt, Claimed, Message, Outcome, Verdict
from support.turns import turns


class Store:
    """Takes verdicts, and has the size of each batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.changed = asyncio.Event()

    async def record(self, attempts: Sequence[Attempt]) -> None:
        self.batches.append(len(attempts))
        self.changed.set()


def attempt(row: int) -> Attempt:
    message = Message(f"msg_{row}", "sub", row, "obj", "t", (), b"", 0)
    return Attempt(Claimed(row, message, 0, 0), Verdict(Outcome.DELIVERED, "Delivered", 200), 0, 0)


@contextlib.asynccontextmanager
async def recording(store: Store) -> AsyncIterator[Recorder]:
    made = Recorder(store, lambda _: None)
    run = asyncio.create_task(made.run())
    yield made
    made.finish()
    async with asyncio.timeout(30):
        await run


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(recorder, "LINGER_SECONDS", 3600.0)


async def test_a_few_verdicts_wait_for_more_and_share_one_transaction():
    store = Store()
    async with recording(store) as made:
        for row in range(FEW):
            assert store.batches == []
            made.add(attempt(row))
            await turns()
        assert store.batches == [FEW]


async def test_a_verdict_that_others_wait_for_is_written_at_once():
    store = Store()
    async with recording(store) as made:
        made.add(attempt(1))
        await turns()
        assert store.batches == []  # the control
        made.add(attempt(2), urgent=True)
        await turns()
        assert store.batches == [2]


async def test_the_end_waits_for_nothing():
    store = Store()
    async with recording(store) as made:
        made.add(attempt(1))
        await turns()
    assert store.batches == [1]


async def test_the_pause_ends_by_itself(monkeypatch):
    monkeypatch.setattr(recorder, "LINGER_SECONDS", 0.01)
    store = Store()
    async with recording(store) as made:
        made.add(attempt(1))
        async with asyncio.timeout(30):
            await store.changed.wait()
