"""A real Kubernetes node for ``make cluster-test``: kubelet, containerd, Services and names, and no container engine.

In: root on a Linux machine, Go, Debian's packages. Out: ``Node``, a cluster of one node in namespaces of its own, in
which the operator's image is loaded. ``python hack/node up`` is for people. docs/cluster-test.md says what it shows.

Read on: ``node`` starts and ends it, ``daemons`` has the command lines, ``files`` their configuration, ``init.sh``
makes the machine, ``programs`` and ``images`` provide what runs on it.
"""

from __future__ import annotations

from node.errors import NodeError
from node.node import Node

__all__ = ["Node", "NodeError"]
