"""What belongs to the cluster itself, as the cluster tells it: no delivery may go there, though it be a public address.

In: ServiceCIDRs (networking.k8s.io/v1, Kubernetes 1.33 and later), Nodes, the EndpointSlice ``kubernetes`` that the API
servers keep of themselves, and the address that the operator itself uses for them. Out: networks, to the address policy
of the deliver room. Loopback is left out: it is refused anyway, and belongs to a machine rather than to a cluster.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Any
from urllib.parse import urlsplit

from hookline.controller.polled import Api
from hookline.errors import ApiError, Forbidden, NotServed
from hookline.model import Object

log = logging.getLogger(__name__)

Network = IPv4Network | IPv6Network

FIRST_TRIES = 10
FIRST_PAUSE_SECONDS = 3.0
PAGE = 100
"""Nodes come with the names of all their images: a page of so many is decoded in a few milliseconds."""

SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
NODES = "/api/v1/nodes"
API_SERVERS = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"


class ClusterRanges:
    """Keeps the policy's knowledge of the cluster. ``learn`` gets all that is known, whenever it changed."""

    def __init__(self, api: Api, server: str, learn: Callable[[frozenset[Network]], None]) -> None:
        self._api = api
        self._server = urlsplit(server).hostname or ""
        self._learn = learn
        self._known: dict[str, frozenset[Network]] = {}
        self._told: frozenset[Network] | None = None
        self._missing: set[str] = set()

    async def first(self) -> None:
        """Learn before anything is sent. An API server that fails is asked again for half a minute, not for ever."""
        for _ in range(FIRST_TRIES):
            try:
                return await self.refresh()
            except ApiError:
                await asyncio.sleep(FIRST_PAUSE_SECONDS)
        log.warning("the cluster's own address ranges are not known yet, only the setting refuse_cidrs counts for now")
        return None

    async def refresh(self) -> None:
        """Ask for everything again. What can't be had now stays as it was. Raises ApiError, after all was asked for.

        What the operator may not read, or the cluster does not serve, is no error: that is said once in the log.
        """
        failure: ApiError | None = None
        for what, path, read in (
            ("ServiceCIDRs", SERVICE_CIDRS, _of_services),
            ("Nodes", NODES, _of_node),
            ("the EndpointSlice of the API server", API_SERVERS, _of_slice),
        ):
            try:
                texts = [text async for item in self._items(path) for text in read(item)]
            except (Forbidden, NotServed) as error:
                self._miss(what, error)
            except ApiError as error:
                failure = error
            else:
                self._missing.discard(what)
                self._known[path] = networks(texts)
        if addresses := await self._server_addresses():
            self._known["server"] = networks(addresses)
        everything = frozenset().union(*self._known.values())
        if everything != self._told:
            self._told = everything
            self._learn(everything)
            log.info("learned the cluster's own address ranges", extra={"ranges": len(everything)})
        if failure is not None:
            raise failure

    async def _items(self, path: str) -> AsyncIterator[Object]:
        if path == API_SERVERS:
            yield await self._api.request("GET", path)
            return
        more = ""
        while True:
            asked = {"limit": str(PAGE), **({"continue": more} if more else {})}
            page = await self._api.request("GET", path, params=asked)
            for item in page["items"]:
                yield item
            more = page["metadata"].get("continue", "")
            if not more:
                return

    async def _server_addresses(self) -> list[str]:
        """Of the API server as the operator reaches it; a name that has none now has those that it had."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(self._server, None)
        except OSError:
            return []
        return [str(address[0]) for *_, address in found]

    def _miss(self, what: str, error: ApiError) -> None:
        if what not in self._missing:
            self._missing.add(what)
            why = "does not have" if isinstance(error, NotServed) else "does not let the operator read"
            log.warning("the cluster %s %s: name the ranges in refuse_cidrs, if they are public addresses", why, what)


def networks(texts: Iterable[str]) -> frozenset[Network]:
    """The networks of these texts, without loopback and what is none; an IPv4 address in IPv6 form counts as IPv4."""
    found = set()
    for text in texts:
        try:
            network = ipaddress.ip_network(text.partition("%")[0], strict=False)
        except ValueError:  # e.g. a node's host name
            continue
        start = network.network_address
        if isinstance(start, ipaddress.IPv6Address) and start.ipv4_mapped is not None and network.prefixlen >= 96:
            network = ipaddress.ip_network((start.ipv4_mapped, network.prefixlen - 96))
        if not network.is_loopback:
            found.add(network)
    return frozenset(found)


def _of_services(item: Object) -> list[str]:
    return list((item.get("spec") or {}).get("cidrs") or ())


def _of_node(item: Object) -> list[str]:
    spec: dict[str, Any] = item.get("spec") or {}
    addresses = (item.get("status") or {}).get("addresses") or ()
    pods = [*(spec.get("podCIDRs") or ()), spec.get("podCIDR") or ""]
    return [*pods, *(address.get("address", "") for address in addresses)]


def _of_slice(item: Object) -> list[str]:
    return [address for endpoint in item.get("endpoints") or () for address in endpoint.get("addresses") or ()]
