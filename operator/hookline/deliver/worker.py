"""The dispatcher: keeps one lane for each subscription, feeds the lanes from the outbox, records what came of it.

In: ``notify`` when messages were committed, ``set_target`` when a subscription changed. Out: recorded ``Attempt``
values, told to ``on_attempt``. ``lane`` holds the queue of one subscription, ``recorder`` writes the verdicts.

A hung endpoint occupies only its own lane. One task claims for all lanes at once; the workers of a lane live as long
as it has work, so that there is no task per message.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hookline.deliver.alarms import Alarms
from hookline.deliver.attempt import Attempts, Judge, Sender, Trace, expired
from hookline.deliver.lane import Lane, Wish
from hookline.deliver.outbox import Outbox
from hookline.deliver.recorder import Backoff, Recorder, where
from hookline.deliver.share import Shares
from hookline.deliver.verdict import Result, throttled_until, trouble
from hookline.errors import StoreError
from hookline.model import Attempt, Claimed, Message, Standing, Target, Verdict

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 30.0
"""The outbox is asked again at least so often: a lost notice or a stepped clock delays nothing for longer."""

REFRESH_SECONDS = 0.5
"""The due times of the outbox are read at most so often: that looks at every pending message."""

FLUSH_SECONDS = 3.0
"""How long the last verdicts may take to be recorded at shutdown, after the grace."""


class Dispatcher:
    """Delivers what the outbox holds to the targets that it was told. All methods belong to one event loop.

    ``on_attempt`` is called once for each recorded attempt and must be quick; ``on_breaker`` when the circuit breaker
    of a subscription opened (True) or closed. ``clock`` gives Unix time. ``namespace_rate`` is how many attempts per
    second all subscriptions of a namespace may begin together; 0: any number. ``may_send`` is asked of each,
    with the seconds that an attempt takes at most, ``standing`` of each message, ``trace`` for headers of each attempt.
    """

    def __init__(
        self,
        store: Outbox,
        client: Sender,
        judge: Judge,
        on_attempt: Callable[[Attempt], None],
        clock: Callable[[], float],
        on_breaker: Callable[[str, bool], None] = lambda _, __: None,
        namespace_rate: int = 0,
        may_send: Callable[[str, float], bool] = lambda _, __: True,
        trace: Trace | None = None,
        standing: Callable[[Message], Standing] = lambda _: Standing.GOOD,
    ) -> None:
        self._may_send = may_send
        self._shares = Shares(namespace_rate)
        self._store = store
        self._client = client
        self._attempts = Attempts(client, judge, clock, trace, standing)
        self._on_attempt = on_attempt
        self._clock = clock
        self._on_breaker = on_breaker
        self._lanes: dict[str, Lane] = {}
        self._ready: set[Lane] = set()
        self._stale: set[Lane] = set()
        self._alarms = Alarms()
        self._unwanted: list[int] = []
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._workers: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._recorder = Recorder(store, self._recorded)
        self._refreshed = -math.inf
        self._round = math.inf

    @property
    def silence(self) -> float:
        """Seconds since the feeder began a round; it does so every SWEEP_SECONDS at least, unless it is stuck."""
        return max(0.0, asyncio.get_running_loop().time() - self._round)

    @property
    def in_flight(self) -> int:
        """How many attempts are being made now."""
        return self._attempts.in_flight

    @property
    def breakers_open(self) -> int:
        """How many endpoints get only one attempt at a time now, because they are in trouble."""
        return sum(lane.breaker.open for lane in self._lanes.values())

    def sends(self, subscription: str) -> bool:
        """Whether messages of a subscription may be sent now: its target is known, not paused, not gone, permitted."""
        lane = self._lanes.get(subscription)
        return lane is not None and lane.open

    def held(self, subscription: str) -> bool:
        """Whether its messages wait for their endpoint now, or for their own rate limit; see ``Lane.held``."""
        lane = self._lanes.get(subscription)
        return lane is not None and lane.held(self._clock())

    def set_target(self, target: Target) -> None:
        """Add a subscription, or change where and how its messages go; the claimed ones follow.

        A lane that paused itself after a 410 goes on only with a target other than the one that was gone, or ``reset``.
        """
        lane = self._lanes.get(target.subscription)
        if lane is None:
            lane = self._lanes[target.subscription] = Lane(target, self._shares.of(target.namespace), self._may_send)
        elif lane.target == target:
            return
        else:
            self._retarget(lane, target)
        self._stale.add(lane)
        self._rouse(lane)

    def reset(self, subscription: str) -> None:
        """Give an endpoint another chance, now: forget a Retry-After, a 410 and what the circuit breaker knows."""
        if (lane := self._lanes.get(subscription)) is not None:
            self._retarget(lane, replace(lane.target))
            self._rouse(lane)

    def _retarget(self, lane: Lane, target: Target) -> None:
        if lane.breaker.open:
            self._on_breaker(target.subscription, False)
        self._unwanted += lane.retarget(target)

    def drop_target(self, subscription: str) -> None:
        """Stop sending for a subscription that is gone. Attempts in flight end by themselves and are recorded."""
        lane = self._lanes.pop(subscription, None)
        if lane is not None:
            if lane.breaker.open:
                self._on_breaker(subscription, False)  # the next one begins without a bad record
            self._client.forget(subscription)
            self._unwanted += lane.close()
            self._wake.set()

    def notify(self, subscriptions: Iterable[str]) -> None:
        """Say that new messages of these subscriptions (uids) were committed."""
        for subscription in subscriptions:
            if (lane := self._lanes.get(subscription)) is not None:
                lane.fresh = True
                self._rouse(lane)

    async def run(self) -> None:
        """Deliver until ``stop``. Errors of the outbox are waited out; nothing else ends it but cancellation."""
        try:
            async with asyncio.TaskGroup() as group:
                self._loops = [group.create_task(self._feed()), group.create_task(self._recorder.run())]
        finally:
            for worker in self._workers:
                worker.cancel()

    async def stop(self, grace: float) -> None:
        """Claim nothing more, give the attempts in flight ``grace`` seconds, then cancel them and give them back.

        Returns when all results are recorded, or FLUSH_SECONDS later; what is not is sent again after a restart.
        """
        self._stopping.set()
        self._wake.set()
        for lane in self._lanes.values():
            self._unwanted += lane.close()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=grace)
            for worker in late:
                worker.cancel()
            if late:
                await asyncio.wait(late)
        self._recorder.finish()
        if self._loops:
            _, late_loops = await asyncio.wait(self._loops, timeout=FLUSH_SECONDS)
            for loop in late_loops:
                loop.cancel()
        try:
            await self._give_back()
        except StoreError as error:
            logger.warning("claims not released: %s", where(error))  # a claim ends with the process anyway

    def _rouse(self, lane: Lane) -> None:
        self._ready.add(lane)
        self._wake.set()

    # The feeder: one task for all lanes.

    async def _feed(self) -> None:
        backoff = Backoff()
        while not self._stopping.is_set():
            self._wake.clear()
            self._round = asyncio.get_running_loop().time()
            try:
                await self._give_back()
                await self._claim()
                await self._refresh()
                backoff.reset()
            except Exception as error:  # noqa: BLE001 (delivery outlives every error of the outbox)
                pause = backoff.next()
                logger.warning("outbox not readable, trying again in %.1f s: %s", pause, where(error))
                await _wait(self._stopping, pause)
            else:
                await _wait(self._wake, self._idle_seconds())

    async def _give_back(self) -> None:
        rows, self._unwanted = self._unwanted, []
        if rows:
            try:
                await self._store.release(rows)
            except BaseException:
                self._unwanted += rows
                raise

    async def _claim(self) -> None:
        now = self._clock()
        for lane, due in self._alarms.expired(now):
            self._ready.add(lane)
            if due:
                lane.fresh = True
                self._stale.add(lane)
        lanes, self._ready = dict.fromkeys([*self._shares.fed(), *self._ready]), set()
        wishes: dict[str, Wish] = {}
        for lane in lanes:
            self._hire(lane, now)
            if (wish := lane.wish(now)) is not None and lane.share.reserve(lane):
                lane.fresh = not wish.retries  # what was not asked for stays; a notice meanwhile sets it again
                wishes[lane.target.subscription] = wish
        if not wishes:
            self._feed_others()
            return
        try:
            claims = await self._store.claim(
                {subscription: wish.messages for subscription, wish in wishes.items()},
                now,
                ordered=frozenset(subscription for subscription in wishes if self._lanes[subscription].target.ordered),
                retries={subscription: wish.retries for subscription, wish in wishes.items()},
                room={subscription: wish.room for subscription, wish in wishes.items()},
            )
        except BaseException:
            self.notify(wishes)
            raise
        finally:
            self._shares.settle()
        self._hand_out(claims, wishes)
        self._feed_others()
        await self._recorder.space()  # what expired is recorded without a worker

    def _hand_out(self, claims: Sequence[Claimed], wishes: Mapping[str, Wish]) -> None:
        by_lane: dict[str, list[Claimed]] = {}
        for claimed in claims:
            by_lane.setdefault(claimed.message.subscription, []).append(claimed)
        now = self._clock()
        for subscription, mine in by_lane.items():
            lane = self._lanes.get(subscription)
            if lane is None:
                refused = [claimed.row for claimed in mine]
            else:
                if wishes[subscription].limits(mine):
                    lane.filled(now)  # there may be more; a worker asks for it when the queue runs low
                refused = lane.accept(self._in_time(mine, lane.target, now), now)
                self._hire(lane, now)
            self._discard(refused)

    def _in_time(self, claims: Sequence[Claimed], target: Target, now: float) -> list[Claimed]:
        """End the messages whose time is over; returns the others."""
        kept: list[Claimed] = []
        for claimed in claims:
            if (end := expired(claimed, target, now)) is not None:
                self._recorder.add(end, urgent=target.ordered)
            else:
                kept.append(claimed)
        return kept

    def _discard(self, rows: list[int]) -> None:
        if rows:
            self._unwanted += rows
            self._wake.set()

    async def _refresh(self) -> None:
        """Learn when the next messages are due, for the lanes where nobody knows."""
        now = asyncio.get_running_loop().time()
        if now < self._refreshed + (REFRESH_SECONDS if self._stale else SWEEP_SECONDS):
            return
        self._refreshed = now
        lanes, self._stale = self._stale, set()
        try:
            times = await self._store.next_due()
        except BaseException:
            self._stale |= lanes
            raise
        for subscription, due in times.items():
            self._expect(subscription, due)
        for lane in [lane for lane in self._lanes.values() if lane.queued]:  # of what is claimed nobody else tells
            self._rouse(lane)

    def _expect(self, subscription: str, due: float) -> None:
        if (lane := self._lanes.get(subscription)) is not None and self._alarms.due(lane, due):
            self._wake.set()

    def _idle_seconds(self) -> float:
        pause = REFRESH_SECONDS if self._stale else SWEEP_SECONDS
        return max(min(pause, self._alarms.first - self._clock()), 0.0)

    # The workers: up to max_in_flight for each lane.

    def _hire(self, lane: Lane, now: float) -> None:
        """Add the workers that a lane can use now, or see to it that somebody looks when it can."""
        ready_at = lane.ready_at(now)
        if lane.queued and not lane.share.places_for(lane):
            lane.share.block(lane)
        elif ready_at <= now:
            for _ in range(wanted := lane.idle_places):
                lane.workers += 1
                worker = asyncio.create_task(self._work(lane))
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
            if wanted:
                return
        elif (lane.queued or lane.fresh) and self._alarms.wake(lane, ready_at):
            self._wake.set()
        lane.share.renounce(lane)

    async def _work(self, lane: Lane) -> None:
        try:
            while (claimed := lane.take(self._clock())) is not None:
                if lane.fresh and lane.low:
                    self._rouse(lane)
                self._recorder.add(await self._attempt(lane, claimed), urgent=lane.target.ordered)
                await self._recorder.space()
        finally:
            lane.workers -= 1
            lane.share.renounce(lane)
            if lane.queued and not lane.share.places_for(lane):
                lane.share.block(lane)
                self._feed_others()
            elif lane.queued or lane.fresh:  # more to do, only not now
                self._rouse(lane)

    async def _attempt(self, lane: Lane, claimed: Claimed) -> Attempt:
        target = lane.target
        try:
            end = self._attempts.unmade(claimed, target)
            attempt, result = (end, None) if end is not None else await self._attempts.make(claimed, target)
        except asyncio.CancelledError:
            self._unwanted.append(claimed.row)
            raise
        finally:
            lane.ended(claimed)
        if lane.target is target:  # else it is about an endpoint of the past
            if end is not None:
                lane.unmade()
            else:
                self._learn(lane, result, attempt.verdict, self._clock())
        return attempt

    def _learn(self, lane: Lane, result: Result | None, verdict: Verdict, now: float) -> None:
        """What a result (None: nobody was asked) means for the messages that come after it."""
        if verdict.gone:
            self._discard(lane.stop_gone())
        if result is not None and (until := throttled_until(result, now)) > now:
            self._discard(lane.hold_back(until))
        changed, rows = lane.judge(None if result is None else trouble(result), now)
        self._discard(rows)
        if changed:
            lane.fresh = True
            self._rouse(lane)
            self._on_breaker(lane.target.subscription, lane.breaker.open)

    def _feed_others(self) -> None:
        if self._shares.feeds:  # there is room for some that wait
            self._wake.set()

    def _recorded(self, attempts: Sequence[Attempt]) -> None:
        for attempt in attempts:
            subscription = attempt.claimed.message.subscription
            if attempt.verdict.retry_at is not None:
                self._expect(subscription, attempt.verdict.retry_at)
            lane = self._lanes.get(subscription)
            current = lane is not None and lane.settled(attempt.claimed.row)
            if lane is not None:
                # The end of one message of an object lets its next one go.
                lane.fresh = lane.fresh or lane.target.ordered
                if lane.fresh and lane.low:
                    self._rouse(lane)
            try:
                self._on_attempt(attempt if current else replace(attempt, current=False))
            except Exception as error:  # noqa: BLE001 (who listens must not stop the delivery)
                logger.error("on_attempt broke: %s", where(error))  # noqa: TRY400
        self._feed_others()


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
