"""Connections to vetted addresses only: name lookup, sockets and TLS contexts for the client.

In: a host and port from aiohttp's connector. Out: addresses and sockets that the policy of ``guard`` allows.
Every connection passes three gates: each answer of the lookup, the socket before it connects (an IP literal needs no
lookup), and the peer after it connected, before the first byte of a request.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from hookline.deliver.answers import Answers
from hookline.deliver.guard import AddressPolicy, Stage
from hookline.deliver.lookups import TENANT, AddressInfo, Lookups
from hookline.deliver.proxy import Proxy
from hookline.errors import DestinationRefused, SettingsError

Refused = Callable[[Stage], None]
"""Told of each refusal."""

KEEP_ALIVE_SECONDS = 4.0
"""Shorter than the 5 s after which common servers (Node.js, uvicorn) close: no request meets a closing connection."""


class _SocketRefused(DestinationRefused, OSError):
    """A refusal in the form in which the connection code expects its errors."""


def ignore(_: Stage) -> None:
    """Nobody wants to be told."""


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
    """Name lookups; one bad address in an answer refuses the whole name.

    Names are absolute (looked up with a trailing dot): the search domains of a pod never apply. Without a policy (for
    hosts that the administrator trusts) names are looked up as they are written, and any address will do.
    """

    def __init__(self, policy: AddressPolicy | None, lookups: Lookups, refused: Refused = ignore) -> None:
        self._policy = policy
        self._lookups = lookups
        self._refused = refused

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 (aiohttp's signature; every family is wanted)
    ) -> list[ResolveResult]:
        """The addresses of a host, in the system's order. Raises OSError or DestinationRefused."""
        name = host if self._policy is None else host.rstrip(".") + "."
        results: list[ResolveResult] = []
        for found, _, proto, _, address in await self._lookups.find(TENANT.get(), name, port):
            self._vet(address[0])
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

    def _vet(self, address: str) -> None:
        if self._policy is None:
            return
        try:
            self._policy.vet(address)
        except DestinationRefused:
            self._refused(Stage.RESOLVE)
            raise

    async def close(self) -> None:
        """Nothing to close."""


class GuardedConnector(aiohttp.TCPConnector):
    """A connector that dials only what a policy allows (None: anything), and looks at the peer again."""

    def __init__(
        self, policy: AddressPolicy | None, resolver: Resolver, context: ssl.SSLContext, refused: Refused = ignore
    ) -> None:
        super().__init__(
            resolver=resolver,
            use_dns_cache=False,
            ssl=context,
            limit=0,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            socket_factory=self._socket,
        )
        self._policy = policy
        self._refused = refused
        self._factory = cast("partial[ResponseHandler]", partial(Answers, self._loop))

    def _socket(self, info: AddressInfo) -> socket.socket:
        family, kind, proto, _, address = info
        self._vet(address[0], Stage.CONNECT)
        return socket.socket(family, kind, proto)

    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        protocol = await super()._create_connection(*args, **kwargs)
        peer = protocol.transport.get_extra_info("peername") if protocol.transport is not None else None
        try:
            self._vet_peer(peer[0] if peer else "")
        except DestinationRefused:
            protocol.close()
            raise
        return protocol

    def _vet_peer(self, address: str) -> None:
        self._vet(address, Stage.PEER)

    def _vet(self, address: str, stage: Stage) -> None:
        if self._policy is None:
            return
        try:
            self._policy.vet(address)
        except DestinationRefused as refusal:
            self._refused(stage)
            raise _SocketRefused(str(refusal)) from None


class ProxiedConnector(GuardedConnector):
    """The same through the egress proxy: what is vetted is the address that the proxy is asked for.

    The peer is the proxy, so there is nothing to be learned from it. With ``proxy.by_name`` no name is looked up here.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        resolver: Resolver,
        context: ssl.SSLContext,
        refused: Refused,
        proxy: Proxy,
        lookups: Lookups,
    ) -> None:
        super().__init__(policy, resolver, context, refused)
        self._proxy = proxy
        self._lookups = lookups

    async def _resolve_host(self, host: str, port: int, traces: Any = None) -> list[ResolveResult]:
        if not self._proxy.by_name or _is_address(host):
            return await super()._resolve_host(host, port, traces)
        return [
            {"hostname": host, "host": host, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0},
        ]

    async def _wrap_create_connection(
        self,
        *args: Any,
        addr_infos: list[Any],
        req: aiohttp.ClientRequest,
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002, ASYNC109 (aiohttp's signature; the client has the deadline)
        client_error: type[Exception] = aiohttp.ClientConnectorError,
        **kwargs: Any,
    ) -> Any:
        """Aiohttp calls this until one of the addresses will do, each time without the first of the last time."""
        host, port = addr_infos[0][4][:2]
        try:
            if not self._proxy.by_name or _is_address(host):
                self._vet(host, Stage.CONNECT)
            tunnel = await self._proxy.tunnel(self._lookups, host, port)
            try:
                return await asyncio.get_running_loop().create_connection(*args, **kwargs, sock=tunnel)
            except BaseException:
                tunnel.close()
                raise
        except ssl.SSLCertVerificationError as error:
            raise aiohttp.ClientConnectorCertificateError(req.connection_key, error) from error
        except ssl.SSLError as error:
            raise aiohttp.ClientConnectorSSLError(req.connection_key, error) from error
        except OSError as error:
            raise client_error(req.connection_key, error) from error

    def _vet_peer(self, address: str) -> None:
        """It is the proxy's."""


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdecimal()
