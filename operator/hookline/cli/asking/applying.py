"""Hand objects to the API server, by server-side apply, in the order in which they are given.

In: objects as ``manifest`` makes them. Out: they exist, or a sentence about the first that does not.
"""

from __future__ import annotations

from urllib.parse import quote

from hookline.cli.asking.manifest import Object
from hookline.cli.cluster import Cluster, CommandError, sentence
from hookline.errors import ApiError, Forbidden
from hookline.reasons import KIND, PLURAL

MANAGER = "kubectl-hookline"
_PLURALS = {
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "ClusterRole": "clusterroles",
    "ClusterRoleBinding": "clusterrolebindings",
    KIND: PLURAL,
}


async def apply(cluster: Cluster, obj: Object) -> str:
    """Apply one object; returns what it is called, for people. Raises CommandError."""
    metadata, version = obj["metadata"], obj["apiVersion"]
    base = f"/apis/{version}" if "/" in version else f"/api/{version}"
    where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    path = f"{base}{where}/{_PLURALS[obj['kind']]}/{quote(metadata['name'], safe='')}"
    name = f"{obj['kind']} {metadata['name']}"
    try:
        await cluster.kube.request(
            "PATCH",
            path,
            params={"fieldManager": MANAGER},
            body=obj,
            content_type="application/apply-patch+yaml",
        )
    except ApiError as error:
        text = str(error).partition(": ")[2] if isinstance(error, Forbidden) else sentence(error, cluster.place)
        hint = ". Let somebody apply it who may" if isinstance(error, Forbidden) else ""
        raise CommandError(f"{name} was not applied: {text}{hint}") from None
    return name
