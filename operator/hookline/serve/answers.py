"""Sending an answer: in pieces, so that little of it is in memory, and to those who read it.

In: a request and what it is answered with. Out: bytes at the client's pace, in ``STUCK_SECONDS`` or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from hookline.serve import shapes
from hookline.serve.refusals import Refused

STUCK_SECONDS = 30.0
PIECE = 16 * 1024
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Server": "hookline"}
"""Of every answer: nobody keeps it, and it is what it says."""
_JSON = {**HEADERS, "Content-Type": "application/json"}


async def begin(request: web.BaseRequest) -> web.StreamResponse:
    """The beginning of an answer whose length nobody knows yet. Raises ConnectionError."""
    response = web.StreamResponse(headers=_JSON)
    async with patience(request):
        await response.prepare(request)
    return response


async def send(request: web.BaseRequest, parts: Iterable[bytes]) -> web.StreamResponse:
    """A whole answer. Raises ConnectionError, also when it takes its reader too long."""
    async with patience(request):
        response = await begin(request)
        for part in parts:
            await _write(response, part)
        await response.write_eof()
    return response


async def write(request: web.BaseRequest, response: web.StreamResponse, part: bytes) -> None:
    """A part of an answer. Raises ConnectionError."""
    async with patience(request):
        await _write(response, part)


async def end(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """The end of an answer. Raises ConnectionError."""
    async with patience(request):
        await response.write_eof()
    return response


async def refuse(request: web.BaseRequest, refused: Refused) -> web.StreamResponse:
    """A refusal, and the end of the connection: what else came on it is not answered. Raises ConnectionError."""
    headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after else {}
    if refused.code == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refused.code == 405:
        headers["Allow"] = "GET"
    response = closing(refused, headers)
    async with patience(request):
        await response.prepare(request)
        await response.write_eof()
    return response


def closing(refused: Refused, headers: Mapping[str, str] | None = None) -> web.Response:
    """A refusal that is not sent yet."""
    body = orjson.dumps(shapes.status(refused))
    response = web.Response(body=body, status=refused.code, headers={**_JSON, **(headers or {})})
    response.force_close()
    return response


@asynccontextmanager
async def patience(request: web.BaseRequest) -> AsyncIterator[None]:
    """Send, unless the client does not read: then it is cut off, and ConnectionResetError raised."""
    try:
        async with asyncio.timeout(STUCK_SECONDS):
            yield
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from None


async def _write(response: web.StreamResponse, part: bytes) -> None:
    view = memoryview(part)
    for first in range(0, len(view), PIECE):
        # The piece alone is copied to what waits to be sent, and the next one comes when there is room.
        await response.write(bytes(view[first : first + PIECE]))
