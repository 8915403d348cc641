"""kopf, for our own kinds only, in its own thread and event loop, started again whenever it ends.

kopf takes over signals, cancels foreign tasks of its loop, and ends on errors of a single stream; here none of that
reaches the dispatcher. The handlers write nothing (no annotation, no finalizer) and hand the object over.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import kopf

from hookline import reasons
from hookline.kube import Access

OnObject = Callable[[str | None, Mapping[str, Any]], None]

log = logging.getLogger(__name__)

# A warning of each start, and always so here: signals are the app's, and kopf has a thread of its own.
EXPECTED = "OS signals are ignored: running not in the main thread."
logging.getLogger("kopf._core.reactor.running").addFilter(lambda record: record.msg != EXPECTED)
BEAT_SECONDS = 1.0
RESTART_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)


class Listener:
    """Tells of each event, in the loop of ``start``: its type (None: first listing) and the object.

    ``on_object`` has who is told, by the plural of our kinds.
    """

    def __init__(self, access: Access, namespaces: Sequence[str], on_object: Mapping[str, OnObject]) -> None:
        self._access = access
        self._namespaces = list(namespaces)
        self._on_object = dict(on_object)
        self._stop = threading.Event()
        self._turn = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard = math.inf
        self.restarts = 0

    def start(self) -> None:
        """Start the thread. Must be called in a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End kopf and wait for its thread."""
        self._stop.set()
        self._turn.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 10)

    def restart(self) -> None:
        """Begin anew with a list, for a list of somebody else told what no event had."""
        log.warning("an event was missed; kopf is started again")
        self._turn.set()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def silence(self) -> float:
        """Seconds since the thread's own loop last turned; up to the longest pause between two restarts is normal."""
        return max(0.0, time.monotonic() - self._heard)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._heard = time.monotonic()
            self._turn.clear()
            if self._stop.is_set():
                return
            try:
                asyncio.run(self._operate())
            except Exception as error:  # noqa: BLE001 (whatever ends kopf must not end the operator)
                log.warning("kopf ended with %s: it is started again", type(error).__name__)
            if self._stop.wait(RESTART_SECONDS[min(self.restarts, len(RESTART_SECONDS) - 1)]):
                return
            self.restarts += 1

    async def _beat(self) -> None:
        while True:
            self._heard = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)

    async def _operate(self) -> None:
        beat = asyncio.create_task(self._beat())
        try:
            await self._operate_kopf()
        finally:
            beat.cancel()

    async def _operate_kopf(self) -> None:
        await kopf.operator(
            registry=self._registry(),
            settings=_settings(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
            stop_flag=self._turn,
        )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo:
            return _connection_info(self._access)

        for plural, on_object in self._on_object.items():
            kopf.on.event(reasons.GROUP, reasons.VERSION, plural, registry=registry)(self._handler(on_object))
        return registry

    def _handler(self, on_object: OnObject) -> Callable[..., None]:
        def observe(event: Mapping[str, Any], **_: Any) -> None:
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(on_object, event.get("type"), dict(event["object"]))

        return observe


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.networking.error_backoffs = (1, 2, 5, 10, 20, 30, 30, 30)
    return settings


def _connection_info(access: Access) -> kopf.ConnectionInfo:
    """The same credentials as the rest of the operator has; kopf asks again when they are refused."""
    scheme, _, token = (access.authorization() or "").partition(" ")
    return kopf.ConnectionInfo(
        server=access.server,
        ca_path=access.ca_path,
        certificate_path=access.certificate_path,
        private_key_path=access.private_key_path,
        scheme=scheme or None,
        token=token or None,
        proxy_url=access.proxy,
    )
