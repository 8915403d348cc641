"""The composition root: the only file that knows the order of the rooms.

    watch -> match -> render -> outbox -> deliver -> status

Start: store, API client, deliver, controller (every existing subscription is in force before the first watch opens, so
that no rule is missing when a watch resumes), watches, kopf, server. Stop: the reverse, within the grace period.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hookline.api.parse import parse
from hookline.controller.listener import Listener
from hookline.controller.reconciler import Reconciler
from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.verdict import judge
from hookline.deliver.worker import Dispatcher
from hookline.errors import HooklineError
from hookline.flow import Flow
from hookline.kube import KubeClient
from hookline.observe.metrics import Metrics
from hookline.observe.server import Server
from hookline.outbox.schedule import next_attempt
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.store import Store
from hookline.settings import Settings
from hookline.status.writer import StatusWriter
from hookline.watch.discovery import Discovery
from hookline.watch.manager import WatchManager
from hookline.watch.namespaces import NamespaceIndex
from hookline.watch.pace import Pace
from hookline.watch.teller import Hooks

log = logging.getLogger(__name__)

RESYNC_SECONDS = 60.0
COUNT_SECONDS = 2.0
PRUNE_SECONDS = 30.0
PRUNE_LIMIT = 5000
START_RETRY_SECONDS = 2.0
FIRST_LOOK_SECONDS = 60.0
LAST_STATUS_SECONDS = 3.0
STALE_WATCHES = 3


class App:
    """One operator. ``run`` returns after SIGTERM or SIGINT, or when ``stopped`` is set."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.stopped = asyncio.Event()
        self.port = 0
        self._started = False
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: BaseException | None = None
        self._patches_seen = 0

    async def run(self) -> None:
        """Start in order, work, stop in reverse order. Raises what makes a start impossible (SettingsError, …)."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopped.set)
        try:
            await self._start()
            await self.stopped.wait()
        finally:
            await self._stop()
        if self._failure is not None:
            raise self._failure

    async def _start(self) -> None:
        settings = self.settings
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        self.store: Store = SqliteStore(settings.data_dir / "outbox.db")
        await self.store.open()
        self.kube = await KubeClient.connect(settings.kubeconfig or None)
        self._wire(await self.store.sequences())
        self.port = await self.server.start()
        log.info("serving /metrics, /healthz and /readyz", extra={"port": self.port})
        self._spawn(self.dispatcher.run())
        await self._first_look()
        self._spawn(self.reconciler.run())
        await self.watches.start()
        await self.reconciler.sweep()
        self.listener.start()
        self._spawn(self.status.run())
        for seconds, work in (
            (COUNT_SECONDS, self._count),
            (PRUNE_SECONDS, self._prune),
            (RESYNC_SECONDS, self.reconciler.resync),
            (settings.secret_poll_seconds, self.reconciler.secrets.poll),
            (settings.resolve_retry_seconds, self._look_again),
        ):
            self._spawn(self._every(seconds, work))
        self._started = True
        log.info("started", extra={"subscriptions": len(self.flow)})

    def _wire(self, sequences: Mapping[str, int]) -> None:
        settings, kube = self.settings, self.kube
        policy = AddressPolicy.parse(
            allowed_cidrs=settings.allow_cidrs,
            refused_cidrs=settings.refuse_cidrs,
            allowed_hosts=settings.allow_hosts,
            http_hosts=settings.allow_http_hosts,
        )
        bundle = Path(settings.ca_bundle).read_text() if settings.ca_bundle else None
        self.client = Client(policy, tls_context(bundle))
        self.namespaces = NamespaceIndex(kube, random=random.random)
        discovery = Discovery(kube, clock=time.monotonic)
        on_error = self.metrics.status_patch_failed
        self.status = StatusWriter(kube, settings.status_interval_seconds, time.time, on_error)
        self.flow = flow = Flow(settings, self.store, sequences, self.namespaces, discovery, self.status, self.metrics)
        judged = partial(judge, rand=random.random, next_attempt=next_attempt)
        self.dispatcher = Dispatcher(self.store, self.client, judged, flow.attempted, time.time)
        self.watches = WatchManager(
            kube,
            self.store,
            Hooks(flow.sink, flow.committed, flow.watch_problem, flow.change_dropped),
            clock=time.time,
            random=random.random,
            on_attached=flow.attached,
            pace=Pace(idle=settings.watch_idle_seconds),
        )
        flow.join(self.watches, self.dispatcher)
        self.reconciler = Reconciler(
            kube, flow, parse, discovery.resource, lambda url: policy.check_url(url).origin, settings.namespaces
        )
        self.listener = Listener(kube.access, settings.namespaces, self.reconciler.observe)
        self.server = Server(
            settings.listen_host,
            settings.listen_port,
            render=self.metrics.render,
            refresh=self._refresh_metrics,
            healthy=self._unhealthy,
            ready=self._unready,
        )

    # Loops, start and stop.

    async def _first_look(self) -> None:
        """Put every existing subscription in force, so that no rule is missing when the watches resume.

        What the API server can't answer now is asked again for a while; a lasting failure of one must not stop all.
        """
        until = time.monotonic() + FIRST_LOOK_SECONDS
        listed = False
        while not self.stopped.is_set():
            try:
                if not listed:
                    await self.reconciler.resync()
                    listed = True
                await self.reconciler.drain()
                if not self.reconciler.failed or time.monotonic() > until:
                    return
            except HooklineError as error:
                log.warning("the subscriptions can't be read yet: %s", error)
            await asyncio.sleep(START_RETRY_SECONDS)
            self.reconciler.enqueue_unresolved()

    async def _stop(self) -> None:
        """Stop reading, then sending, then telling; bounded by the grace period."""
        log.info("stopping", extra={"in_flight": self.dispatcher.in_flight if self._started else 0})
        if hasattr(self, "kube"):
            await self.listener.stop()
            await self.watches.close()
            await self.namespaces.close()
            await self.dispatcher.stop(self.settings.shutdown_grace_seconds)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with contextlib.suppress(HooklineError, TimeoutError):
                async with asyncio.timeout(LAST_STATUS_SECONDS):
                    await self._count()
                    await self.status.flush()
            await self.client.close()
            await self.server.stop()
            await self.kube.close()
        await self.store.close()
        log.info("stopped")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A task that should never end did: say so, and end with an error rather than work on without it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("a part of the operator failed; stopping", exc_info=error)
            self._failure = error
            self.stopped.set()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except HooklineError as error:
                log.warning("%s failed, it will be done again: %s", getattr(work, "__name__", "periodic work"), error)

    async def _count(self) -> None:
        self.status.counts(await self.store.counts())

    async def _prune(self) -> None:
        now, settings = time.time(), self.settings
        delivered = now - settings.delivered_retention_seconds
        dead = now - settings.dead_retention_seconds
        pruned = PRUNE_LIMIT
        while pruned == PRUNE_LIMIT:
            pruned = await self.store.prune(delivered, dead, PRUNE_LIMIT)

    async def _look_again(self) -> None:
        self.reconciler.enqueue_unresolved()

    # How it is.

    async def _refresh_metrics(self) -> None:
        metrics = self.metrics
        due = await self.store.next_due()
        metrics.outbox(await self.store.counts(), await self.store.size(), min(due.values(), default=None))
        metrics.gauges(
            in_flight=self.dispatcher.in_flight,
            watches=len(self.watches.informers),
            failing=sum(not informer.synced.is_set() for informer in self.watches.informers.values()),
            staleness=self._staleness(),
            restarts=self.listener.restarts,
        )
        metrics.subscriptions(*self.status.readiness)
        metrics.status_patched(self.status.patches - self._patches_seen)
        self._patches_seen = self.status.patches

    def _staleness(self) -> float:
        now = time.time()
        return max((informer.staleness(now) for informer in self.watches.informers.values()), default=0.0)

    def _unhealthy(self) -> str:
        stale, limit = self._staleness(), STALE_WATCHES * self.settings.watch_idle_seconds
        return f"a watch has not been heard of for {stale:.0f} s (limit: {limit:.0f} s)" if stale > limit else ""

    def _unready(self) -> str:
        if not self._started:
            return "the operator is starting"
        return "" if self.listener.alive else "the controller's thread is not running"
