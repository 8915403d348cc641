"""Messages and verdicts for tests of an outbox, in a line each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from hookline.model import Attempt, Claimed, Message, Outcome, Verdict, WatchCommit
from hookline.outbox.store import Store
from hookline.stored import Pruned, Retention

A, B = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
PODS, JOBS = "v1/pods@shop", "batch/v1/jobs@*?status.successful=1"
UNSTORABLE = "\ud800"  # a lone surrogate: no backend can encode it
EVER = 4e9
ROOMY = 2**60


def message(number: int, subscription: str = A, **changes: Any) -> Message:
    plain = Message(
        id=f"msg_{number:04d}",
        subscription=subscription,
        sequence=number,
        object_uid="11111111-2222-4333-8444-555555555555",
        event_type="dev.hookline.apps.deployment.updated",
        headers=(("content-type", "application/json"),),
        body=b"{}",
        observed=1_700_000_000.125,
    )
    return dataclasses.replace(plain, **changes)


async def add(store: Store, *messages: Message) -> int:
    return await store.commit(WatchCommit(PODS, messages))


def attempt(claimed: Claimed, outcome: Outcome, *, at: float = 100.0, retry_at: float | None = None) -> Attempt:
    return Attempt(claimed, Verdict(outcome, "HTTP503", 503, retry_at), started=at, duration=0.0)


async def finish(store: Store, outcome: Outcome, *messages: Message, at: float = 100.0) -> None:
    await add(store, *messages)
    claimed = await store.claim({m.subscription: len(messages) for m in messages}, EVER)
    assert len(claimed) == len(messages)
    await store.record([attempt(c, outcome, at=at) for c in claimed])


def ids(claimed: Any) -> list[str]:
    return [c.message.id for c in claimed]


async def restart(store: Store, store_factory: Callable[[], Store]) -> Store:
    await store.close()
    fresh = store_factory()
    await fresh.open()
    return fresh


async def prune(store: Store, delivered_before: float, dead_before: float, limit: int) -> int:
    """Prune by age alone; returns how many went."""
    gone = await store.prune(Retention(delivered_before, ROOMY), Retention(dead_before, ROOMY), limit)
    assert gone.crowded == Pruned().crowded
    return gone.total
