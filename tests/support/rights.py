"""Rights for the ServiceAccounts of tests that are about something else: each may get, list and watch everything."""

from __future__ import annotations

from typing import Any

_RBAC = "rbac.authorization.k8s.io"
_NAME = "tests-see-everything"

EVERYBODY_SEES_EVERYTHING: tuple[dict[str, Any], ...] = (
    {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": _NAME},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}],
    },
    {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": _NAME},
        "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": _NAME},
        "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": "system:serviceaccounts"}],
    },
)

WATCH = ("get", "list", "watch")


def role(name: str, namespace: str = "", **rule: Any) -> dict[str, Any]:
    """A Role, or without a namespace a ClusterRole, of one rule; by default to watch ConfigMaps."""
    plain = {"apiGroups": [""], "resources": ["configmaps"], "verbs": list(WATCH)}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "rules": [plain | rule],
    }


def binding(name: str, subject: dict[str, Any], namespace: str = "", kind: str = "") -> dict[str, Any]:
    """Binds the role of that name: in a namespace, or everywhere. ``kind`` is the role's, by default as the scope."""
    role_kind = kind or ("Role" if namespace else "ClusterRole")
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "roleRef": {"apiGroup": _RBAC, "kind": role_kind, "name": name},
        "subjects": [subject],
    }


def account(namespace: str, name: str) -> dict[str, Any]:
    """A ServiceAccount as a subject."""
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


def group(name: str) -> dict[str, Any]:
    """A group as a subject."""
    return {"apiGroup": _RBAC, "kind": "Group", "name": name}


def user(name: str) -> dict[str, Any]:
    """A user as a subject."""
    return {"apiGroup": _RBAC, "kind": "User", "name": name}
