"""The one address guard: which URLs may be called, and which addresses may be dialled. Pure; ``dial`` does the I/O.

In: a URL as a person wrote it, or an address as DNS answered it. Out: an ``Endpoint``, or ``DestinationRefused``.
The boundary is the address of the socket; rules about names only give an earlier and friendlier answer.

Sources of the blocks: IANA IPv4 and IPv6 Special-Purpose Address Registries, RFC 5771 (multicast), and 168.63.129.16,
the host agent of Azure, which IANA counts as ordinary. IPv6 is allowed by construction: only 2000::/3, minus special
blocks, so that a new special block elsewhere is refused before anybody heard of it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import idna

from hookline import reasons
from hookline.deliver.ranges import Address, Network, Ranges
from hookline.errors import DestinationRefused

IPV4_SPECIAL = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared (carrier-grade NAT, metadata of Alibaba)
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure WireServer, not in any registry
        "169.254.0.0/16",  # link-local, metadata of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, metadata of Oracle
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
IPV6_GLOBAL = IPv6Network("2000::/3")
NAT64 = IPv6Network("64:ff9b::/96")
"""The well-known prefix of RFC 6052: the last 32 bits are the IPv4 address that is really reached."""
IPV6_SPECIAL = tuple(
    IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, embeds IPv4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)
LOCAL_SUFFIXES = ("localhost", "local", "internal", "svc", "cluster.local")
"""Names that end so belong to the machine, the cluster or the cloud, never to the internet."""

REFUSED = reasons.ADDRESS_REFUSED
"""One text for every refused address, so that it tells nothing about what is there."""

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?]*)(?P<target>[/?].*)?")
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[1-9][0-9]{0,4}))?")
_TARGET = re.compile(r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/?]|%[0-9A-Fa-f]{2})*")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_MAX_URL = 2048


class Stage(StrEnum):
    """Where a destination was refused: its URL, the answer of a lookup, the socket before it connects, or its peer."""

    URL = "url"
    RESOLVE = "resolve"
    CONNECT = "connect"
    PEER = "peer"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that passed: canonical parts, safe to join again.

    ``host`` is lower case and without a trailing dot or brackets; ``target`` is path and query, exactly as written.
    ``trusted`` says that the administrator allows this host whatever it resolves to.
    """

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    trusted: bool

    @property
    def origin(self) -> str:
        """Scheme, host and port: what may be shown in status."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def url(self) -> str:
        """The whole URL; it may be a secret."""
        return self.origin + self.target


@dataclass(slots=True)
class AddressPolicy:
    """What the administrator allows and forbids. With nothing set: https to ordinary addresses of the internet.

    Of the ranges that hold an address the smallest decides: ``allowed``, ``refused``, or ``learned``, the cluster's own
    ranges as it tells them, which ``learn`` replaces; of two that are equal the allowed one. So an allowed 10.0.0.0/8
    opens none of the cluster's ranges within it, and an allowed /32 does. ``allowed_hosts`` may be reached whatever
    they resolve to; ``http_hosts`` may be called without TLS.
    """

    allowed: Ranges = field(default_factory=Ranges)
    refused: Ranges = field(default_factory=Ranges)
    allowed_hosts: frozenset[str] = frozenset()
    http_hosts: frozenset[str] = frozenset()
    learned: Ranges = field(default_factory=Ranges)

    @classmethod
    def parse(
        cls,
        *,
        allowed_cidrs: Iterable[str] = (),
        refused_cidrs: Iterable[str] = (),
        allowed_hosts: Iterable[str] = (),
        http_hosts: Iterable[str] = (),
    ) -> AddressPolicy:
        """The policy of these texts. Raises SettingsError for a range that is none."""
        return cls(
            Ranges.parse(allowed_cidrs),
            Ranges.parse(refused_cidrs),
            frozenset(_plain_host(text) for text in allowed_hosts),
            frozenset(_plain_host(text) for text in http_hosts),
        )

    def learn(self, networks: Iterable[Network]) -> None:
        """These are the cluster's own ranges from now on: its Services, Pods, nodes and API server."""
        self.learned = Ranges(networks)

    def check_url(self, url: str) -> Endpoint:
        """Parse a URL strictly. Raises DestinationRefused with a sentence that says what to write instead.

        Whatever two parsers might read differently is refused, not repaired. The same host goes to the check, the
        lookup, the Host header and SNI.
        """
        if len(url) > _MAX_URL or not url.isascii() or not url.isprintable() or set(url) & set(" \\#"):
            raise DestinationRefused(
                f"the URL must be at most {_MAX_URL} ASCII characters without spaces, backslashes or a fragment; "
                "percent-encode the path, and write an international host name in its xn-- form"
            )
        match = _URL.fullmatch(url)
        if match is None or match["scheme"] not in _DEFAULT_PORTS:
            raise DestinationRefused("the URL must begin with https:// and a host, in lower case")
        scheme, authority = match["scheme"], match["authority"]
        if "@" in authority:
            raise DestinationRefused("the URL must not carry a user or password; put credentials in a header")
        host, port = _split_authority(authority, _DEFAULT_PORTS[scheme])
        target = _check_target(match["target"] or "/")
        if scheme == "http" and host not in self.http_hosts:
            raise DestinationRefused("the URL must be https://; an administrator can allow http for this host")
        trusted = host in self.allowed_hosts
        address = _literal(host)
        if not trusted and address is not None:
            self._vet(address)
        elif not trusted and ("." not in host or host.endswith(tuple(f".{end}" for end in LOCAL_SUFFIXES))):
            raise DestinationRefused(
                "the host must be a full name of the internet, not one of this cluster or machine; "
                "an administrator can allow it"
            )
        return Endpoint(scheme, host, port, target, trusted)

    def vet(self, address: str) -> None:
        """Allow an address, or raise DestinationRefused: always with the same text, whatever is there."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            raise DestinationRefused(REFUSED) from None
        self._vet(parsed)

    def _vet(self, address: Address) -> None:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        allowed = self.allowed.closest(address)
        refused = max(self.refused.closest(address), self.learned.closest(address))
        if refused > allowed or (allowed < 0 and not _ordinary(address)):
            raise DestinationRefused(REFUSED)
        if address in NAT64:  # allowed, and yet only a way to another address
            self._vet(IPv4Address(int(address) & 0xFFFF_FFFF))


def _ordinary(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in block for block in IPV4_SPECIAL)
    return address in IPV6_GLOBAL and not any(address in block for block in IPV6_SPECIAL)


def _plain_host(text: str) -> str:
    host = text.strip().lower().removeprefix("[").removesuffix("]").removesuffix(".")
    return str(_literal(host) or host)


def _split_authority(authority: str, default_port: int) -> tuple[str, int]:
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise DestinationRefused("the URL must name a host, and a port from 1 to 65535 if any")
    port = int(match["port"] or default_port)
    if port > 65_535:
        raise DestinationRefused("the URL's port must be from 1 to 65535")
    if match["v6"] is not None:
        try:
            return str(IPv6Address(match["v6"])), port
        except ValueError:
            raise DestinationRefused("the URL's IPv6 address is malformed") from None
    return _check_name(match["name"].lower().removesuffix(".")), port


def _check_name(name: str) -> str:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise DestinationRefused("the URL's host must be a DNS name or an IP address")
    if not all(map(_decodable, labels)):
        raise DestinationRefused("the URL's host has an xn-- label that stands for no international name (RFC 5890)")
    # Parsers take a last label of digits for an IPv4 address in one of its odd forms (WHATWG URL, "ends in a number").
    if _NUMERIC.fullmatch(labels[-1]) and _literal(name) is None:
        raise DestinationRefused("the URL's host must be a DNS name or an IPv4 address of four decimal numbers")
    return name


def _decodable(label: str) -> bool:
    """Whether a label is plain, or an A-label that every client can decode: some refuse to send anywhere else."""
    if not label.startswith("xn--"):
        return True
    try:
        return bool(idna.ulabel(label))
    except UnicodeError:
        return False


def _check_target(target: str) -> str:
    path = target.partition("?")[0]
    if not _TARGET.fullmatch(target) or {".", ".."} & set(path.replace("%2e", ".").replace("%2E", ".").split("/")):
        raise DestinationRefused("the URL's path must be percent-encoded and without . and .. segments")
    return target if path else "/" + target


def _literal(host: str) -> Address | None:
    """The address that a host is, when it is one in canonical form."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
