"""How the operator is: what its metrics, ``/healthz`` and ``/readyz`` say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Container, Iterator, Mapping

from hookline.controller.lease import Lease
from hookline.errors import StoreError
from hookline.observe.metrics import Metrics
from hookline.observe.pulse import Pulse
from hookline.outbox.health import StoreHealth
from hookline.outbox.store import Store
from hookline.rooms import Rooms

log = logging.getLogger(__name__)

SCRAPE_SECONDS = 1.0
SLOW_SECONDS = 3.0
STALE_WATCHES = 3
STUCK_SECONDS = {"the event loop": 30.0, "the dispatcher": 120.0, "the controller's thread": 120.0}
"""After so long without a sign of life something is stuck, and only a new process helps."""


class Vitals:
    """Looks at everything, changes nothing. ``idle`` is the setting ``watch_idle_seconds``.

    Until ``rooms`` is set there is nothing but the election to be seen. ``standby`` says that another process leads, by
    the ``lease`` where there is one; ``started`` that this one works.
    """

    def __init__(self, metrics: Metrics, health: StoreHealth, idle: float) -> None:
        self.pulse = Pulse()
        self.rooms: Rooms | None = None
        self.lease: Lease | None = None
        self.standby = False
        self.started = False
        self._waiting = ""
        self._metrics = metrics
        self._health = health
        self._idle = idle
        self._store_failed = -math.inf
        self._held: dict[str, float] = {}  # when a subscription that has due messages could not send them, at last
        self._patches_seen = 0
        self._restarts_seen = 0

    def store_failing(self) -> bool:
        """Whether the outbox fails now. Asked often, so that what stood still because of that is known."""
        if failing := bool(self._health.failing):
            self._store_failed = time.monotonic()
        return failing

    def waits(self, reason: str) -> None:
        """Why the start does not go on; empty: it does. The log has each reason once, until there is another."""
        if reason and reason != self._waiting:
            log.warning("not started yet: %s", reason)
        self._waiting = reason

    @contextlib.contextmanager
    def unless_soon(self, reason: str) -> Iterator[None]:
        """What is done inside is waited for, for this reason, where it takes more than a moment."""
        alarm = asyncio.get_running_loop().call_later(SLOW_SECONDS, self.waits, reason)
        try:
            yield
        finally:
            alarm.cancel()
            self.waits("")

    def unready(self) -> str:
        """Why this process can't do its part, which may be to stand by; empty when it can."""
        if failing := self._health.failing:
            return f"the outbox fails: {failing}"
        if self.standby:  # as ready as it can be: a rollout must not wait for the leader's end to end the leader
            return "" if self.lease is None or self.lease.holder else self.lease.problem
        if not self.started or self.rooms is None:
            return f"the operator is starting: {self._waiting}" if self._waiting else "the operator is starting"
        return "" if self.rooms.listener.alive else "the controller's thread is not running"

    async def refresh_metrics(self, store: Store) -> None:
        """Set what is counted only when somebody scrapes."""
        metrics, rooms = self._metrics, self.rooms
        failing, ready = bool(self._health.failing), not self.unready()
        metrics.life(leading=not self.standby, ready=ready, store_failing=failing, lag=self.pulse.worst())
        if rooms is None:
            return
        # While the outbox fails or its disk hangs its last numbers stay: the rest is wanted then more than ever.
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(SCRAPE_SECONDS):
                # What waits because nothing may be sent is not late; its subscription's status says why it waits.
                first = await store.next_due()
                due = {uid: when for uid, when in first.items() if rooms.dispatcher.sends(uid)}
                counts = await store.counts()
                late = self._late(first, {uid for uid in due if not rooms.dispatcher.held(uid)})
                metrics.outbox(counts, await store.size(), await store.free(), min(late, default=None))
                metrics.each.outbox(counts, due)
        metrics.gauges(
            in_flight=rooms.dispatcher.in_flight,
            breakers=rooms.dispatcher.breakers_open,
            watches=sum(informer.condition.open for informer in rooms.watches.informers.values()),
            failing=sum(informer.condition.failing for informer in rooms.watches.informers.values()),
            staleness=_staleness(rooms),
        )
        metrics.controller_restarted(rooms.listener.restarts - self._restarts_seen)
        self._restarts_seen = rooms.listener.restarts
        metrics.subscriptions(rooms.status.states)
        metrics.clocks(*rooms.status.clocks)
        metrics.status_patched(rooms.status.patches - self._patches_seen)
        self._patches_seen = rooms.status.patches

    def _late(self, due: Mapping[str, float], free: Container[str]) -> list[float]:
        """When the first message of each that is ``free`` to be sent became due, or was seen to be free, if later.

        What waits for its endpoint calls nobody who runs this, nor does what had to wait for it and follows now.
        """
        now = time.time()
        self._held = {uid: self._held.get(uid, 0.0) if uid in free else now for uid in due}
        return [max(when, self._held[uid]) for uid, when in due.items() if uid in free]

    def unhealthy(self) -> str:
        """Why only a new process helps; empty when none is needed."""
        rooms = self.rooms
        if rooms is None:
            return ""
        # A watch stands still while the outbox fails, which no new process would change.
        stale = min(_staleness(rooms), time.monotonic() - self._store_failed)
        limit = STALE_WATCHES * self._idle
        if stale > limit:
            return f"a watch has not been heard of for {stale:.0f} s (limit: {limit:.0f} s)"
        silences = zip(STUCK_SECONDS, (self.pulse.lag, rooms.dispatcher.silence, rooms.listener.silence), strict=True)
        stuck = [who for who, silence in silences if silence > STUCK_SECONDS[who]]
        return f"{' and '.join(stuck)} did not move for too long" if stuck else ""


def _staleness(rooms: Rooms) -> float:
    now = time.time()
    watches = rooms.watches.informers.values()
    return max([rooms.namespaces.staleness(now), *(informer.staleness(now) for informer in watches)])
