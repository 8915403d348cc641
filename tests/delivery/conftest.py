"""What the delivery tests share: a target, messages, a client that may reach the loopback, and misbehaving servers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trustme

from hookline import keys
from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.model import Message, SigningKeys, Target
from hookline.spec import RetryPolicy
from support.receiver import Receiver

LOOPBACK = AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"])
KEYS = SigningKeys((keys.new_hmac(),), (keys.new_ed25519(),))

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def target(url: str, **changes: Any) -> Target:
    """A target with sensible values; ``changes`` are fields of ``Target``."""
    plain = Target(
        subscription="sub-1",
        namespace="shop",
        name="orders",
        url=url,
        headers=(),
        keys=KEYS,
        schemes=("v1", "v1a"),
        timeout=15.0,
        retry=RetryPolicy((0.0, 0.0, 0.0), 3600),
        max_in_flight=4,
    )
    return replace(plain, **changes)


def message(
    number: int = 1, subscription: str = "sub-1", body: bytes = b'{"a": "\xc3\xa9"}', **changes: Any
) -> Message:
    plain = Message(
        id=f"msg_{subscription}_{number}",
        subscription=subscription,
        sequence=number,
        object_uid=f"object-{number}",
        event_type="test",
        headers=(("content-type", "application/json"),),
        body=body,
        observed=0.0,
    )
    return replace(plain, **changes)


@dataclass(frozen=True)
class Toolbox:
    """Handed to tests as a fixture, since tests can't import each other."""

    target: Callable[..., Target] = target
    message: Callable[..., Message] = message
    keys: SigningKeys = KEYS
    loopback: AddressPolicy = field(default_factory=lambda: LOOPBACK)


@pytest.fixture
def tools() -> Toolbox:
    return Toolbox()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as server:
        yield server


@pytest.fixture
async def client(receiver: Receiver) -> AsyncIterator[Client]:
    """Trusts ``receiver``'s authority and may reach the loopback."""
    async with Client(LOOPBACK, tls_context(receiver.ca_pem)) as made:
        yield made


@dataclass
class Raw:
    """A server that speaks by hand. ``ended`` is set when its handler is over: the other side closed, or it is done."""

    port: int
    ca_pem: str
    connections: int
    ended: asyncio.Event

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[[Handler], Awaitable[Raw]]]:
    """Start TLS servers whose handler gets each connection after the request's head was read."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(handler: Handler) -> Raw:
            authority = trustme.CA()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert("127.0.0.1").configure_cert(context)
            state = Raw(0, authority.cert_pem.bytes().decode(), 0, asyncio.Event())

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                state.connections += 1
                try:
                    await reader.readuntil(b"\r\n\r\n")
                    await handler(reader, writer)
                except (ConnectionError, asyncio.IncompleteReadError):
                    pass
                finally:
                    writer.transport.abort()
                    state.ended.set()

            server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            state.port = server.sockets[0].getsockname()[1]
            return state

        yield start
