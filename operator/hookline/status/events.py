"""Kubernetes Events about our objects: shown by ``kubectl describe``, and gone after an hour. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ The status room's writer posts them.
"""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

from hookline import reasons

CONTROLLER = "hookline.dev/operator"
NOTE_LIMIT = 1024


def path(namespace: str) -> str:
    """Where Events of a namespace are posted."""
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"


def warning(namespace: str, name: str, uid: str, reason: str, note: str, now: float) -> dict[str, Any]:
    """An Event of the type Warning about a subscription."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name}-", "namespace": namespace},
        "eventTime": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": platform.node()[:128] or "hookline",
        "action": "Deliver",
        "reason": reason,
        "type": "Warning",
        "note": note[:NOTE_LIMIT],
        "regarding": {
            "apiVersion": f"{reasons.GROUP}/{reasons.VERSION}",
            "kind": reasons.KIND,
            "namespace": namespace,
            "name": name,
            "uid": uid,
        },
    }
