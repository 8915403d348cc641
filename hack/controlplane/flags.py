"""The command lines of the three components: what differs from their defaults, and why.

In: where the files lie. Out: flags, to which ``plane`` appends the caller's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ETCD, API_SERVER, CONTROLLER_MANAGER = "etcd", "kube-apiserver", "kube-controller-manager"
HOST = "127.0.0.1"
SERVICE_RANGE = "10.0.0.0/24"
SERVER_NAMES = (HOST, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.0.0.1")
_CONTROLLERS = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "ttl-after-finished-controller",
)


@dataclass(frozen=True)
class Layout:
    """Where one control plane keeps its files, and the ports it listens on.

    ``pki`` is filled by ``plane``, ``data`` is etcd's.
    """

    pki: Path
    data: Path
    api_port: int
    manager_port: int

    @property
    def etcd_socket(self) -> Path:
        """Where etcd listens, in a directory that only we can enter: no port to find free, no certificate to check."""
        return self.data / "etcd.sock"


def etcd(layout: Layout, max_request_bytes: int, *, unsafe_no_fsync: bool) -> list[str]:
    """The flags of etcd: one member, on unix sockets."""
    # What is advertised must look like this, but there is no other member and no cluster client to read it.
    nominal = "http://localhost:2379"
    flags = [
        f"--data-dir={layout.data / 'etcd'}",
        f"--listen-client-urls=unix://{layout.etcd_socket}",
        f"--advertise-client-urls={nominal}",
        f"--listen-peer-urls=unix://{layout.data / 'peer.sock'}",
        f"--initial-advertise-peer-urls={nominal}",
        f"--initial-cluster=default={nominal}",
        f"--max-request-bytes={max_request_bytes}",
        "--log-level=warn",
    ]
    # The data doesn't outlive the run, so a power cut that loses it loses nothing; waiting for the disk at every write
    # would measure the disk.
    return [*flags, "--unsafe-no-fsync"] if unsafe_no_fsync else flags


def api_server(layout: Layout) -> list[str]:
    """The flags of kube-apiserver: on one loopback port, with certificates, RBAC and the default admission plug-ins."""
    return [
        f"--etcd-servers=unix://{layout.etcd_socket}",
        f"--bind-address={HOST}",
        f"--advertise-address={HOST}",
        f"--secure-port={layout.api_port}",
        "--permit-port-sharing",  # with the socket of ``plane`` that keeps the port ours while the server is down
        "--endpoint-reconciler-type=none",  # an endpoint of the kubernetes service can't be a loopback address
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--tls-cert-file={layout.pki / 'server.crt'}",
        f"--tls-private-key-file={layout.pki / 'server.key'}",
        f"--client-ca-file={layout.pki / 'ca.crt'}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={layout.pki / 'service-accounts.key'}",
        f"--service-account-signing-key-file={layout.pki / 'service-accounts.key'}",
        "--authorization-mode=RBAC",
        "--allow-privileged",
        "--profiling=false",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """The flags of kube-controller-manager: the controllers that need no nodes, each with its own rights."""
    return [
        f"--kubeconfig={layout.pki / 'controller-manager.kubeconfig'}",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={layout.pki / 'service-accounts.key'}",
        f"--root-ca-file={layout.pki / 'ca.crt'}",
        f"--controllers={','.join(_CONTROLLERS)}",
        "--leader-elect=false",  # there is no other
        f"--bind-address={HOST}",
        f"--secure-port={layout.manager_port}",  # only /healthz is of use there
        "--permit-port-sharing",
        f"--tls-cert-file={layout.pki / 'server.crt'}",
        f"--tls-private-key-file={layout.pki / 'server.key'}",
        "--kube-api-qps=200",
        "--kube-api-burst=400",
        "--profiling=false",
    ]
