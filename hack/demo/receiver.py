"""The other side of the demo: an HTTPS server on localhost that verifies every request and keeps it.

In: requests. Out: ``Delivery`` values on a queue. It runs in a thread with an event loop of its own; the certificate is
made for this run, and ``ca_pem`` is the authority to trust.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import trustme
from aiohttp import web

from hookline.errors import VerificationError
from hookline.receiver.verifier import Verifier


@dataclass(frozen=True)
class Delivery:
    """One request as it came: request line, headers, exact body, and what the verifier says of it."""

    line: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    verdict: str
    verified: bool


class Receiver:
    """Starts at construction; ``trust`` sets the keys before the first request can come."""

    def __init__(self) -> None:
        self.deliveries: queue.Queue[Delivery] = queue.Queue()
        self._authority = trustme.CA()
        self._verifiers: dict[str, Verifier] = {}
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="receiver", daemon=True).start()
        self.port: int = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result()

    @property
    def ca_pem(self) -> bytes:
        """The certificate authority of this server, PEM."""
        pem: bytes = self._authority.cert_pem.bytes()
        return pem

    @property
    def url(self) -> str:
        """Where to send."""
        return f"https://localhost:{self.port}/hooks/orders"

    def trust(self, keys: Sequence[str]) -> None:
        """The keys to verify with, one for each signature scheme."""
        self._verifiers = {key.partition("_")[0]: Verifier([key]) for key in keys}

    async def _serve(self) -> int:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert("localhost").configure_cert(context)
        app = web.Application()
        app.router.add_post("/{path:.*}", self._receive)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "localhost", 0, ssl_context=context).start()
        port: int = runner.addresses[0][1]
        return port

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        try:
            for verifier in self._verifiers.values():
                verifier.verify(request.headers, body)
            schemes = {"whsec": "v1 (HMAC-SHA256)", "whpk": "v1a (ed25519)"}
            verdict = "signature verified: " + " and ".join(schemes[prefix] for prefix in self._verifiers)
            verified = True
        except VerificationError as error:
            verdict, verified = f"REFUSED: {error}", False
        line = f"{request.method} {request.path_qs} HTTP/1.1"
        self.deliveries.put(Delivery(line, list(request.headers.items()), body, verdict, verified))
        return web.Response(status=204 if verified else 401)
