"""The httpx transport under the client: httpx-aiohttp's, for the hot path, with the URL exactly as it was written.

In: an ``httpx.Request``. Out: an ``httpx.Response`` whose body is not read yet. No redirects, cookies, proxies,
decompression or timeouts of its own: the client puts one deadline around the whole attempt.
"""

from __future__ import annotations

import io
import ssl

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions
from multidict import CIMultiDict
from yarl import URL

from hookline.deliver.dial import GuardedConnector

_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_READ_BUFFER = 32 * 1024  # aiohttp stops reading from the socket at twice this
_IN_ONE_PIECE = 1024 * 1024  # a larger body is sent piece by piece, other requests in between


class Transport(AiohttpTransport):
    """One pool of connections. Must be made inside a running event loop.

    Errors are httpx's with aiohttp's as their cause, or aiohttp's own where httpx has no like.
    """

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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request whose body is in memory; returns when the head of the answer is there.

        Unlike the parent it does not let yarl rewrite percent-encodings: some receivers sign or compare the URL.
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
                timeout=_NO_TIMEOUT,
            )
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=AiohttpResponseStream(answer), request=request
        )
