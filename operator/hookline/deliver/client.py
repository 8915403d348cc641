"""The one outbound HTTP client: it signs a message, sends it, and says what came back.

In: a ``Target`` and a ``Message``. Out: a ``Response`` or a ``Failure``, never an exception for what a network or a
receiver can do; ``verdict`` judges it. ``guard`` and ``dial`` decide where a request may go.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import aiohttp
import httpx

from hookline import __version__
from hookline.deliver.dial import LOOKUP_THREADS, GuardedConnector, Lookup, Resolver, system_lookup
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.sign import Signer
from hookline.deliver.transport import Transport
from hookline.deliver.verdict import Failure, Reason, Response, Result
from hookline.errors import DestinationRefused
from hookline.model import Message, Target

MAX_BODY = 64 * 1024
"""Bytes of an answer's body that are read; a longer one is cut and its connection closed."""

RESERVED_HEADERS = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
    }
)
RESERVED_PREFIXES = ("webhook-", "hookline-", "ce-", "proxy-")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|")  # RFC 9110 §5.5, without obs-text

_Header = tuple[bytes, bytes]


class _InvalidHeaderError(Exception):
    """A custom header is malformed or would replace one of ours."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is the same for all messages of a target."""

    target: Target
    url: httpx.URL
    headers: tuple[_Header, ...]
    signer: Signer
    transport: Transport


class Client:
    """Sends messages over kept-alive connections. Make it inside the running event loop, and close it there.

    ``context`` is the TLS context of ``dial.tls_context``; ``lookup`` resolves names (by default the system's way).
    """

    def __init__(self, policy: AddressPolicy, context: ssl.SSLContext, lookup: Lookup = system_lookup) -> None:
        self._policy = policy
        self._pool = ThreadPoolExecutor(LOOKUP_THREADS, thread_name_prefix="lookup")
        self._guarded, self._trusted = (
            Transport(GuardedConnector(rules, Resolver(rules, lookup, self._pool), context), context)
            for rules in (policy, None)
        )
        self._prepared: dict[str, _Prepared] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._guarded.aclose()
        await self._trusted.aclose()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def forget(self, subscription: str) -> None:
        """Drop what is kept for a subscription that is gone."""
        self._prepared.pop(subscription, None)

    async def send(self, target: Target, message: Message, timestamp: int) -> Result:
        """Make one attempt, signed for ``timestamp`` (Unix seconds), within ``target.timeout`` seconds altogether.

        Raises nothing but NotReadyError, when the target has no key to sign with.
        """
        try:
            prepared = self._prepare(target)
            async with asyncio.timeout(target.timeout):
                return await _exchange(prepared, message, timestamp)
        except TimeoutError:
            return Failure(Reason.TIMEOUT)
        except _InvalidHeaderError:
            return Failure(Reason.INVALID_HEADER)
        except (DestinationRefused, httpx.TransportError, aiohttp.ClientError, OSError) as error:
            return Failure(reason_of(error))

    def _prepare(self, target: Target) -> _Prepared:
        prepared = self._prepared.get(target.subscription)
        if prepared is None or prepared.target is not target:
            endpoint = self._policy.check_url(target.url)
            prepared = self._prepared[target.subscription] = _Prepared(
                target,
                httpx.URL(endpoint.url),
                tuple(_custom_header(name, value) for name, value in target.headers),
                Signer(target.keys, target.schemes),
                self._trusted if endpoint.trusted else self._guarded,
            )
        return prepared


_OURS: tuple[_Header, ...] = ((b"user-agent", f"hookline/{__version__}".encode()), (b"accept-encoding", b"identity"))


async def _exchange(prepared: _Prepared, message: Message, timestamp: int) -> Response:
    headers = [
        *((name.encode("ascii"), value.encode("ascii")) for name, value in message.headers),
        *prepared.headers,
        *_OURS,
        (b"webhook-id", message.id.encode("ascii")),
        (b"webhook-timestamp", b"%d" % timestamp),
        (b"webhook-signature", prepared.signer.sign(message.id, timestamp, message.body).encode("ascii")),
        (b"hookline-sequence", b"%d" % message.sequence),
    ]
    request = httpx.Request("POST", prepared.url, headers=headers, content=message.body)
    response = await prepared.transport.handle_async_request(request)
    try:
        await _drain(response)
    finally:
        await response.aclose()
    return Response(response.status_code, response.headers.get("retry-after"), response.headers.get("date"))


async def _drain(response: httpx.Response) -> None:
    """Read the body so that its connection can be used again, but not more of it than is decent."""
    read = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (for the type checker: it always is)
    async for chunk in response.stream:
        read += len(chunk)
        if read >= MAX_BODY:
            return


def _custom_header(name: str, value: str) -> _Header:
    """Check a subscription's own header once more, though admission did: here it would reach the wire."""
    lower = name.lower()
    if lower in RESERVED_HEADERS or lower.startswith(RESERVED_PREFIXES):
        raise _InvalidHeaderError
    if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise _InvalidHeaderError
    return lower.encode("ascii"), value.encode("ascii")


_KINDS: tuple[tuple[tuple[type[BaseException], ...], Reason], ...] = (
    ((DestinationRefused,), Reason.DESTINATION_REFUSED),
    ((ssl.SSLError, aiohttp.ClientSSLError), Reason.TLS_FAILED),
    ((socket.gaierror, aiohttp.ClientConnectorDNSError), Reason.NAME_NOT_RESOLVED),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), Reason.PROTOCOL),
    ((TimeoutError,), Reason.TIMEOUT),
    ((OSError, aiohttp.ClientConnectionError), Reason.UNREACHABLE),
)


def reason_of(error: BaseException) -> Reason:
    """The reason for a failed attempt, by what caused the error: wrappers of two libraries hide it."""
    chain = list(_chain(error))
    for kinds, reason in _KINDS:
        if any(isinstance(link, kinds) for link in chain):
            return reason
    return Reason.PROTOCOL


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
