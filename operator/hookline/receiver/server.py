"""``hookline receive``: a small server that verifies, and then acts once.

In: a ``Config``. Out: per request 200 (done, or done before), 400 (malformed), 401 (not verified), 403 (may not send),
404 (no such endpoint), 405, 408, 413, or 503 (an action failed or is going on, or there is no room: the sender tries
again). Actions are independent: one that failed, however, holds up no other, and one that was done is not repeated with
it. Endpoints are independent too: each has room of its own for bodies (``hookline.receiver.room``) and for actions.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from hookline.errors import HooklineError, SettingsError, VerificationError
from hookline.receiver.config import Config, Endpoint
from hookline.receiver.consent import Consent
from hookline.receiver.errors import AlreadyProcessed, OriginMalformed
from hookline.receiver.faults import OneLine, described
from hookline.receiver.room import Full, Place, Room
from hookline.receiver.template import Event
from hookline.receiver.users import identify
from hookline.receiver.verifier import LARGE, Verified

MAINTENANCE_SECONDS = 600.0
_RETRY = {"retry-after": "5"}
_NOT_FOUND = "not found\n"
_KEEP_ALIVE_SECONDS, _LINGER_SECONDS = 75.0, 2.0

_VERIFYING_THREADS = 2

log = logging.getLogger(__name__)
library = logging.getLogger("hookline.receiver.http")
library.addFilter(OneLine())


@dataclass(frozen=True)
class Limits:
    """``read_seconds`` for a body to arrive, ``shutdown_seconds`` for requests to end.

    For each endpoint: ``bodies`` that arrive or are verified at the same time, and ``at_once`` messages acted on.
    """

    read_seconds: float = 15.0
    bodies: int = 64
    at_once: int = 64
    shutdown_seconds: float = 30.0


@dataclass(eq=False)
class Reply(Exception):
    """An answer that ends the handling of a request; ``text`` goes to the sender and to the log."""

    status: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


class _Gate:
    """One endpoint, and what is going on there."""

    def __init__(self, endpoint: Endpoint, limits: Limits) -> None:
        self.endpoint = endpoint
        self.room = Room(limits.bodies)
        self.acting = asyncio.Semaphore(limits.at_once)
        self.verifying = asyncio.Lock()  # one large body at a time, so that the threads are there for other endpoints


class Server:
    """``start``, then ``stop``. ``address`` and ``health_address`` are what the sockets got, once started."""

    def __init__(self, config: Config, limits: Limits = Limits()) -> None:
        self._config = config
        self._limits = limits
        # Looked up by digest: the time of a look-up says nothing about how much of a path was guessed right.
        self._endpoints = {_digest(endpoint.path): _Gate(endpoint, limits) for endpoint in config.endpoints}
        self._threads = ThreadPoolExecutor(_VERIFYING_THREADS, "verify")  # not those that actions wait for
        self._stopping = False
        self._tls: ssl.SSLContext | None = None
        self._runners: list[web.ServerRunner] = []
        self._maintenance: asyncio.Task[None] | None = None
        self.address: tuple[str, int] = ("", 0)
        self.health_address: tuple[str, int] | None = None

    async def start(self) -> None:
        """Listen. Raises SettingsError when the certificate can't be used, OSError when an address is taken."""
        if self._config.certificate:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
            self._load_certificate()
        server = web.Server(
            self._handle,
            access_log=None,
            logger=library,
            auto_decompress=False,  # the signature covers the bytes as they came; and a bomb stays small
            keepalive_timeout=_KEEP_ALIVE_SECONDS,
            lingering_time=_LINGER_SECONDS,
        )
        self.address = await self._listen(server, self._config.listen, self._tls)
        if self._config.health:
            self.health_address = await self._listen(
                web.Server(self._health, access_log=None, logger=library), self._config.health, None
            )
        self._maintenance = asyncio.create_task(self._maintain_for_ever())
        log.info(
            "listening", extra={"port": self.address[1], "endpoints": len(self._endpoints), "tls": bool(self._tls)}
        )

    async def stop(self) -> None:
        """Take no more connections, let requests end for as long as the limits say, close."""
        self._stopping = True
        if self._maintenance:
            self._maintenance.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._maintenance
        for runner in self._runners:
            await runner.cleanup()
        self._threads.shutdown(wait=False)
        log.info("stopped")

    async def maintain(self) -> None:
        """Read the certificate again, since somebody may have renewed it, and forget old ids."""
        try:
            self._load_certificate()
            for store in self._config.stores:
                await asyncio.to_thread(store.purge)
        except HooklineError as error:
            log.warning("maintenance failed", extra={"reason": str(error)})

    async def _maintain_for_ever(self) -> None:
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            await self.maintain()

    def _load_certificate(self) -> None:
        if self._tls and self._config.certificate:
            try:
                self._tls.load_cert_chain(*self._config.certificate)
            except OSError as error:
                raise SettingsError(
                    f"tls: certificate and key can't be used together ({type(error).__name__})"
                ) from None

    async def _listen(
        self, server: web.Server, address: tuple[str, int], tls: ssl.SSLContext | None
    ) -> tuple[str, int]:
        runner = web.ServerRunner(server, shutdown_timeout=self._limits.shutdown_seconds)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, *address, ssl_context=tls).start()
        host, port = runner.addresses[0][:2]
        return host, port

    async def _health(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/healthz":
            return web.Response(status=404, text=_NOT_FOUND)
        return web.Response(status=503 if self._stopping else 200, text="stopping\n" if self._stopping else "ok\n")

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        gate = self._endpoints.get(_digest(request.raw_path))
        if gate is None:
            return web.Response(status=404, text=_NOT_FOUND)
        began = time.monotonic()
        facts: dict[str, object] = {"endpoint": gate.endpoint.name}
        try:
            reply = await self._answer(gate, request, facts)
        except Reply as ended:
            reply = ended
        except Exception as error:  # noqa: BLE001 (nobody foresaw it; the message is safe with the sender)
            facts["reason"] = described(error)
            reply = Reply(503, "something went wrong here; try again", tuple(_RETRY.items()))
        level = logging.INFO if reply.status == 200 else logging.WARNING
        seconds = round(time.monotonic() - began, 3)
        log.log(level, reply.text, extra={**facts, "status": reply.status, "seconds": seconds})
        return web.Response(status=reply.status, text=f"{reply.text}\n", headers=dict(reply.headers))

    async def _answer(self, gate: _Gate, request: web.BaseRequest, facts: dict[str, object]) -> Reply:
        endpoint = gate.endpoint
        if request.method == "OPTIONS" and endpoint.consent is not None:
            return _consent(endpoint.consent, request)
        if request.method != "POST":
            raise Reply(405, "only POST", (("allow", "POST"),))
        if endpoint.users:
            facts["user"] = identify(endpoint.users, request.headers)
            if facts["user"] is None:
                raise Reply(401, "no token of a user of this endpoint", (("www-authenticate", "Bearer"),))
        with _entered(gate.room, request.remote or "") as place:
            body = await _read(request, endpoint.limit, self._limits.read_seconds, place)
            verified = await self._verify(gate, request, body)
        facts["id"] = verified.id
        if gate.acting.locked():
            raise _busy()
        async with gate.acting:
            return await _act(endpoint, Event(endpoint.name, verified.id, verified.timestamp, body), facts)

    async def _verify(self, gate: _Gate, request: web.BaseRequest, body: bytes) -> Verified:
        verify = gate.endpoint.verifier.verify
        try:
            if len(body) < LARGE:
                return verify(request.headers, body)
            async with gate.verifying:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, verify, request.headers, body)
        except VerificationError as error:
            raise Reply(401, str(error)) from None


def _busy() -> Reply:
    return Reply(503, "too many requests at once", tuple(_RETRY.items()))


@contextlib.contextmanager
def _entered(room: Room, address: str) -> Iterator[Place]:
    try:
        with room.enter(address) as place:
            yield place
    except Full:
        raise _busy() from None


def _consent(consent: Consent, request: web.BaseRequest) -> Reply:
    try:
        granted = consent.grant(request.headers.items())
    except OriginMalformed as error:
        return Reply(400, str(error))
    if granted is None:
        return Reply(403, "this origin may not send here", (("allow", "OPTIONS, POST"),))
    return Reply(200, "may send", tuple(granted.items()))


async def _act(endpoint: Endpoint, event: Event, facts: dict[str, object]) -> Reply:
    done = False
    failures: list[str] = []
    for name, action in endpoint.actions.items():
        try:
            await action.run(event, f"{endpoint.name}/{name}")
            done = True
        except AlreadyProcessed:
            pass
        except HooklineError as error:
            failures.append(f"{name}: {error}")
        except Exception as error:  # noqa: BLE001 (whatever it is, the other actions can do without this one)
            failures.append(f"{name}: {described(error)}")
    if failures:
        facts["reason"] = "; ".join(failures)
        return Reply(503, "an action is not done; try again", tuple(_RETRY.items()))
    return Reply(200, "ok" if done else "processed before")


async def _read(request: web.BaseRequest, limit: int, seconds: float, place: Place) -> bytes:
    too_large = Reply(413, f"the body is larger than {limit} bytes")
    if (request.content_length or 0) > limit:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds) as place.deadline:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise too_large
    except TimeoutError:
        raise Reply(408, "the body did not arrive in time") from None
    except (ConnectionError, aiohttp.ClientError, HttpProcessingError):
        raise Reply(400, "the body is malformed, or broke off") from None
    finally:
        place.deadline = None
    return bytes(body)


def _digest(path: str) -> bytes:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
