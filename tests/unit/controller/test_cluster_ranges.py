"""Claims about what is learned of a cluster, and what happens when the cluster does not tell it."""

from __future__ import annotations

import ipaddress
import logging
from typing import Any

import pytest

from hookline.controller.ranges import API_SERVERS, NODES, SERVICE_CIDRS, ClusterRanges, networks
from hookline.errors import ApiError, Forbidden, NotServed

NODE = {
    "spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24", "2600:1f00:1::/64"]},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "10.0.0.5"},
            {"type": "ExternalIP", "address": "34.1.2.3"},
            {"type": "Hostname", "address": "node-1"},
        ]
    },
}
ANSWERS: dict[str, Any] = {
    SERVICE_CIDRS: [{"spec": {"cidrs": ["34.118.224.0/20", "2600:1f00:2::/112"]}}],
    NODES: [NODE, {"spec": {}, "status": {}}, {}],
    API_SERVERS: {"endpoints": [{"addresses": ["35.4.5.6"]}]},
}
ALL = {
    *("34.118.224.0/20", "2600:1f00:2::/112", "10.244.1.0/24", "2600:1f00:1::/64", "10.0.0.5/32", "34.1.2.3/32"),
    *("35.4.5.6/32", "36.7.8.9/32"),
}


class Cluster:
    """Answers from a table, one item a page; an exception in it is raised."""

    def __init__(self, **answers) -> None:
        self.answers = {**ANSWERS}

    async def request(self, method, path, *, params=None, body=None):
        found = self.answers[path]
        if isinstance(found, Exception):
            raise found
        if isinstance(found, dict):
            return found
        at = int(params.get("continue", "0"))
        more = str(at + 1) if at + 1 < len(found) else ""
        return {"items": found[at : at + 1], "metadata": {"continue": more}}


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def told() -> list[set[str]]:
    return []


@pytest.fixture
def ranges(cluster, told) -> ClusterRanges:
    return ClusterRanges(cluster, "https://36.7.8.9:6443", lambda found: told.append({str(item) for item in found}))


async def test_services_pods_nodes_and_the_api_server_are_learned_page_by_page_and_told_once(ranges, told):
    await ranges.refresh()
    await ranges.refresh()
    assert told == [ALL]


async def test_a_node_that_came_is_learned_and_one_that_went_is_forgotten(ranges, cluster, told):
    await ranges.refresh()
    cluster.answers[NODES] = [{"status": {"addresses": [{"address": "34.9.9.9"}]}}]
    await ranges.refresh()
    assert "34.9.9.9/32" in told[-1]
    assert "34.1.2.3/32" not in told[-1]


@pytest.mark.parametrize(
    ("error", "words"), [(Forbidden(403, "no"), "does not let"), (NotServed(404, "x"), "does not have")]
)
async def test_what_may_not_be_read_is_said_once_and_the_rest_is_learned(ranges, cluster, told, caplog, error, words):
    cluster.answers[NODES] = error
    with caplog.at_level(logging.WARNING):
        await ranges.first()
        await ranges.refresh()
    assert told == [{"34.118.224.0/20", "2600:1f00:2::/112", "35.4.5.6/32", "36.7.8.9/32"}]
    (line,) = caplog.messages
    assert words in line
    assert "Nodes" in line
    assert "refuse_cidrs" in line


async def test_what_can_not_be_had_now_stays_as_it_was(ranges, cluster, told):
    await ranges.refresh()
    cluster.answers[SERVICE_CIDRS] = ApiError(500, "later")
    cluster.answers[API_SERVERS] = {"endpoints": [{"addresses": ["35.7.7.7"]}]}
    with pytest.raises(ApiError):
        await ranges.refresh()
    assert told[-1] == ALL - {"35.4.5.6/32"} | {"35.7.7.7/32"}


def test_loopback_and_what_is_no_address_is_left_out_and_mapped_addresses_count_as_ipv4():
    texts = ["127.0.0.1", "::1", "node-1", "", "fe80::1%eth0", "::ffff:34.1.2.3", "::ffff:34.1.0.0/112", "34.1.2.3/24"]
    expected = {"fe80::1/128", "34.1.2.3/32", "34.1.0.0/16", "34.1.2.0/24"}
    assert networks(texts) == {ipaddress.ip_network(text) for text in expected}
