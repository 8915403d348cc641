"""A webhook receiver for tests: a real HTTPS server on 127.0.0.1 that keeps every request as it came, and obeys.

    async with Receiver() as receiver:
        receiver.answer(503, headers={"Retry-After": "7"})      # for every request from now on
        receiver.answers(Answer(500), Answer(200))              # for the next ones, in order, before that
        request = (await receiver.wait_for(1))[0]

``receiver.ca_pem`` is the authority to trust, ``receiver.url("/path")`` where to send. Set ``hold`` on an answer to an
``asyncio.Event`` to keep a request open until it is set. With ``clients`` it demands a certificate of that authority.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import trustme
from aiohttp import web


@dataclass(frozen=True)
class Received:
    """One request: header names in lower case, the exact bytes of the body, the raw request target."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    arrived: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True)
class Answer:
    """How to answer: after ``hold`` is set (if given), with these bytes and headers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hold: asyncio.Event | None = None


class Receiver:
    """The server. ``requests`` grows as they are complete; ``connections`` counts accepts, ``busiest`` concurrency."""

    def __init__(
        self,
        *,
        authority: trustme.CA | None = None,
        names: tuple[str, ...] = ("127.0.0.1", "localhost"),
        tls: bool = True,
        clients: trustme.CA | None = None,
    ) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self.busy = 0
        self.busiest = 0
        self.authority = authority or trustme.CA()
        self._names = names
        self._tls = tls
        self._clients = clients
        self._default = Answer()
        self._next: deque[Answer] = deque()
        self._changed = asyncio.Condition()
        self._port = 0

    @property
    def ca_pem(self) -> str:
        return self.authority.cert_pem.bytes().decode()

    @property
    def port(self) -> int:
        return self._port

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'https' if self._tls else 'http'}://{host}:{self._port}{path}"

    def answer(self, status: int = 200, *, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        """Answer everything so from now on."""
        self.answer_with(Answer(status, headers or {}, body))

    def answer_with(self, answer: Answer) -> None:
        self._default = answer

    def answers(self, *answers: Answer) -> None:
        """Answer the next requests so, one each, before the default counts again."""
        self._next.extend(answers)

    def has(self, number: int) -> bool:
        """Whether so many requests, or more, came."""
        return len(self.requests) >= number

    async def wait_until(self, condition: Callable[[], bool], within: float = 30.0) -> None:
        """Wait for something about this receiver; looked at whenever a request began or ended."""
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)

    async def wait_for(self, count: int, within: float = 30.0) -> list[Received]:
        """Wait for that many requests in all; returns all that came."""
        await self.wait_until(lambda: len(self.requests) >= count, within)
        return list(self.requests)

    async def __aenter__(self) -> Self:
        server = web.Server(self._handle)
        self._runner = web.ServerRunner(server, access_log=None)
        await self._runner.setup()
        loop = asyncio.get_running_loop()

        def accept() -> asyncio.Protocol:
            self.connections += 1
            return server()

        self._listener = await loop.create_server(accept, "127.0.0.1", 0, ssl=self._context())
        self._port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        await self._runner.cleanup()
        await self._listener.wait_closed()

    def _context(self) -> ssl.SSLContext | None:
        if not self._tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(*self._names).configure_cert(context)
        if self._clients is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            self._clients.configure_trust(context)
        return context

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        with self._counted():
            body = await request.content.read()
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.requests.append(Received(request.method, request.raw_path, headers, body, time.time()))
            answer = self._next.popleft() if self._next else self._default
            await self._tell()
            if answer.hold is not None:
                await answer.hold.wait()
            response = web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)
        await self._tell()
        return response

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        try:
            yield
        finally:
            self.busy -= 1

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
