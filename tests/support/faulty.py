"""An API server with faults: a proxy that understands HTTP and the watch, so that a fault hits exactly what it should.

In: the access to a real API server. Out: plain HTTP on loopback, with the faults that are switched on at the moment.
Only watches of ``plural`` and what a test names are harmed; everything else passes.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yarl import URL

from hookline.kube import Access, KubeClient

_HOP = {"transfer-encoding", "content-length", "connection", "content-encoding"}
Lines = Callable[[bytes], Iterable[bytes]]


def status(code: int, reason: str) -> dict[str, Any]:
    """What the API server sends as the object of an ERROR event, or as the body of a refusal."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": reason,
    }


def error_event(code: int, reason: str) -> bytes:
    """One line of a watch."""
    return json.dumps({"type": "ERROR", "object": status(code, reason)}).encode()


class Faulty:
    """The proxy. Its faults are attributes, to be set and unset at any time.

    ``refusal``: answer watch requests so (status, reason) instead of passing them on.
    ``greeting``: answer watch requests by 200 and this one line, then end.
    ``lines``: what becomes of each line of a watch (none, one, several).
    Counted: ``watches`` requests seen, ``audits`` (lists of metadata, first pages), ``touched`` lines that ``lines``
    changed.
    """

    def __init__(self, upstream: Access, plural: str = "configmaps") -> None:
        self.refusal: tuple[int, str] | None = None
        self.greeting: bytes | None = None
        self.lines: Lines = lambda line: (line,)
        self.watches = 0
        self.audits = 0
        self.touched = 0
        self.port = 0
        self._plural = plural
        self._upstream = upstream
        self._open: set[asyncio.Transport] = set()
        self._silent: set[asyncio.Transport] = set()
        self._cut: set[asyncio.Transport] = set()

    def has_watched(self, times: int) -> bool:
        """Whether so many watch requests, or more, were seen."""
        return self.watches >= times

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Faulty]:
        """Listen until the end of the block."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._upstream.tls()),
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
        )
        runner = web.ServerRunner(web.Server(self._handle), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            for transport in self._open:
                transport.abort()
            await runner.cleanup()
            await self._session.close()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[KubeClient]:
        """A client by way of this proxy."""
        access = replace(self._upstream, server=self.server, ca_path=None, certificate_path=None, private_key_path=None)
        client = KubeClient(access)
        try:
            yield client
        finally:
            await client.close()

    @property
    def server(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self.port}"

    def kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig for a process that shall come this way."""
        context = {"cluster": "faulty", "user": "nobody"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "faulty",
            "clusters": [{"name": "faulty", "cluster": {"server": self.server}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "faulty", "context": context}],
        }
        path.write_text(json.dumps(document))
        return path

    def reset(self) -> None:
        """Reset (RST) the watches that are open now."""
        for transport in tuple(self._open):
            sock: socket.socket = transport.get_extra_info("socket")
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()

    def stall(self) -> None:
        """Send nothing more on the watches that are open now, and keep them open."""
        self._silent |= self._open

    def cut(self) -> None:
        """End each watch that is open now in the middle of its next line."""
        self._cut |= self._open

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        watch = "watch" in request.query and request.path.endswith(f"/{self._plural}")
        if watch:
            self.watches += 1
            if self.refusal:
                code, reason = self.refusal
                return web.json_response(status(code, reason), status=code, headers={"Retry-After": "1"})
            if self.greeting:
                return web.Response(body=self.greeting + b"\n", content_type="application/json")
        elif "PartialObjectMetadataList" in request.headers.get("Accept", "") and request.query.get("limit") != "1":
            self.audits += "continue" not in request.query
        url = URL(self._upstream.server + request.raw_path, encoded=True)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in {"host", "content-length"}}
        try:
            async with self._session.request(request.method, url, headers=headers, data=await request.read()) as there:
                if watch and there.status == 200:
                    return await self._stream(request, there)
                kept = {k: v for k, v in there.headers.items() if k.lower() not in _HOP}
                return web.Response(status=there.status, headers=kept, body=await there.read())
        except (aiohttp.ClientError, OSError):  # on either side: both must see the connection end
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _stream(self, request: web.BaseRequest, there: aiohttp.ClientResponse) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        transport = request.transport
        assert transport is not None
        self._open.add(transport)
        rest = b""
        try:
            async for chunk in there.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                if transport in self._silent:
                    continue
                for line in lines:
                    if transport in self._cut:
                        await response.write(line[: len(line) // 2])
                        transport.close()
                        return response
                    told = list(self.lines(line))
                    self.touched += told != [line]
                    if told:
                        await response.write(b"".join(each + b"\n" for each in told))
            if transport in self._silent:
                await asyncio.Event().wait()
        finally:
            self._open.discard(transport)
            self._silent.discard(transport)
            self._cut.discard(transport)
        return response
