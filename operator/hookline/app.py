"""The composition root: the only file that knows the order of the rooms.

    watch -> match -> render -> outbox -> deliver -> status

Start: API client, server; then, as soon as this process leads: store, deliver, controller (every existing subscription
is in force before the first watch opens, so that no rule is missing when a watch resumes), watches, kopf. Stop: the
reverse, within the grace period; at once when this process leads no longer or its store can't be trusted.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hookline import reasons
from hookline.controller.lease import Lease
from hookline.errors import Fenced, HooklineError, LeadershipLost, NotServed
from hookline.kube import KubeClient
from hookline.lead import lease_of, patiently, take_over
from hookline.observe import jwks
from hookline.observe.metrics import Metrics
from hookline.observe.server import Server
from hookline.observe.tracing import make_tracer
from hookline.outbox.health import OPERATIONS, StoreHealth
from hookline.outbox.sealing import Sealing, read_keys
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.store import Store
from hookline.rooms import Rooms
from hookline.serve.server import ApiServer, Behind, make_api
from hookline.settings import Settings
from hookline.stored import Retention
from hookline.vitals import Vitals

log = logging.getLogger(__name__)
T = TypeVar("T")

OWN_API = f"{reasons.GROUP}/{reasons.VERSION}"
INSTALL = ": install the CustomResourceDefinitions (crds.enabled of the chart, or config/crds)"
RANGES_SECONDS = 300.0
RESYNC_SECONDS = 15.0
DEBTS_SECONDS = 30.0
COUNT_SECONDS = 2.0
PRUNE_SECONDS = 30.0
PRUNE_LIMIT = 5000
START_RETRY_SECONDS = 2.0
FIRST_LOOK_SECONDS = 60.0
LAST_STATUS_SECONDS = 2.0
STORE_LOOK_SECONDS = 0.5
LAST_SPANS_SECONDS = 1.0


class App:
    """One operator. ``run`` returns after SIGTERM or SIGINT, or when ``stopped`` is set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics(OPERATIONS, settings.subscription_metrics)
        self.tracer = make_tracer(
            wanted=settings.tracing, cluster=settings.cluster_name, environ=os.environ, counted=self.metrics.spans
        )
        self.stopped = asyncio.Event()
        self.port = 0
        self.api: ApiServer | None = None
        self.lease: Lease | None = None
        self.health = StoreHealth(time.monotonic, self.metrics.store_failed, self._fail, self._may_write)
        self.vitals = Vitals(self.metrics, self.health, settings.watch_idle_seconds)
        self._tasks: list[asyncio.Task[None]] = []
        self._renewal: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self.server = Server(
            settings.listen_host,
            settings.listen_port,
            render=self.metrics.render,
            refresh=lambda: self.vitals.refresh_metrics(self.store),
            healthy=self.vitals.unhealthy,
            ready=self.vitals.unready,
            public_keys=self._public_keys,
            key_max_age=min(jwks.MAX_AGE_SECONDS, settings.key_overlap_seconds),
        )

    async def run(self) -> None:
        """Start in order, work, stop in reverse order. Raises what makes a start impossible (SettingsError, …)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopped.set)
        try:
            await self._unless_stopped(self._start())
            await self.stopped.wait()
        finally:
            await self._stop()
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        settings = self.settings
        sealing = Sealing(read_keys(settings.outbox_key_file))
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.store: Store = self.health.watched(SqliteStore(settings.data_dir / "outbox.db", sealing=sealing))
        self.kube = await KubeClient.connect(settings.kubeconfig or None)
        self.port = await self.server.start()
        log.info("serving /metrics, /healthz and /readyz", extra={"port": self.port})
        self._spawn(self.vitals.pulse.run())
        behind = Behind(self.kube, self.store, self._uid_of, self._unreadable, self.metrics.api_answered)
        self.api = await make_api(settings, behind, time.monotonic)
        await self._take_the_lead()
        sequences = await _patiently(self.store.sequences)
        self.rooms = rooms = Rooms(settings, self.kube, self.store, self.metrics, sequences, self.tracer)
        self.vitals.rooms = rooms
        rooms.access.remember(await _patiently(self.store.grounds))
        await _patiently(rooms.flow.begin)
        await _patiently(self._count)
        self._spawn(self._every(STORE_LOOK_SECONDS, self._look_at_store))
        with self.vitals.unless_soon("waiting for the API server"):
            await rooms.ranges.first()
        self._spawn(rooms.dispatcher.run())
        self._spawn(rooms.access.run())
        await self._first_look()
        self._spawn(rooms.reconciler.run())
        await _patiently(rooms.watches.start)
        self._spawn(_patiently(rooms.reconciler.sweep))
        rooms.listener.start()
        self._spawn(rooms.replays.run())
        self._spawn(rooms.status.run())
        for seconds, work in (
            (COUNT_SECONDS, self._count),
            (PRUNE_SECONDS, self._prune),
            (RESYNC_SECONDS, self._resync),
            (RESYNC_SECONDS, rooms.flow.drop_leftovers),
            (DEBTS_SECONDS, self._settle_debts),
            (settings.secret_poll_seconds, rooms.reconciler.secrets.polled.poll),
            (RANGES_SECONDS, rooms.ranges.refresh),
            (settings.resolve_retry_seconds, self._look_again),
        ):
            self._spawn(self._every(seconds, work))
        gc.freeze()  # what is there now stays: a full collection need not look at it
        self.vitals.started = True
        log.info("started", extra={"subscriptions": len(rooms.flow)})

    # Who leads.

    async def _take_the_lead(self) -> None:
        """Wait until this process leads, where there is an election, and open the outbox."""
        self.lease = self.vitals.lease = lease_of(self.settings, self.kube)
        if self.lease is None:
            await _patiently(self.store.open)
            return
        self.vitals.standby = True
        epoch = await self.lease.acquire()
        self.vitals.standby = False
        self._watch_over(self.lease.keep(), self._renewal)
        await take_over(self.store, self.lease, epoch, self.settings.lease_retry_seconds)

    def _may_write(self) -> bool:
        return self.lease is None or self.lease.leading

    def _fail(self, error: BaseException) -> None:
        """Something happened after which it is wrong to go on: stop, and end with this error."""
        if self._failure is None:
            self._failure = error
            known = isinstance(error, HooklineError)
            text, trace = (error, None) if known else (type(error).__name__, error)
            log.critical("stopping: %s", text, exc_info=trace, extra={"reason": type(error).__name__})
        if isinstance(error, LeadershipLost):
            self.health.shut(Fenced(str(error)))
        self.stopped.set()

    # Loops, start and stop.

    async def _unless_stopped(self, start: Coroutine[Any, Any, None]) -> None:
        starting, stopping = asyncio.create_task(start), asyncio.create_task(self.stopped.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting

    async def _first_look(self) -> None:
        """Put every existing subscription in force, so that no rule is missing when the watches resume.

        What the API server can't answer now is asked again for a while; a lasting failure of one must not stop all.
        """
        until = time.monotonic() + FIRST_LOOK_SECONDS
        listed = False
        while not self.stopped.is_set():
            try:
                if not listed:
                    # A CRD is served a moment before discovery names it, and kopf asks discovery only once.
                    await self.rooms.discovery.announced(OWN_API, reasons.KIND)
                    await self.rooms.reconciler.resync()
                    listed = True
                await self.rooms.reconciler.drain()
                self.vitals.waits("")
                if not self.rooms.reconciler.failed or time.monotonic() > until:
                    return
            except HooklineError as error:
                advice = INSTALL if isinstance(error, NotServed) else ""
                self.vitals.waits(f"the subscriptions can't be read: {error}{advice}")
            await asyncio.sleep(START_RETRY_SECONDS)
            self.rooms.reconciler.enqueue_unresolved()

    async def _resync(self) -> None:
        if await self.rooms.reconciler.resync():
            self.rooms.listener.restart()

    async def _stop(self) -> None:
        """Stop working, close the outbox, and only then let another process lead."""
        log.info("stopping", extra={"in_flight": self.rooms.dispatcher.in_flight if self.vitals.started else 0})
        if self.api is not None:
            await self.api.stop()
        if self.vitals.rooms is not None:
            await self._stop_working()
        await _end(self._tasks)
        if hasattr(self, "kube"):
            await self.store.close()
            await _end(self._renewal)
            if self.lease is not None:
                await self.lease.release()
            await self.server.stop()
            await self.kube.close()
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close, LAST_SPANS_SECONDS)
        log.info("stopped")

    async def _stop_working(self) -> None:
        """Stop reading, then sending, then telling; bounded by the grace period, which a failure does not get."""
        if self._failure is not None:
            await self.rooms.dispatcher.stop(0.0)
        listener = asyncio.create_task(self.rooms.listener.stop())  # beside the rest: kopf may take its time
        await self.rooms.watches.close()
        await self.rooms.namespaces.close()
        if self._failure is None:
            await self.rooms.dispatcher.stop(self.settings.shutdown_grace_seconds)
        await listener
        await _end(self._tasks)
        if self._may_write():
            with contextlib.suppress(HooklineError, TimeoutError):
                async with asyncio.timeout(LAST_STATUS_SECONDS):
                    await self._look_at_store()
                    if self._failure is None:
                        await self._count()
                    await self.rooms.status.flush()
        await self.rooms.flow.asked.close()
        await self.rooms.consents.close()
        await self.rooms.client.close()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._watch_over(work, self._tasks)

    def _watch_over(self, work: Coroutine[Any, Any, None], tasks: list[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that should never end did: say so, and end with an error rather than work on without it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except HooklineError as error:
                log.warning("%s failed, it will be done again: %s", getattr(work, "__name__", "periodic work"), error)

    async def _count(self) -> None:
        counts = await self.store.counts()
        self.rooms.flow.counted(counts)
        self.rooms.access.counted(counts, storing=not self.vitals.store_failing())

    async def _settle_debts(self) -> None:
        if self.rooms.access.indebted and not self.vitals.store_failing():
            asked = time.monotonic()
            self.rooms.access.rests(await self.store.grounds(), asked)

    async def _prune(self) -> None:
        now, settings = time.time(), self.settings
        delivered = Retention(now - settings.delivered_retention_seconds, settings.delivered_retention_bytes)
        dead = Retention(now - settings.dead_retention_seconds, settings.dead_retention_bytes)
        pruned = PRUNE_LIMIT
        while pruned == PRUNE_LIMIT:
            gone = await self.store.prune(delivered, dead, PRUNE_LIMIT)
            self.metrics.pruned(gone)
            pruned = gone.total

    async def _look_at_store(self) -> None:
        self.rooms.status.store_failing(failing=self.vitals.store_failing())

    async def _look_again(self) -> None:
        self.rooms.reconciler.enqueue_unresolved()

    def _public_keys(self, namespace: str, name: str) -> Sequence[str] | None:
        return self.rooms.status.public_keys(namespace, name) if self.vitals.started else None

    def _uid_of(self, namespace: str, name: str) -> str | None:
        return self.rooms.reconciler.uid_of(namespace, name)

    def _unreadable(self) -> tuple[str, str] | None:
        """Why nobody can read deliveries here now, as a reason and a sentence."""
        if self.vitals.started and self._may_write():
            return None
        if self.vitals.standby or self.vitals.started:
            return "NotLeader", "another pod has the outbox: ask the one that leads"
        return "ServiceUnavailable", "the operator is starting"


async def _patiently(work: Callable[[], Awaitable[T]]) -> T:
    return await patiently(work, START_RETRY_SECONDS)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they are over."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
