"""An egress proxy for tests: it opens a tunnel to one port here, whatever it is asked for, and keeps what passed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from support.receiver import Receiver


@dataclass
class ConnectProxy:
    """Opens tunnels to ``forward``, whatever it is asked for. ``heads`` are the requests, ``wire`` what passed."""

    forward: int
    answer: bytes = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"
    heads: list[bytes] = field(default_factory=list)
    wire: bytearray = field(default_factory=bytearray)
    port: int = 0

    @property
    def asked(self) -> list[str]:
        return [head.split()[1].decode() for head in self.heads]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
            if self.answer.startswith(b"HTTP/1.1 200") and self.answer.endswith(b"\r\n\r\n"):
                there, back = await asyncio.open_connection("127.0.0.1", self.forward)
                await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                self.wire += data
                writer.write(data)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def proxy_to(receiver: Receiver, **fields: Any) -> AsyncIterator[ConnectProxy]:
    made = ConnectProxy(receiver.port, **fields)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
