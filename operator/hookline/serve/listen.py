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
from hookline.serve.answers import PIECE, STUCK_SECONDS, closing
from hookline.serve.refusals import bad_request

log = logging.getLogger(__name__)
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

MAX_CONNECTIONS = 256
MAX_PER_PEER = 128
HEADER_SECONDS = 10.0
HANDSHAKE_SECONDS = 10.0
STOP_SECONDS = 2.0
RELOAD_SECONDS = 5.0
SEND_BUFFER = 32 * 1024
MAX_LINE = 8 * 1024
MAX_FIELD = 16 * 1024
MAX_FIELDS = 64


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
        return closing(bad_request("this is no request that can be read"))


class _Server(web.Server):
    """As many connections as may be: for one more the one that was idle longest goes, or it goes itself."""

    def __init__(self, handler: Handler) -> None:
        async def counted(request: web.BaseRequest) -> web.StreamResponse:
            connection = request.protocol
            self._busy.add(connection)
            try:
                return await handler(request)
            finally:
                self._busy.discard(connection)
                if (transport := self._open.pop(connection, None)) is not None:
                    self._open[connection] = transport

        super().__init__(counted, handler_cancellation=True)
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}
        """Those that may stay, the one that was served longest ago first."""
        self._busy: set[web.RequestHandler] = set()
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
        neighbours = [other for other in self._open if _host(other) == _host(handler)]
        if not (self._room(neighbours, MAX_PER_PEER) and self._room([*self._open], MAX_CONNECTIONS)):
            transport.abort()
            return
        self._open[handler] = transport
        # An answer counts as sent when no more than this of it waits for the client, here and in the kernel,
        # which would take megabytes for each, of the pod's memory.
        transport.set_write_buffer_limits(high=PIECE)
        sock = transport.get_extra_info("socket")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                # Whoever reads nothing would keep the connection for ever, with what was written to it.
                if hasattr(socket, "TCP_USER_TIMEOUT"):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STUCK_SECONDS * 1000))

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._open.pop(handler, None)

    def _room(self, among: list[web.RequestHandler], most: int) -> bool:
        """Whether there is room for one more among these, if need be that of one that asks for nothing."""
        if len(among) < most:
            return True
        idle = next((connection for connection in among if connection not in self._busy), None)
        if idle is None:
            return False
        self._open.pop(idle).abort()
        return True


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


def _host(connection: web.RequestHandler) -> Any:
    peer = connection.peername
    return peer[0] if isinstance(peer, tuple) else peer
