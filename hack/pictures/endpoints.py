"""Endpoints that behave like people's: one is well, one has an outage, one refuses some, one is slow, one goes away.

In: how long the scene is. Out: a TLS server whose answer depends on the path and on the time since ``begin``.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import threading
import time
from collections.abc import Coroutine
from email.utils import formatdate
from types import TracebackType
from typing import Any, Self

import trustme
from aiohttp import web

SKEW_SECONDS = 400
_REFUSALS = (404, 500, 500, 503, 429, 401)


class Endpoints:
    """A context manager. ``names`` are the endpoints, ``ca_pem`` is the authority to trust."""

    names = ("orders", "bills", "chat", "audit", "legacy")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._dice = random.Random(2)  # noqa: S311 (no secret)
        self._begun = float("inf")
        self._authority = trustme.CA()
        self.ca_pem = self._authority.cert_pem.bytes().decode()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def url(self, name: str) -> str:
        """Where to send to an endpoint."""
        return f"https://localhost:{self._port}/{name}"

    def begin(self) -> None:
        """The scene begins."""
        self._begun = time.time()

    async def _start(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None))
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self._port = self._runner.addresses[0][1]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        share = (time.time() - self._begun) / self._seconds
        name = request.path.strip("/")
        status, delay, ahead = 200, self._dice.uniform(0.003, 0.03), 0
        if name == "bills" and 0.3 < share < 0.45:
            status = 503
        elif name == "chat" and self._dice.random() < 0.12:
            status = self._dice.choice(_REFUSALS)
        elif name == "audit":
            delay, ahead = self._dice.uniform(0.05, 0.2), SKEW_SECONDS
        elif name == "legacy" and share > 0.2:
            status = 410
        await asyncio.sleep(delay)
        return web.Response(status=status, headers={"Date": formatdate(time.time() + ahead, usegmt=True)})

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)
