"""The socket of the API: plain on the pod's own loopback, or TLS, whose certificate is read anew when it changes.

In: a handler of requests. Out: connections, so many at most, of which each must get on: who sends headers too slowly is
cut off, and so is who does not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from hookline.errors import SettingsError
from hookline.serve import shapes
from hookline.serve.refusals import bad_request

log = logging.getLogger(__name__)
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_CONNECTIONS = 256
MAX_PER_PEER = 128
HEADER_SECONDS = 10.0
HANDSHAKE_SECONDS = 10.0
STUCK_SECONDS = 30.0
STOP_SECONDS = 2.0
RELOAD_SECONDS = 5.0
MAX_LINE = 8 * 1024
MAX_FIELD = 16 * 1024
MAX_FIELDS = 64
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "hookline"}
"""Of every answer: nobody keeps it, and it is what it says."""


class Certificate:
    """The server's certificate and key in two PEM files, as a context that follows them. Raises SettingsError."""

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (Path(cert_file), Path(key_file))
        self._seen = self._look()
        self._current = self._load()
        self.context = self._load()
        # The context of a handshake is replaced by the one that is current then.
        self.context.sni_callback = self._choose

    def refresh(self) -> bool:
        """Read the files again if they changed. What can't be used leaves the last one in force."""
        seen = self._look()
        if seen == self._seen:
            return False
        try:
            self._current = self._load()
        except SettingsError as error:
            log.warning("the API's certificate changed and can't be used, the last one is kept: %s", error)
            return False
        self._seen = seen
        log.info("the API's certificate was read anew")
        return True

    def _choose(self, connection: Any, _: str | None, __: ssl.SSLContext) -> None:
        connection.context = self._current

    def _look(self) -> list[tuple[int, int, int]]:
        with contextlib.suppress(OSError):
            found = [path.stat() for path in self._files]
            return [(entry.st_ino, entry.st_mtime_ns, entry.st_size) for entry in found]
        return []

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(*self._files)
        except OSError as error:  # SSLError is one
            raise SettingsError(
                f"api_tls_cert_file, api_tls_key_file: can't be used ({error.strerror or type(error).__name__}); "
                "name a PEM file with the certificate, and one with its key"
            ) from None
        return context


class _Connection(web.RequestHandler):
    """A connection whose malformed requests are answered without a word of them, and not logged: they hold tokens."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002 (aiohttp's; the answer is the same for all)
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> web.StreamResponse:
        """The answer to what is no request."""
        log.debug("a malformed request was refused", extra={"reason": type(exc).__name__})
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is on its way already")
        refused = bad_request("this is no request that can be read")
        response = web.json_response(shapes.status(refused), status=refused.code, headers=HEADERS)
        response.force_close()
        return response


class _Server(web.Server):
    """As many connections as may be, and no more."""

    def __init__(self, handler: Handler) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": HEADER_SECONDS,
            "lingering_time": 0.0,
            "max_line_size": MAX_LINE,
            "max_field_size": MAX_FIELD,
            "max_headers": MAX_FIELDS,
        }

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=asyncio.get_running_loop(), **self._options)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        peers = [connection.peername for connection in self.connections]
        mine = handler.peername
        if len(peers) > MAX_CONNECTIONS or sum(_host(peer) == _host(mine) for peer in peers) > MAX_PER_PEER:
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            # Whoever reads nothing would keep the connection for ever, with what was written to it.
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_SECONDS * 1000))


class Listener:
    """The listening socket. ``certificate`` is None for plain HTTP."""

    def __init__(self, host: str, port: int, handler: Handler, certificate: Certificate | None) -> None:
        self._address = (host, port)
        self._certificate = certificate
        self._server = _Server(handler)
        self._socket: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises SettingsError when the address can't be had."""
        tls: dict[str, Any] = {}
        if self._certificate is not None:
            tls = {"ssl": self._certificate.context, "ssl_handshake_timeout": HANDSHAKE_SECONDS}
        try:
            self._socket = await asyncio.get_running_loop().create_server(self._server, *self._address, **tls)
        except OSError as error:
            raise SettingsError(
                f"api_port: {self._address[1]} can't be listened at ({error.strerror}); name a free one, or 0 for none"
            ) from None
        port: int = self._socket.sockets[0].getsockname()[1]
        return port

    async def follow_files(self) -> None:
        """Read the certificate anew whenever it changes, for ever."""
        while self._certificate is not None:
            await asyncio.sleep(RELOAD_SECONDS)
            await asyncio.to_thread(self._certificate.refresh)

    async def stop(self) -> None:
        """Listen no more, and end what is open."""
        if self._socket is not None:
            self._socket.close()
            self._server.pre_shutdown()
            await self._server.shutdown(STOP_SECONDS)


def _host(peer: Any) -> Any:
    return peer[0] if isinstance(peer, tuple) else peer
