"""A place that owns the forbidden addresses, counts who connects to them, and runs the real client against it.

    unshare -rn python -m support.canary netns       (all special-purpose blocks, in a network namespace)
    python -m support.canary loopback                (127.0.0.1, 127.0.0.2 and ::1, where namespaces are not permitted)

Prints one JSON object: for each way of reaching out, how many URLs were tried and how many connections were accepted.
The verdict is the listener's, so it needs no opinion of what a URL means. The ways that begin with ``control`` are not
guarded.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import itertools
import json
import logging
import os
import random
import socket
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
import trustme
from yarl import URL

from hookline.api.parse import parse
from hookline.controller.secrets import Secrets
from hookline.controller.target import prepare
from hookline.deliver.client import Client
from hookline.deliver.dial import tls_context
from hookline.deliver.guard import AddressPolicy
from hookline.deliver.lookups import AddressInfo, Lookup
from hookline.deliver.verdict import Response
from hookline.errors import DestinationRefused, SpecError
from hookline.model import ClientCredentials
from support.controlling import ScriptedApi, secret, webhook
from support.sending import message, target
from support.spellings import FORBIDDEN, OK, TARGETS, generated, published

USUAL_PORTS = (80, 443, 2379, 6443, 8080, 8443, 10250)
CONTROLS = {"netns": 1500 if "HOOKLINE_CORPORA" in os.environ else 400, "loopback": 200}
PATIENCE = 0.5
"""Seconds. Nothing here is far away; what takes longer left the machine for an address that nobody answers."""

REBINDINGS = 1000
REDIRECTS = 1000
AT_ONCE = 32

Item = TypeVar("Item")


@dataclass
class Canary:
    """Listens everywhere and counts. ``accepted`` are the local addresses that somebody connected to, but ``good``."""

    good: str
    accepted: list[tuple[str, int]] = field(default_factory=list)
    servers: list[asyncio.Server] = field(default_factory=list)
    _addresses: list[tuple[str, int]] = field(default_factory=list)
    _own: dict[tuple[str, int], asyncio.Event] = field(default_factory=dict)

    async def listen(self, hosts: Sequence[str], port: int) -> None:
        for host in hosts:
            with contextlib.suppress(OSError):
                self.servers.append(await asyncio.start_server(self._accept, host, port, backlog=1024))
                self._addresses.append(({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port))

    async def settle(self) -> None:
        """Let all connections be counted that were made: each listener accepts them in turn, one of our own at last."""
        loop = asyncio.get_running_loop()
        for address in self._addresses:
            with socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET) as last:
                last.setblocking(False)
                last.bind((address[0], 0))
                accepted = self._own[last.getsockname()[:2]] = asyncio.Event()
                async with asyncio.timeout(60):
                    await loop.sock_connect(last, address)
                    await accepted.wait()

    def _accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port = writer.get_extra_info("sockname")[:2]
        own = self._own.pop(writer.get_extra_info("peername")[:2], None)
        if own is not None:
            own.set()
        elif address.removeprefix("::ffff:") != self.good:
            self.accepted.append((address, port))
        writer.transport.abort()


@dataclass
class Place:
    """Where it happens. ``good`` is an address that may be reached, with a receiver at ``receiver_port``."""

    mode: str
    good: str
    addresses: tuple[str, ...]
    port: int
    canary: Canary
    policy: AddressPolicy
    open_policy: AddressPolicy
    blocks: int = 0
    authority: trustme.CA = field(default_factory=trustme.CA)
    receiver_port: int = 0
    served: int = 0
    locations: Sequence[str] = ()

    async def receive(self) -> None:
        """A receiver that answers with a redirect (``/n``: to the n-th of ``locations``) and closes the connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert(OK, self.good).configure_cert(context)

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")
                number = int(head.split()[1].lstrip(b"/") or 0)
                self.served += 1
                place = self.locations[number].encode("utf-8", "replace") if self.locations else b"/"
                place = bytes(byte for byte in place if byte >= 0x20 and byte != 0x7F)  # else it is no header
                writer.write(b"HTTP/1.1 307 There\r\nLocation: %s\r\nConnection: close\r\n" % place)
                writer.write(b"Content-Length: 0\r\n\r\n")
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, self.good, 0, ssl=context, backlog=1024)
        self.receiver_port = server.sockets[0].getsockname()[1]
        self.canary.servers.append(server)

    def client(self, policy: AddressPolicy | None = None, **options: Any) -> Client:
        return Client(policy or self.policy, tls_context(self.authority.cert_pem.bytes().decode()), **options)

    async def count(self, work: Awaitable[object]) -> int:
        """How many connections somebody's work made to what nobody should reach."""
        before = len(self.canary.accepted)
        await work
        await self.canary.settle()
        return len(self.canary.accepted) - before


def answers(*addresses: str) -> Lookup:
    def lookup(host: str, port: int) -> list[AddressInfo]:
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    return lookup


async def network_namespace() -> Place:
    """All special-purpose blocks become addresses of this (empty) network namespace."""

    def ip(*words: str) -> bool:
        return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0

    if not ip("link", "set", "lo", "up"):
        raise SystemExit("lo can't be set up: this must run in a network namespace of its own")
    blocks = sum(
        ip(*(["-6"] if ":" in block else []), "route", "add", "local", block, "dev", "lo") for block in FORBIDDEN
    )
    ip("addr", "add", "1.1.1.1/32", "dev", "lo")
    canary = Canary("1.1.1.1")
    http = frozenset({OK, *TARGETS})
    everything = AddressPolicy.parse(allowed_cidrs=["0.0.0.0/0", "::/0"], http_hosts=http)
    place = Place("netns", "1.1.1.1", TARGETS, 8080, canary, AddressPolicy.parse(http_hosts=http), everything, blocks)
    await place.receive()
    for port in {*USUAL_PORTS, random.randrange(20_000, 30_000)} - {place.receiver_port}:
        await canary.listen(["0.0.0.0", "::"], port)
    return place


async def loopback() -> Place:
    """Two addresses of the loopback and a port of their own; a third is the receiver's."""
    canary = Canary("127.0.0.77")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    await canary.listen(["127.0.0.1", "127.0.0.2", "::1"], port)
    http = ["127.0.0.1", "127.0.0.2", "::1", OK]
    policy = AddressPolicy.parse(allowed_cidrs=["127.0.0.77/32"], http_hosts=http)
    everything = AddressPolicy.parse(allowed_cidrs=["0.0.0.0/0", "::/0"], http_hosts=http)
    addresses = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1")
    place = Place("loopback", "127.0.0.77", addresses, port, canary, policy, everything)
    await place.receive()
    return place


async def every(items: Iterable[Item], work: Callable[[Item], Awaitable[object]]) -> None:
    """Do it for all, some at once."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:
            await work(item)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


# The ways to a destination. Each gets the client and the URL.


async def destination(client: Client, url: str) -> None:
    """``spec.destination.url``, past admission, at the time of sending."""
    await client.send(target(url, subscription="s", timeout=PATIENCE), message(1), 1)


async def from_spec(client: Client, url: str) -> None:
    """``spec.destination.url``, as the controller reads and checks it."""
    await _prepared(client, {"url": url}, ScriptedApi())


async def from_secret(client: Client, url: str) -> None:
    """``spec.destination.urlFrom``, as the controller reads and checks it."""
    api = ScriptedApi()
    api.secrets["endpoint"] = secret(url=url)
    await _prepared(client, {"urlFrom": {"secretKeyRef": {"name": "endpoint", "key": "url"}}}, api)


async def _prepared(client: Client, place: dict[str, object], api: ScriptedApi) -> None:
    api.secrets["keys"] = _KEYS
    with contextlib.suppress(SpecError):
        subscription = parse(
            webhook(destination=place, delivery={"timeoutSeconds": 1}, signing={"secretRef": {"name": "keys"}})
        )
        prepared = await prepare(subscription, Secrets(api, lambda _: None), client.check_url)
        if prepared.target is not None:
            await client.send(prepared.target, message(1), 1)


async def token(client: Client, url: str) -> None:
    """The token endpoint of an OAuth 2.0 client; its own destination is never reached without a token."""
    auth = ClientCredentials(url, "id", "secret")
    await client.send(target(f"https://{OK}/", subscription=url, timeout=PATIENCE, auth=auth), message(1), 1)
    client.forget(url)


FIELDS = {"destination": destination, "spec": from_spec, "urlFrom": from_secret, "tokenUrl": token}
_KEYS = secret(key="whsec_" + "A" * 43 + "=")


async def guarded(place: Place, urls: Sequence[str]) -> dict[str, dict[str, int]]:
    """Each URL in each field, as the only answer of a lookup, and as a redirect's Location."""
    found = {}
    for name, way in FIELDS.items():
        async with place.client() as client:
            accepts = await place.count(every(urls, partial(way, client)))
        found[name] = {"urls": len(urls), "accepts": accepts}
    locations = random.Random(2).sample(urls, min(REDIRECTS, len(urls)))
    found["Location"] = {"urls": len(locations), "accepts": await place.count(_redirected(place, locations))}
    addresses = [*place.addresses, *(f"::ffff:{address}" for address in place.addresses if "." in address)]

    async def named(address: str) -> None:
        for port in (place.port, 443):
            async with place.client(lookup=answers(address)) as client:
                for way in FIELDS.values():
                    await way(client, f"https://{OK}:{port}/")

    found["answer"] = {"urls": 2 * len(FIELDS) * len(addresses), "accepts": await place.count(every(addresses, named))}
    return found


async def _redirected(place: Place, urls: Sequence[str]) -> None:
    place.locations, served = urls, place.served

    async def ask(number: int) -> None:
        url = f"https://{OK}:{place.receiver_port}/{number}"
        result = await client.send(target(url, subscription=f"s{number}", timeout=30.0), message(1), 1)
        client.forget(f"s{number}")
        assert result == Response(307), result

    async with place.client(lookup=answers(place.good)) as client:
        await every(range(len(urls)), ask)
    assert place.served - served == len(urls)


async def rebindings(place: Place) -> dict[str, dict[str, int]]:
    """A name whose answers change, or hold a bad address among good ones."""
    bad, good = place.addresses[0], place.good
    turns = itertools.cycle([(good,), (bad,), (good, bad), (good,), (bad, good), ("::1",), (good, "::ffff:10.0.0.1")])
    asked = itertools.count()
    lookups = delivered = 0

    def rebinding(host: str, port: int) -> Sequence[AddressInfo]:
        nonlocal lookups
        lookups += 1
        return answers(*next(turns))(host, port)

    async def attempt(_: object) -> None:
        nonlocal delivered
        url = f"https://{OK}:{ports[next(asked) % 2]}/"
        result = await client.send(target(url, subscription=url, timeout=30.0), message(1), 1)
        delivered += isinstance(result, Response)

    # The receiver listens at the good address, the canary at the bad one: both ports are tried at both.
    ports, place.locations = (place.receiver_port, place.port), ()
    async with place.client(lookup=rebinding) as client:

        async def one_by_one() -> None:
            for number in range(REBINDINGS):
                await attempt(number)

        accepts = await place.count(one_by_one())
    return {"rebinding": {"urls": REBINDINGS, "lookups": lookups, "delivered": delivered, "accepts": accepts}}


# The same without a guard.


async def unguarded(place: Place, urls: Sequence[str]) -> dict[str, dict[str, int]]:
    """What other clients do with the same URLs, and ours when everything is allowed."""
    chosen = random.Random(1).sample(urls, min(CONTROLS[place.mode], len(urls)))
    found = {}
    async with aiohttp.ClientSession() as session, httpx.AsyncClient(verify=False, trust_env=False) as plain:

        async def by_aiohttp(url: str) -> None:
            with contextlib.suppress(Exception):
                async with session.get(url, ssl=False, timeout=aiohttp.ClientTimeout(total=PATIENCE)):
                    pass

        async def by_httpx(url: str) -> None:
            with contextlib.suppress(Exception):
                await plain.get(url, timeout=PATIENCE)

        async def by_urllib(url: str) -> None:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(urllib.request.urlopen, url, None, PATIENCE)

        for name, plainly in (("aiohttp", by_aiohttp), ("httpx", by_httpx), ("urllib", by_urllib)):
            found[f"control {name}"] = {"urls": len(chosen), "accepts": await _hits(place, chosen, plainly)}
        place.locations = chosen
        ours = tls_context(place.authority.cert_pem.bytes().decode())
        async with httpx.AsyncClient(verify=ours, trust_env=False, follow_redirects=True) as following:

            async def follow(number: int) -> None:
                with contextlib.suppress(Exception):
                    await following.get(f"https://{place.good}:{place.receiver_port}/{number}", timeout=PATIENCE)

            hits = await _hits(place, range(len(chosen)), follow)
        found["control Location"] = {"urls": len(chosen), "accepts": hits}
    plain_ones = [url for url in urls if _passes(place.open_policy, url)][: CONTROLS[place.mode]]
    for name, way in FIELDS.items():
        async with place.client(place.open_policy) as client:
            hits = await _hits(place, plain_ones, partial(way, client))
        found[f"control {name}"] = {"urls": len(plain_ones), "accepts": hits}
    return found


def _passes(policy: AddressPolicy, url: str) -> bool:
    try:
        policy.check_url(url)
    except DestinationRefused:
        return False
    return True


async def _hits(place: Place, items: Iterable[Item], way: Callable[[Item], Awaitable[object]]) -> int:
    """How many of these reached the canary."""
    if place.mode == "loopback":
        return await place.count(every(items, way))
    hits = 0
    for item in items:
        before = len(place.canary.accepted)
        await way(item)
        hits += len(place.canary.accepted) > before
    return hits


async def _check_then_connect(place: Place) -> None:
    """The classic mistake: look the name up, judge the answer, and let the connection look it up again."""
    turns = itertools.cycle([(place.good,), (place.addresses[0],)])

    class Again(aiohttp.abc.AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[aiohttp.abc.ResolveResult]:
            (address,) = next(turns)
            family = socket.AF_INET
            return [{"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}]

        async def close(self) -> None: ...

    connector = aiohttp.TCPConnector(resolver=Again(), use_dns_cache=False, ssl=False)
    async with aiohttp.ClientSession(connector=connector) as session:
        for _ in range(REBINDINGS):
            place.policy.vet(next(turns)[0])
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(URL(f"https://{OK}:{place.port}/")):
                    pass


def numbers_only() -> None:
    """No question leaves this machine. Odd spellings of addresses are read as ever, names have no address."""
    real = socket.getaddrinfo

    def lookup(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:  # noqa: A002 (as the original has it)
        return real(host, port, family, type, proto, flags | socket.AI_NUMERICHOST)

    socket.getaddrinfo = lookup


def loopback_only() -> None:
    """No packet leaves this machine: what the unguarded would dial elsewhere is unreachable."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "socket.connect" or arguments[0].family not in (socket.AF_INET, socket.AF_INET6):
            return
        address = ipaddress.ip_address(arguments[1][0].partition("%")[0])
        if not (getattr(address, "ipv4_mapped", None) or address).is_loopback:
            raise OSError(errno.ENETUNREACH, "not the loopback")

    sys.addaudithook(hook)


async def main(mode: str) -> None:
    if mode == "loopback":
        loopback_only()
    place = await (network_namespace() if mode == "netns" else loopback())
    collections = {"generated": generated(place.addresses, place.port)}
    corpora = os.environ.get("HOOKLINE_CORPORA")
    if corpora and mode == "netns":
        collections.update(published(Path(corpora)))
    report = {
        "mode": mode,
        "blocks": place.blocks,
        "urls": {name: len(urls) for name, urls in collections.items()},
        "guarded": {name: await guarded(place, urls) for name, urls in collections.items()},
        "rebindings": {
            **await rebindings(place),
            "control": {"urls": REBINDINGS, "accepts": await place.count(_check_then_connect(place))},
        },
        "control": {name: await unguarded(place, urls) for name, urls in collections.items()},
    }
    report["reached"] = sorted({str(ipaddress.ip_address(host)) for host, _ in place.canary.accepted})
    sys.stdout.write(json.dumps(report))
    for server in place.canary.servers:
        server.close()


if __name__ == "__main__":
    logging.disable()
    numbers_only()
    with tempfile.TemporaryDirectory() as home:
        os.environ["HOME"] = home
        asyncio.run(main(sys.argv[1]))
