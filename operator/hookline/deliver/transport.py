"""Pools of connections under the client: one for each kind of destination and TLS context.

In: a request. Out: an answer whose body is not read yet. No redirects, cookies, proxies, decompression or timeouts of
its own: whoever asks puts one deadline around it. Messages go by ``post``, which is aiohttp's own (the hot path);
whatever else is asked of a receiver or of its token endpoint goes by ``handle_async_request``, httpx's seam.
"""

from __future__ import annotations

import asyncio
import io
import ssl

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from multidict import CIMultiDict
from yarl import URL

from hookline.deliver.dial import GuardedConnector, ProxiedConnector, Refused, Resolver, ignore
from hookline.deliver.guard import AddressPolicy, Endpoint, Stage
from hookline.deliver.lookups import Lookup, Lookups, system_lookup
from hookline.deliver.proxy import Proxy
from hookline.errors import DestinationRefused

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_READ_BUFFER = 32 * 1024  # aiohttp stops reading from the socket at twice this
_IN_ONE_PIECE = 1024 * 1024  # a larger body is sent piece by piece, other requests in between


class Transport(AiohttpTransport):
    """One pool of connections. Must be made inside a running event loop."""

    def __init__(self, connector: GuardedConnector, context: ssl.SSLContext) -> None:
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=_NO_TIMEOUT,
            read_bufsize=_READ_BUFFER,
        )
        super().__init__(verify=context, trust_env=False, client=self._session)

    async def post(self, url: URL, headers: CIMultiDict[str], body: bytes) -> aiohttp.ClientResponse:
        """Post a body that is in memory; returns when the head of the answer is there. Release the answer.

        ``url`` must be made with ``encoded=True``, so that percent-encodings go out as they were written. Errors are
        aiohttp's, OSError and DestinationRefused.
        """
        return await self._session.request(
            "POST",
            url,
            headers=headers,
            data=body if len(body) <= _IN_ONE_PIECE else io.BytesIO(body),
            allow_redirects=False,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request whose body is in memory; returns when the head of the answer is there.

        Unlike the parent it does not let yarl rewrite percent-encodings: some receivers sign or compare the URL.
        Errors are httpx's with aiohttp's as their cause, or aiohttp's own where httpx has no like.
        """
        headers = CIMultiDict([(name.decode("ascii"), value.decode("ascii")) for name, value in request.headers.raw])
        content = request.content
        with map_aiohttp_exceptions():
            answer = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=headers,
                data=content if len(content) <= _IN_ONE_PIECE else io.BytesIO(content),
                allow_redirects=False,
            )
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=AiohttpResponseStream(answer), request=request
        )


class Transports:
    """All pools of one client. Make it inside the running event loop, and close it there.

    ``context`` is the TLS context for those that ask for no other; ``lookup`` resolves names. Everything goes through
    the ``proxy``, if there is one, but what goes to hosts that the administrator trusts.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        context: ssl.SSLContext,
        lookup: Lookup = system_lookup,
        *,
        proxy: Proxy | None = None,
        refused: Refused = ignore,
    ) -> None:
        self._policy = policy
        self._context = context
        self._lookups = Lookups(lookup)
        self._proxy = proxy
        self._refused = refused
        self._made: dict[tuple[bool, ssl.SSLContext], Transport] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def check(self, url: str) -> Endpoint:
        """Check a URL. Raises DestinationRefused."""
        try:
            return self._policy.check_url(url)
        except DestinationRefused:
            self._refused(Stage.URL)
            raise

    def pool(self, endpoint: Endpoint, context: ssl.SSLContext | None = None) -> Transport:
        """The connections to use for an endpoint that was checked, with this TLS context or the usual one."""
        context, trusted = context or self._context, endpoint.trusted
        pool = self._made.get((trusted, context))
        if pool is None:
            pool = self._made[trusted, context] = Transport(self._connector(trusted, context), context)
        return pool

    def _connector(self, trusted: bool, context: ssl.SSLContext) -> GuardedConnector:
        if trusted:
            return GuardedConnector(None, Resolver(None, self._lookups), context)
        policy, refused, lookups = self._policy, self._refused, self._lookups
        resolver = Resolver(policy, lookups, refused)
        if self._proxy is None:
            return GuardedConnector(policy, resolver, context, refused)
        return ProxiedConnector(policy, resolver, context, refused, self._proxy, lookups)

    def drop(self, context: ssl.SSLContext) -> None:
        """Close the pools of a TLS context that nobody uses now, nor asks for any more."""
        for trusted in (False, True):
            pool = self._made.pop((trusted, context), None)
            if pool is not None:
                task = asyncio.create_task(pool.aclose())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close all connections, whether or not they are used."""
        made, self._made = self._made, {}  # attempts that fail now let go of their contexts
        await asyncio.gather(*self._closing, *(pool.aclose() for pool in made.values()))
