"""The files that a node's daemons read: certificates, kubeconfigs, configuration.

In: the state directory and the programs. Out: files in it, as ``Layout`` names them. ``daemons`` has the command lines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controlplane import access
from controlplane.directories import write_private
from controlplane.pki import Authority, key_pem, new_key

NAME = "hookline-node"
ADDRESS = "172.30.0.10"
"""The node's, in a network of its own; also that of the API server and of the name server."""
PODS, SERVICES = "10.244.0.0/24", "10.96.0.0/16"
DOMAIN = "cluster.local"
PAUSE = "localhost/pause:1"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
LOCAL_API = "https://127.0.0.1:6443"
_KUBERNETES = "kubernetes.default.svc"
_SERVER_NAMES = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", _KUBERNETES, "10.96.0.1", ADDRESS)
USERS: Mapping[str, tuple[str, list[str]]] = {
    "kubelet": (f"system:node:{NAME}", ["system:nodes"]),
    "kube-controller-manager": ("system:kube-controller-manager", []),
    "kube-scheduler": ("system:kube-scheduler", []),
    "kube-proxy": ("system:kube-proxy", []),
    "admin": ("hookline-admin", ["system:masters"]),
}
"""Who the daemons are to the API server, with the groups; RBAC's default roles know these names."""


@dataclass(frozen=True)
class Layout:
    """Where the files of one node lie."""

    state: Path

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def logs(self) -> Path:
        """A log for every daemon, and in ``node/pods`` those of the containers; kept when the node is gone."""
        return self.state / "logs"

    @property
    def volumes(self) -> Path:
        """What pods get as volumes; seen under the same path by the node and by the machine."""
        return self.state / "volumes"

    @property
    def plugins(self) -> Path:
        """The network plug-ins, each under its own name."""
        return self.state / "plugins"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of one of ``USERS``, from inside the node."""
        return self.pki / f"{user}.kubeconfig"


def write(layout: Layout, authority: Authority) -> None:
    """Write everything that does not depend on what is started."""
    for directory in (layout.pki, layout.logs, layout.volumes, layout.state / "cni"):
        directory.mkdir(mode=0o700)
    layout.volumes.chmod(0o755)  # users of pods walk through it
    layout.state.chmod(0o755)
    server = authority.server(_SERVER_NAMES)
    to_kubelet = authority.client("kube-apiserver-kubelet-client", ["system:masters"])
    admin = authority.client(*USERS["admin"])
    private = {
        "admin.crt": admin.certificate,
        "admin.key": admin.key,
        "ca.crt": authority.certificate,
        "server.crt": server.certificate,
        "server.key": server.key,
        "to-kubelet.crt": to_kubelet.certificate,
        "to-kubelet.key": to_kubelet.key,
        "service-accounts.key": key_pem(new_key()),
    }
    private |= {f"{user}.kubeconfig": kubeconfig(authority, LOCAL_API, *told) for user, told in USERS.items()}
    for name, content in private.items():
        write_private(layout.pki / name, content)
    (layout.state / "resolv.conf").write_text("", encoding="ascii")  # there is nobody else to ask
    (layout.state / "containerd.toml").write_text(_containerd(layout), encoding="utf-8")
    (layout.state / "Corefile").write_text(_corefile(layout), encoding="utf-8")
    documents = {"kubelet.yaml": _kubelet(layout), "kube-proxy.yaml": _proxy(layout)}
    for name, document in {**documents, "cni/10-bridge.conflist": _NETWORK}.items():
        (layout.state / name).write_text(json.dumps(document, indent=2), encoding="utf-8")


def kubeconfig(authority: Authority, server: str, user: str, groups: list[str]) -> bytes:
    """A kubeconfig for ``user`` of ``groups``, who may do what RBAC grants them."""
    return access.kubeconfig(server, authority.certificate, authority.client(user, groups))


def _containerd(layout: Layout) -> str:
    return f"""version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.differ.v1.erofs",
  "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{CONTAINERD_SOCKET}"
[plugins.'io.containerd.cri.v1.images']
snapshotter = "overlayfs"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{PAUSE}"
[plugins.'io.containerd.cri.v1.runtime']
# Root in a container may have no right to lower an oom_score_adj.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["{layout.plugins}"]
conf_dir = "{layout.state / "cni"}"
[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "runc"
SystemdCgroup = false
"""


_NETWORK: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": True,
            "hairpinMode": True,  # a pod may reach itself through its Service
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": PODS}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


def _kubelet(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [ADDRESS],
        "clusterDomain": DOMAIN,
        "resolvConf": str(layout.state / "resolv.conf"),
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "volumePluginDir": "/var/lib/kubelet/plugins-exec",
        # The machine's disk is not the node's, and what is full there is no reason to evict a pod here.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    }


def _proxy(layout: Layout) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": PODS,
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("kube-proxy"))},
        # The kernel's limits of connections stay as they are.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _corefile(layout: Layout) -> str:
    return f""".:53 {{
    bind {ADDRESS}
    ready 127.0.0.1:8181
    errors
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {layout.kubeconfig("admin")}
    }}
}}
"""
