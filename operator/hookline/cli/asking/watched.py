"""What the operator must be allowed to watch, beside the ServiceAccount: the administrator says it once. Pure.

In: the resource that was chosen. Out: a sentence for who writes a subscription, where the chart's default won't do.
"""

from __future__ import annotations

from collections.abc import Mapping

from hookline.model import Resource

LABEL = "rbac.hookline.dev/watched"
ALLOWED: Mapping[str, frozenset[str]] = {
    "": frozenset({"configmaps", "namespaces", "persistentvolumeclaims", "pods", "services"}),
    "apiextensions.k8s.io": frozenset({"customresourcedefinitions"}),
    "apps": frozenset({"daemonsets", "deployments", "replicasets", "statefulsets"}),
    "batch": frozenset({"cronjobs", "jobs"}),
    "networking.k8s.io": frozenset({"ingresses"}),
}
"""What the operator may watch with the chart's default values, by API group."""


def permission(resource: Resource) -> str:
    """What an administrator must have done for this resource; empty where it works by default."""
    if resource.plural in ALLOWED.get(resource.group, ()):
        return ""
    name = f"{resource.plural}.{resource.group}".rstrip(".")
    if name == "secrets":
        return (
            "The operator watches no Secrets by default. An administrator must allow it their metadata: the chart's "
            "settings.allowSecretMetadata, and secrets in its rbac.watched"
        )
    return (
        f"The operator may not watch {name} by default. An administrator must allow it: by the chart's rbac.watched, "
        f'or by a ClusterRole with list and watch, and the label {LABEL}: "true"'
    )
