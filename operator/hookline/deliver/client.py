"""The one outbound HTTP client: it signs a message, sends it, and says what came back.

In: a ``Target`` and a ``Message``. Out: a ``Response`` or a ``Failure``, never an exception for what a network or a
receiver can do; ``verdict`` judges it. ``guard`` and ``dial`` decide where a request may go.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Self, TypeVar

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

from hookline import __version__
from hookline.deliver.auth import Authorizer, authorizer, header_name, static_headers
from hookline.deliver.contexts import Contexts
from hookline.deliver.dial import Refused, ignore
from hookline.deliver.guard import AddressPolicy, Endpoint
from hookline.deliver.handshake import ORIGIN, Answer
from hookline.deliver.issuers import Api
from hookline.deliver.lookups import TENANT, Lookup, system_lookup
from hookline.deliver.proxy import Proxy, ProxyFailed
from hookline.deliver.sign import Signer
from hookline.deliver.tokens import TokenFailed
from hookline.deliver.transport import Transport, Transports
from hookline.deliver.verdict import Failure, Reason, Response, Result
from hookline.errors import DestinationRefused, InvalidKey
from hookline.model import Message, Target

MAX_BODY = 64 * 1024
"""Bytes of an answer's body that are read; a longer one is cut and its connection closed."""

RESERVED_HEADERS = frozenset(
    {
        *(
            "accept-encoding",
            "connection",
            "expect",
            "host",
            "keep-alive",
            "te",
            "traceparent",
            "tracestate",
            "trailer",
            "transfer-encoding",
            "upgrade",
            "user-agent",
        ),
    }
)
RESERVED_PREFIXES = ("webhook-", "hookline-", "ce-", "proxy-", "content-")

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110 §5.6.2
_FIELD_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e\t]*[\x21-\x7e])?|")  # RFC 9110 §5.5, without obs-text

_Header = tuple[str, str]
T = TypeVar("T", Response, Answer)
_Exchange = Callable[["_Prepared", Transport, tuple[_Header, ...]], Awaitable[T]]


class _InvalidHeaderError(Exception):
    """A custom header is malformed or would replace one of ours."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is the same for all messages of a target.

    ``authorizer`` makes a header anew for each attempt (a token that expires); its time counts towards the deadline.
    """

    target: Target
    url: URL
    headers: tuple[_Header, ...]
    signer: Signer
    endpoint: Endpoint
    authorizer: Authorizer | None = None


class Client:
    """Sends messages over kept-alive connections. Make it inside the running event loop, and close it there.

    ``context`` is the TLS context of ``dial.tls_context``; ``lookup`` resolves names (by default the system's way).
    ``api`` issues tokens of ServiceAccounts; ``extra_ca`` is the PEM text of ``context``. ``proxy`` is the way out, if
    not the direct one; ``refused`` is told of each refused destination.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        context: ssl.SSLContext,
        lookup: Lookup = system_lookup,
        *,
        api: Api | None = None,
        extra_ca: str | None = None,
        proxy: Proxy | None = None,
        refused: Refused = ignore,
    ) -> None:
        self._transports = Transports(policy, context, lookup, proxy=proxy, refused=refused)
        self._contexts = Contexts(context, extra_ca, self._transports.drop)
        self._api = api
        self._prepared: dict[str, _Prepared] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        for prepared in self._prepared.values():
            if prepared.authorizer is not None:
                prepared.authorizer.close()
        await self._transports.close()

    def check_url(self, url: str) -> str:
        """What may be shown of a URL that may be called. Raises DestinationRefused."""
        return self._transports.check(url).origin

    def forget(self, subscription: str) -> None:
        """Drop what is kept for a subscription that is gone."""
        prepared = self._prepared.pop(subscription, None)
        if prepared is not None and prepared.authorizer is not None:
            prepared.authorizer.close()
        self._contexts.use(subscription, None)

    async def send(self, target: Target, message: Message, timestamp: int, headers: tuple[_Header, ...] = ()) -> Result:
        """Make one attempt, signed for ``timestamp`` (Unix seconds), within ``target.timeout`` seconds altogether.

        ``headers`` are those of this attempt alone.

        Raises nothing but NotReadyError, when the target has no key to sign with.
        """
        return await self._guarded(
            target, lambda prepared, pool, own: _exchange(prepared, pool, message, timestamp, (*own, *headers))
        )

    async def options(self, target: Target, headers: tuple[_Header, ...]) -> Answer | Failure:
        """Make one OPTIONS request, with the same headers, authentication and deadline as a message, and these."""
        return await self._guarded(target, lambda prepared, pool, own: _ask(prepared, pool, (*own, *headers)))

    async def _guarded(self, target: Target, exchange: _Exchange[T]) -> T | Failure:
        waiting = True  # for a token
        TENANT.set(target.namespace)
        try:
            prepared = self._prepare(target)
            async with asyncio.timeout(target.timeout):
                own = () if prepared.authorizer is None else (await prepared.authorizer.header(),)
                waiting = False
                async with self._contexts.lend(target.namespace, target.tls) as context:
                    pool = self._transports.pool(prepared.endpoint, context)
                    return _heeded(prepared, own, await exchange(prepared, pool, own))
        except TimeoutError:
            return Failure(Reason.TOKEN_FAILED if waiting else Reason.TIMEOUT)
        except TokenFailed:
            return Failure(Reason.TOKEN_FAILED)
        except InvalidKey:  # the controller made the same check, so this is rare
            return Failure(Reason.TLS_FAILED)
        except _InvalidHeaderError:
            return Failure(Reason.INVALID_HEADER)
        except (DestinationRefused, httpx.TransportError, aiohttp.ClientError, OSError) as error:
            return Failure(reason_of(error))

    def _prepare(self, target: Target) -> _Prepared:
        prepared = self._prepared.get(target.subscription)
        if prepared is None or prepared.target is not target:
            self._contexts.use(target.subscription, target.tls)
            endpoint = self._transports.check(target.url)
            prepared = self._prepared[target.subscription] = _Prepared(
                target,
                URL(endpoint.url, encoded=True),
                own_headers(target),
                Signer(target.keys, target.schemes),
                endpoint,
                self._authorizer(prepared, target),
            )
        return prepared

    def _authorizer(self, before: _Prepared | None, target: Target) -> Authorizer | None:
        """The one that is there, and with it its token, as long as what it is made of stays the same."""
        if before is not None and before.authorizer is not None:
            if (before.target.auth, before.target.timeout) == (target.auth, target.timeout):
                return before.authorizer
            before.authorizer.close()
        return authorizer(target.auth, target.timeout, self._transports, self._api)


_OURS: tuple[_Header, ...] = (("user-agent", f"hookline/{__version__}"), ("accept-encoding", "identity"))


def own_headers(target: Target) -> tuple[_Header, ...]:
    """The headers that are the same for all messages of a target, in order; without a token that expires."""
    theirs = header_name(target.auth)
    return (
        *_OURS,
        *(((ORIGIN, target.origin),) if target.origin else ()),
        *(_custom_header(name, value, theirs) for name, value in target.headers),
        *(_custom_header(name, value) for name, value in static_headers(target.auth)),
    )


def signed_headers(message: Message, own: Iterable[_Header], timestamp: str, signature: str) -> CIMultiDict[str]:
    """All headers of a request, in their order: the message's, then ``own``, then those by which it is verified."""
    headers = CIMultiDict(message.headers)
    headers.extend(own)
    headers["webhook-id"] = message.id
    headers["webhook-timestamp"] = timestamp
    headers["webhook-signature"] = signature
    headers["hookline-sequence"] = str(message.sequence)
    return headers


def _heeded(prepared: _Prepared, own: tuple[_Header, ...], answer: T) -> T:
    """The answer to an exchange; a 401 ends the token that it carried, a success speaks for it."""
    if prepared.authorizer is not None:
        for _, value in own:
            if answer.status == 401:
                prepared.authorizer.refused(value)
            elif 200 <= answer.status < 300:
                prepared.authorizer.accepted()
    return answer


async def _exchange(
    prepared: _Prepared, pool: Transport, message: Message, timestamp: int, own: tuple[_Header, ...]
) -> Response:
    for _, value in message.headers:
        value.encode("ascii")  # aiohttp would send UTF-8
    signature = prepared.signer.sign(message.id, timestamp, message.body)
    headers = signed_headers(message, chain(prepared.headers, own), str(timestamp), signature)
    answer = await pool.post(prepared.url, headers, message.body)
    try:
        await _drain(answer.content)
    finally:
        answer.release()  # closes the connection, where the answer or the request is not complete
    return Response(answer.status, answer.headers.get("retry-after"), answer.headers.get("date"))


async def _ask(prepared: _Prepared, pool: Transport, headers: tuple[_Header, ...]) -> Answer:
    request = httpx.Request("OPTIONS", str(prepared.url), headers=[*prepared.headers, *headers])
    response = await pool.handle_async_request(request)
    await response.aclose()  # its body says nothing
    return Answer(response.status_code, response.headers)


async def _drain(body: aiohttp.StreamReader) -> None:
    """Read the body so that its connection can be used again, but not more of it than is decent."""
    read = 0
    while not body.at_eof():
        read += len(await body.readany())
        if read >= MAX_BODY:
            return


def _custom_header(name: str, value: str, theirs: str | None = None) -> _Header:
    """Check a subscription's own header once more, though admission did: here it would reach the wire."""
    lower = name.lower()
    if lower in RESERVED_HEADERS or lower == theirs or lower.startswith(RESERVED_PREFIXES):
        raise _InvalidHeaderError
    if not _TOKEN.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
        raise _InvalidHeaderError
    return lower, value


_KINDS: tuple[tuple[tuple[type[BaseException], ...], Reason], ...] = (
    ((DestinationRefused,), Reason.DESTINATION_REFUSED),
    ((ProxyFailed,), Reason.PROXY_FAILED),
    ((ssl.SSLError, aiohttp.ClientSSLError), Reason.TLS_FAILED),
    ((socket.gaierror, aiohttp.ClientConnectorDNSError), Reason.NAME_NOT_RESOLVED),
    ((aiohttp.ClientPayloadError, aiohttp.ClientResponseError), Reason.PROTOCOL),
    ((TimeoutError,), Reason.TIMEOUT),
    ((OSError, aiohttp.ClientConnectionError), Reason.UNREACHABLE),
)


def reason_of(error: BaseException) -> Reason:
    """The reason for a failed attempt, by what caused the error: wrappers may hide it."""
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
