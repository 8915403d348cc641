"""How answers are read from a connection: as aiohttp reads them, but a body where none may be harms nobody.

In: bytes of a connection. Out: what aiohttp's parser makes of them. ``dial`` gives one to each connection.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp.client_proto import ResponseHandler

_BODILESS = re.compile(rb"HTTP/1\.[01] (?:204|304)[ \r]")
_ANNOUNCED = re.compile(rb"\r\n(?:content-length:[ \t]*0*[1-9]|transfer-encoding:)", re.IGNORECASE)
_END = b"\r\n\r\n"
LIFE_SECONDS = 60.0
"""Older connections are not used again, and are closed: who moved to a refused address is found out by then."""


class Answers(ResponseHandler):
    """The protocol of one connection.

    An answer of 204 or 304 ends with its head (RFC 9112 §6.3). What a receiver sends behind it would be read as the
    begin of another answer, and a success become a failure; so it is thrown away, and the connection is not used again.
    """

    _until = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note when it was."""
        self._until = self._loop.time() + LIFE_SECONDS
        super().connection_made(transport)

    @property
    def should_close(self) -> bool:
        """Whether the next request needs another connection."""
        return super().should_close or self._loop.time() > self._until

    def data_received(self, data: bytes) -> None:
        """Take what came from the socket."""
        if _BODILESS.match(data) and (self._payload is None or self._payload.is_eof()):
            end = data.find(_END) + len(_END)
            if end >= len(_END) and (end < len(data) or _ANNOUNCED.search(data, 0, end)):
                self.force_close()
                data = data[:end]
        super().data_received(data)
