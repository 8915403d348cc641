"""What a real API server tells of its cluster's ranges."""

from __future__ import annotations

import contextlib

from hookline.controller.ranges import ClusterRanges, Network
from hookline.deliver.guard import AddressPolicy
from hookline.errors import ApiError, DestinationRefused
from hookline.kube import KubeClient


async def refused(policy: AddressPolicy, address: str) -> bool:
    try:
        policy.vet(address)
    except DestinationRefused:
        return True
    return False


async def test_nodes_pods_and_services_on_public_addresses_are_learned_and_refused(client: KubeClient) -> None:
    policy = AddressPolicy()
    node = {"metadata": {"name": "ranges"}, "spec": {"podCIDRs": ["34.64.0.0/24"], "podCIDR": "34.64.0.0/24"}}
    service = {"metadata": {"name": "ranges"}, "spec": {"cidrs": ["34.65.0.0/24"]}}
    nodes, services = "/api/v1/nodes", "/apis/networking.k8s.io/v1/servicecidrs"
    try:
        await client.request("POST", nodes, body=node)
        await client.request("POST", services, body=service)
        status = {"status": {"addresses": [{"type": "ExternalIP", "address": "34.66.0.1"}]}}
        await client.request(
            "PATCH", f"{nodes}/ranges/status", body=status, content_type="application/merge-patch+json"
        )
        for address in ("34.64.0.9", "34.65.0.9", "34.66.0.1"):
            assert not await refused(policy, address)  # the control
        await ClusterRanges(client, client.server, policy.learn).refresh()
        for address in ("34.64.0.9", "34.65.0.9", "34.66.0.1"):
            assert await refused(policy, address)
        assert not await refused(policy, "34.66.0.2")
        assert await refused(AddressPolicy.parse(allowed_cidrs=["127.0.0.0/8"]), "10.0.0.1")
    finally:
        for path in (f"{nodes}/ranges", f"{services}/ranges"):
            with contextlib.suppress(ApiError):
                await client.request("DELETE", path)


async def test_the_defaults_of_this_cluster_are_learned_too(client: KubeClient) -> None:
    told: list[frozenset[Network]] = []
    await ClusterRanges(client, client.server, told.append).refresh()
    (found,) = told
    cidrs = [
        cidr
        for item in (await client.request("GET", "/apis/networking.k8s.io/v1/servicecidrs"))["items"]
        for cidr in item["spec"]["cidrs"]
    ]
    assert cidrs
    assert set(cidrs) <= {str(network) for network in found}
