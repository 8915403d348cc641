"""Small builders of the shared words, for tests that need one and don't care for its details."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hookline.model import Change, Resource, Scope
from hookline.spec import Operation, Payload, RetryPolicy, Source, Subscription

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps", namespaced=True)
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments", namespaced=True)


def config_map(name: str = "web", version: str = "7", **fields: Any) -> dict[str, Any]:
    """A ConfigMap as the API server would send it; ``labels`` and ``annotations`` go to the metadata."""
    metadata: dict[str, Any] = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": version}
    metadata |= {key: fields.pop(key) for key in ("labels", "annotations", "managedFields") if key in fields}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **fields}


def change(
    operation: Operation = Operation.UPDATED,
    obj: Mapping[str, Any] | None = None,
    old: Mapping[str, Any] | None = None,
    resource: Resource = CONFIG_MAPS,
    **fields: Any,
) -> Change:
    """One change in the namespace ``shop``, seen at 1,767,225,600 s (2026-01-01)."""
    obj = obj if obj is not None else config_map()
    version = obj["metadata"]["resourceVersion"]
    return Change(Scope(resource, "shop"), operation, obj, old, version, observed=1767225600.0, **fields)


def subscription(**fields: Any) -> Subscription:
    """A subscription to ConfigMaps with every default."""
    plain = Subscription(
        uid="uid-subscription",
        namespace="shop",
        name="orders",
        generation=1,
        suspend=False,
        sources=(Source("v1", "ConfigMap"),),
        changed=(),
        expression="",
        payload=Payload(),
        url="https://hooks.example.com/orders",
        url_ref=None,
        headers=(),
        signing_secret="",
        schemes=("v1", "v1a"),
        timeout=15.0,
        retry=RetryPolicy((5.0, 300.0), 3600.0),
        max_in_flight=8,
    )
    return replace(plain, **fields)
