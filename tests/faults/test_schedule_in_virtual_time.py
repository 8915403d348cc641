"""75 hours of retries in seconds: the real outbox, dispatcher, client and a TLS receiver in a loop whose time jumps.

The loop's time stands still while a call of the outbox or an attempt is under way, and otherwise jumps to the next
timer. Restarts close the file and open it again with everything new.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.model import Counts, Outcome, WatchCommit
from hookline.outbox.schedule import JITTER
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import DEFAULT_SCHEDULE, RetryPolicy
from support.receiver import Answer, Receiver
from support.sending import LOOPBACK, line, message, target

EPOCH = 1_800_000_000.0
HOUR = 3600.0
POLICY = RetryPolicy(DEFAULT_SCHEDULE, 5 * 24 * HOUR)
ROUNDING = 1e-3
TICK = 1.0
"""Seconds of virtual time that pass unnoticed: the dispatcher looks at due times twice a second at most."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """``time()`` jumps to the next timer as soon as nothing real is under way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.under_way = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now

    def clock(self) -> float:
        """The same as Unix seconds."""
        return EPOCH + self.now

    def real(self, work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Let the time stand still while ``work`` is under way."""

        @wraps(work)
        async def run(*arguments: Any, **keywords: Any) -> Any:
            self.under_way += 1
            try:
                return await work(*arguments, **keywords)
            finally:
                self.under_way -= 1

        return run


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if self._loop.under_way or timeout is None:
            return super().select(timeout if timeout == 0 else 0.05)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.now += timeout
        return ready


class World:
    """What outlives restarts: the file, the receiver, the time."""

    def __init__(self, path: Path, receiver: Receiver, loop: JumpingLoop) -> None:
        self.path, self.receiver, self.loop = path, receiver, loop
        self.subscriptions: Sequence[str] = ("sub",)
        self.attempts: dict[str, list[Any]] = defaultdict(list)

    async def live(self, chance: Callable[[], float], until: float, *commits: Any) -> Counts:
        """One life of the operator's delivering half, until that virtual time."""
        loop = self.loop
        store = SqliteStore(self.path, loop.clock)
        for name in ("open", "close", "commit", "claim", "record", "release", "next_due", "counts"):
            setattr(store, name, loop.real(getattr(store, name)))
        await store.open()
        client = Client(LOOPBACK, tls_context(self.receiver.ca_pem))
        setattr(client, "send", loop.real(client.send))  # noqa: B010 (as above)
        async with client, line(store, client, clock=loop.clock, rand=chance) as (dispatcher, attempts):
            for name in self.subscriptions:
                dispatcher.set_target(target(self.receiver.url(f"/{name}"), name, retry=POLICY))
            if commits:
                await store.commit(WatchCommit("scope", commits))
                dispatcher.notify(self.subscriptions)
            await asyncio.sleep(max(0.0, until - loop.now))  # virtual seconds
            counts = (await store.counts()).values()
        await store.close()
        for attempt in attempts:
            self.attempts[attempt.claimed.message.id].append(attempt)
        return Counts(*(sum(getattr(count, state) for count in counts) for state in ("pending", "delivered", "dead")))


@pytest.fixture
def in_virtual_time(tmp_path):
    """``in_virtual_time(life)`` runs ``life(world)`` in a loop of its own."""

    def run(life: Callable[[World], Awaitable[None]]) -> None:
        async def main(loop: JumpingLoop) -> None:
            async with Receiver() as receiver:
                await life(World(tmp_path / "outbox.db", receiver, loop))

        with asyncio.Runner(loop_factory=JumpingLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, JumpingLoop)
            runner.run(main(loop))

    return run


def waits_of(attempts):
    """The seconds between the end of each attempt and the begin of the next; their count goes on over restarts."""
    assert [attempt.claimed.attempts for attempt in attempts] == list(range(len(attempts)))
    return [after.started - (before.started + before.duration) for before, after in pairwise(attempts)]


def check_times(attempts, schedule=DEFAULT_SCHEDULE, jitter=JITTER):
    """Each wait is at least the schedule's and at most the jitter more."""
    for wait, waited in zip(schedule, waits_of(attempts), strict=True):
        assert wait - ROUNDING <= waited <= wait * (1 + jitter) + TICK


async def live_through(world, rng, messages):
    """90 hours in lives of up to 8. No time passes between two of them: whatever is due is done at its time."""
    world.receiver.answer(503)
    counts = await world.live(rng.random, 1.0, *messages)
    while world.loop.now < 90 * HOUR:
        counts = await world.live(rng.random, world.loop.now + rng.uniform(1, 8 * HOUR))
    assert counts == Counts(dead=len(messages))
    assert len(world.receiver.requests) == 10 * len(messages), "not one more, whatever was restarted"
    assert len({(request.id, request.body) for request in world.receiver.requests}) == len(messages)
    for attempts in world.attempts.values():
        assert [attempt.verdict.outcome for attempt in attempts] == [Outcome.RETRY] * 9 + [Outcome.DEAD]
        assert attempts[-1].verdict.reason == "HTTP503"
        assert attempts[-1].started - attempts[0].started >= sum(DEFAULT_SCHEDULE)


def test_ten_attempts_over_75_hours_and_many_restarts_then_a_dead_letter(in_virtual_time):
    async def life(world):
        world.subscriptions = [f"sub-{number}" for number in range(20)]
        await live_through(world, random.Random(75), [message(1, name) for name in world.subscriptions])
        for attempts in world.attempts.values():
            check_times(attempts)
        assert len({attempts[-1].started for attempts in world.attempts.values()}) > 10, "chance spreads them"

    in_virtual_time(life)


def test_many_messages_to_one_failing_endpoint_are_never_tried_before_their_time(in_virtual_time):
    """They may be later than the schedule: an endpoint in trouble gets one attempt at a time."""

    async def life(world):
        await live_through(world, random.Random(7), [message(number) for number in range(20)])
        for attempts in world.attempts.values():
            for wait, waited in zip(DEFAULT_SCHEDULE, waits_of(attempts), strict=True):
                assert waited >= wait - ROUNDING

    in_virtual_time(life)


@pytest.mark.parametrize("chance", [0.0, 0.999_999])
def test_jitter_only_adds_up_to_a_tenth(in_virtual_time, chance):
    async def life(world):
        world.receiver.answer(500)
        assert await world.live(lambda: chance, 100 * HOUR, message(1)) == Counts(dead=1)
        [attempts] = world.attempts.values()
        check_times(attempts, [wait * (1 + JITTER * chance) for wait in DEFAULT_SCHEDULE], jitter=0.0001)

    in_virtual_time(life)


def test_what_became_due_while_the_operator_was_down_is_tried_at_its_start_and_counts_once(in_virtual_time):
    async def life(world):
        world.receiver.answer(503)
        await world.live(lambda: 0.0, 60.0, message(1))  # attempts 1 and 2; the third is due in 5 minutes
        world.loop.now += 20 * HOUR
        back = world.loop.now
        await world.live(lambda: 0.0, back + 60)
        [attempts] = world.attempts.values()
        assert [attempt.claimed.attempts for attempt in attempts] == [0, 1, 2]
        assert attempts[2].started - EPOCH - back <= TICK
        assert attempts[2].verdict.retry_at >= attempts[2].started + DEFAULT_SCHEDULE[2]

    in_virtual_time(life)


def test_a_receiver_that_heals_after_two_days_gets_the_message_and_nothing_after_it(in_virtual_time):
    """The control of the dead letter: the same life, but for the receiver."""

    async def life(world):
        world.receiver.answer(503)
        await world.live(lambda: 0.0, 48 * HOUR, message(1))
        world.receiver.answer_with(Answer(200))
        assert await world.live(lambda: 0.0, 200 * HOUR) == Counts(delivered=1)
        [attempts] = world.attempts.values()
        assert attempts[-1].verdict.outcome is Outcome.DELIVERED
        assert len(world.receiver.requests) == len(attempts) < 10

    in_virtual_time(life)


def test_a_message_that_is_too_old_is_given_up_before_its_attempts_are_used_up(in_virtual_time, monkeypatch):
    monkeypatch.setitem(globals(), "POLICY", RetryPolicy(DEFAULT_SCHEDULE, 24 * HOUR))

    async def life(world):
        world.receiver.answer(503)
        assert await world.live(lambda: 0.0, 200 * HOUR, message(1)) == Counts(dead=1)
        [attempts] = world.attempts.values()
        assert attempts[-1].started <= EPOCH + 24 * HOUR
        assert 5 <= len(attempts) < 10

    in_virtual_time(life)
