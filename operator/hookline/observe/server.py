"""``/metrics``, ``/healthz`` and ``/readyz`` for Prometheus and the kubelet, and public keys for receivers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from hookline.observe import jwks
from hookline.observe.jwks import PublicKeys

STOP_SECONDS = 1.0
Check = Callable[[], str]
"""A check returns an empty string, or a sentence that says what is wrong."""


class Server:
    """A small HTTP server. ``refresh`` is awaited before each scrape, so that gauges are of this moment.

    ``public_keys`` and ``key_max_age`` (seconds): see ``jwks``.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        render: Callable[[], bytes],
        refresh: Callable[[], Awaitable[None]],
        healthy: Check,
        ready: Check,
        public_keys: PublicKeys,
        key_max_age: int = jwks.MAX_AGE_SECONDS,
    ) -> None:
        self._host = host
        self._port = port
        self._render = render
        self._refresh = refresh
        self._jwks = jwks.answering(public_keys, key_max_age)
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", _answering(healthy)),
                web.get("/readyz", _answering(ready)),
                web.get(jwks.PATH, self._public_keys),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECONDS)

    async def start(self) -> int:
        """Listen; returns the port. Raises OSError when the address is taken."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _public_keys(self, request: web.Request) -> web.Response:
        return self._jwks(request)

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._refresh()
        body = await asyncio.to_thread(self._render)
        return web.Response(body=body, headers={"content-type": CONTENT_TYPE_LATEST})


def _answering(check: Check) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(text=f"{problem or 'ok'}\n", status=503 if problem else 200)

    return answer
