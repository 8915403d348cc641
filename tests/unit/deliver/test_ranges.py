"""Claims about sets of ranges, and who decides when several of them hold an address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.deliver.guard import REFUSED, AddressPolicy
from hookline.deliver.ranges import Ranges
from hookline.errors import DestinationRefused


def refused(policy: AddressPolicy, address: str) -> bool:
    said = ""
    try:
        policy.vet(address)
    except DestinationRefused as refusal:
        said = str(refusal)
    assert said in ("", REFUSED)  # the same words, whoever refuses
    return bool(said)


def learning(*cidrs: str, allowed: tuple[str, ...] = (), refused: tuple[str, ...] = ()) -> AddressPolicy:
    policy = AddressPolicy.parse(allowed_cidrs=allowed, refused_cidrs=refused)
    policy.learn(ipaddress.ip_network(cidr) for cidr in cidrs)
    return policy


networks = st.one_of(
    st.builds(lambda a, n: ipaddress.ip_network((a, n), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(
        lambda a, n: ipaddress.ip_network((a, n), strict=False), st.integers(2**32, 2**128 - 1), st.integers(0, 128)
    ),
)


@given(st.lists(networks, max_size=8), st.data())
def test_the_closest_range_is_the_smallest_that_holds_the_address(known, data):
    inside = [network[data.draw(st.integers(0, network.num_addresses - 1))] for network in known]
    for address in [*inside, ipaddress.ip_address("8.8.8.8"), ipaddress.ip_address("2600::1")]:
        holding = [network.prefixlen for network in known if address in network]
        assert Ranges(known).closest(address) == max(holding, default=-1)


def test_what_the_cluster_tells_is_refused_though_it_is_public_and_only_as_long_as_it_is_told():
    policy = learning("34.118.224.0/20", "2600:1f00::/56", "203.0.114.7/32")
    for address in ("34.118.224.10", "2600:1f00::1", "203.0.114.7", "::ffff:34.118.224.10"):
        assert refused(policy, address)
        assert not refused(AddressPolicy(), address)  # the control
    assert not refused(policy, "203.0.114.8")
    policy.learn([])
    assert not refused(policy, "34.118.224.10")


def test_an_allowed_range_opens_none_of_the_clusters_ranges_within_it_and_an_exact_one_does():
    allowed = ("10.0.0.0/8", "10.96.3.4/32", "10.50.0.7/32")
    policy = learning("10.96.0.0/12", "10.50.0.7/32", "10.50.0.8/32", allowed=allowed)
    assert not refused(policy, "10.1.2.3")
    assert refused(policy, "10.96.0.1")
    assert refused(policy, "10.50.0.8")
    assert not refused(policy, "10.96.3.4")
    assert not refused(policy, "10.50.0.7")  # of two equal ranges the allowed one wins
    settings = learning(allowed=("10.0.0.0/8",), refused=("10.9.0.0/16",))
    assert refused(settings, "10.9.1.1")


def test_an_allowed_nat64_prefix_leads_to_no_other_address_than_would_be_allowed_without_it():
    policy = AddressPolicy.parse(allowed_cidrs=["64:ff9b::/96"])
    assert refused(AddressPolicy(), "64:ff9b::808:808")
    assert not refused(policy, "64:ff9b::808:808")
    for address in ("64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b::7f00:1"):
        assert refused(policy, address)
    assert not refused(AddressPolicy.parse(allowed_cidrs=["64:ff9b::/96", "10.0.0.0/8"]), "64:ff9b::a00:1")


@pytest.mark.parametrize("url", ["https://34.118.224.10/", "https://[2600:1f00::1]/"])
def test_a_literal_of_the_cluster_is_refused_in_the_url_already(url):
    policy = learning("34.118.224.0/20", "2600:1f00::/56")
    with pytest.raises(DestinationRefused):
        policy.check_url(url)
    assert AddressPolicy().check_url(url)
