"""A Kubernetes control plane for tests and the demo: etcd, kube-apiserver and kube-controller-manager, no nodes.

In: nothing but this directory (``go.mod`` pins the version). Out: a kubeconfig of a cluster that verifies certificates,
asks RBAC and collects garbage like any other. ``python hack/controlplane up`` for people, ``ControlPlane`` for tests.

Read on: ``plane`` starts and stops, ``binaries`` finds the programs, ``build`` makes them, ``instance`` keeps one
running in the background.
"""

from __future__ import annotations

from controlplane.errors import ControlPlaneError
from controlplane.plane import ControlPlane

__all__ = ["ControlPlane", "ControlPlaneError"]
