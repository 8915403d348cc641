"""A set of address ranges that answers quickly, however many there are: which of them holds an address most closely.

In: networks. Out: the length of a prefix. ``guard`` asks it for what the administrator and the cluster say.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from hookline.errors import SettingsError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Ranges:
    """Some networks. One look-up costs as many steps as there are different prefix lengths, not networks."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._prefixes: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            key = network.version, network.prefixlen
            self._prefixes.setdefault(key, set()).add(int(network.network_address))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Ranges:
        """The ranges of these texts. Raises SettingsError for one that is none."""
        return cls(_network(text) for text in texts)

    def closest(self, address: Address) -> int:
        """The prefix length of the smallest range that holds the address, -1 when none does."""
        number, bits = int(address), address.max_prefixlen
        found = -1
        for (version, length), starts in self._prefixes.items():
            if version == address.version and length > found and (number >> bits - length << bits - length) in starts:
                found = length
        return found


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise SettingsError(f"address range: {error}; write e.g. 10.0.0.0/8") from None
