"""Claims about answers that carry a body where none may be: a success stays one, and nothing is read into the next."""

from __future__ import annotations

import time

import aiohttp
import pytest

from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.verdict import Response

STRAY = b"HTTP/1.1 500 Stray\r\nContent-Length: 0\r\n\r\n"
BODIES = {
    "announced": b"Content-Length: 5\r\n\r\nhello",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "not announced": b"\r\nhello",
    "like an answer": b"\r\n" + STRAY,
}


def always(answer: bytes):
    async def speak(reader, writer):
        while True:
            writer.write(answer)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")

    return speak


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_where_none_may_be_changes_no_verdict_and_its_connection_is_not_used_again(
    raw_server, tools, status, body
):
    server = await raw_server(always(b"HTTP/1.1 %d X\r\n" % status + body))
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        for number in range(3):
            result = await client.send(tools.target(server.url), tools.message(number), int(time.time()))
            assert result == Response(status)
    assert server.connections == 3


@pytest.mark.parametrize("rest", [b"\r\n", b"Content-Length: 0\r\n\r\n"])
async def test_a_204_without_a_body_keeps_its_connection(raw_server, tools, rest):
    server = await raw_server(always(b"HTTP/1.1 204 No Content\r\n" + rest))
    async with Client(tools.loopback, tls_context(server.ca_pem)) as client:
        await client.send(tools.target(server.url), tools.message(1), int(time.time()))
        await client.send(tools.target(server.url), tools.message(2), int(time.time()))
    assert server.connections == 1


async def test_aiohttp_alone_takes_such_an_answer_for_a_broken_one(raw_server):
    """The control."""
    server = await raw_server(always(b"HTTP/1.1 204 X\r\n" + BODIES["announced"]))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls_context(server.ca_pem))) as session:
        with pytest.raises(aiohttp.ClientResponseError):
            await session.post(server.url)
