"""Connections to vetted addresses only: name lookup, sockets and TLS contexts for the client.

In: a host and port from aiohttp's connector. Out: addresses and sockets that the policy of ``guard`` allows.
Every connection passes three gates: each answer of the lookup, the socket before it connects (an IP literal needs no
lookup), and the peer after it connected, before the first byte of a request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from hookline.deliver.guard import AddressPolicy
from hookline.errors import DestinationRefused, SettingsError

AddressInfo = tuple[int, int, int, str, Any]
Lookup = Callable[[str, int], Sequence[AddressInfo]]
"""Blocking name lookup; raises OSError. What ``getaddrinfo`` returns, for stream sockets."""

LOOKUP_THREADS = 32
"""asyncio's own pool has six threads on two cores: six hung lookups would stop everybody's."""

KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers (Node.js, uvicorn) close: no request meets a closing connection."""


class _SocketRefused(DestinationRefused, OSError):
    """A refusal in the form in which the connection code expects its errors."""


def system_lookup(host: str, port: int) -> Sequence[AddressInfo]:
    """The operating system's ``getaddrinfo``, for TCP."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)


def tls_context(extra_ca: str | None = None) -> ssl.SSLContext:
    """A client context: TLS 1.2 or later, the system's authorities and those of a PEM text.

    Raises SettingsError when the text holds no certificate.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if extra_ca:
        try:
            context.load_verify_locations(cadata=extra_ca)
        except (ssl.SSLError, ValueError):
            raise SettingsError("ca_bundle: it must hold certificates in PEM form") from None
    return context


class Resolver(AbstractResolver):
    """Name lookups in threads of its own; one bad address in an answer refuses the whole name.

    Names are absolute (looked up with a trailing dot): the search domains of a pod never apply. Without a policy (for
    hosts that the administrator trusts) names are looked up as they are written, and any address will do.
    """

    def __init__(self, policy: AddressPolicy | None, lookup: Lookup, pool: ThreadPoolExecutor) -> None:
        self._policy = policy
        self._lookup = lookup
        self._pool = pool
        self._running: dict[tuple[str, int], asyncio.Future[Sequence[AddressInfo]]] = {}

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 (aiohttp's signature; every family is wanted)
    ) -> list[ResolveResult]:
        """The addresses of a host, in the system's order. Raises OSError or DestinationRefused."""
        name = host if self._policy is None else host.rstrip(".") + "."
        results: list[ResolveResult] = []
        for found, _, proto, _, address in await self._share(name, port):
            if self._policy is not None:
                self._policy.vet(address[0])
            results.append(
                {
                    "hostname": host,
                    "host": address[0],
                    "port": port,
                    "family": found,
                    "proto": proto,
                    "flags": socket.AI_NUMERICHOST,
                }
            )
        if not results:
            raise OSError("the name has no address")
        return results

    async def _share(self, name: str, port: int) -> Sequence[AddressInfo]:
        """One lookup for all who want the same name at once, so that a name that hangs takes one thread."""
        key = (name, port)
        running = self._running.get(key)
        if running is None:
            loop = asyncio.get_running_loop()
            running = loop.run_in_executor(self._pool, self._lookup, name, port)
            self._running[key] = running
            running.add_done_callback(lambda done: self._finish(key, done))
        return await asyncio.shield(running)

    def _finish(self, key: tuple[str, int], done: asyncio.Future[Sequence[AddressInfo]]) -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # everybody who waited may be gone by now

    async def close(self) -> None:
        """Nothing to close: the pool is its maker's."""


class GuardedConnector(aiohttp.TCPConnector):
    """A connector that dials only what a policy allows (None: anything), and looks at the peer again."""

    def __init__(self, policy: AddressPolicy | None, resolver: Resolver, context: ssl.SSLContext) -> None:
        super().__init__(
            resolver=resolver,
            use_dns_cache=False,
            ssl=context,
            limit=0,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            socket_factory=self._socket,
        )
        self._policy = policy

    def _socket(self, info: AddressInfo) -> socket.socket:
        family, kind, proto, _, address = info
        self._vet(address[0])
        return socket.socket(family, kind, proto)

    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        protocol = await super()._create_connection(*args, **kwargs)
        peer = protocol.transport.get_extra_info("peername") if protocol.transport is not None else None
        try:
            self._vet(peer[0] if peer else "")
        except DestinationRefused:
            protocol.close()
            raise
        return protocol

    def _vet(self, address: str) -> None:
        if self._policy is None:
            return
        try:
            self._policy.vet(address)
        except DestinationRefused as refusal:
            raise _SocketRefused(str(refusal)) from None
