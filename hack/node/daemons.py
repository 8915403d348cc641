"""The daemons of a node in the order of starting: their command lines, and how to see that each is ready.

In: where the files lie. Out: a list for ``node``, which starts them. What is not said here is their default.
"""

from __future__ import annotations

from dataclasses import dataclass

from node.files import ADDRESS, CONTAINERD_SOCKET, NAME, PODS, SERVICES, Layout

_ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True)
class Daemon:
    """One program with its flags. ``ready`` is a command that succeeds when it is, or None: nobody waits for it."""

    name: str
    flags: list[str]
    ready: list[str] | None = None


def _kubectl(layout: Layout, *arguments: str) -> list[str]:
    return ["kubectl", f"--kubeconfig={layout.kubeconfig('admin')}", "--cache-dir=/run/kubectl", *arguments]


def control_plane(layout: Layout) -> list[Daemon]:
    """The store and the API server."""
    return [
        Daemon(
            "etcd",
            [
                f"--data-dir={layout.state / 'etcd'}",
                "--unsafe-no-fsync",  # the data doesn't outlive the node
                f"--listen-client-urls={_ETCD}",
                f"--advertise-client-urls={_ETCD}",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--log-level=warn",
            ],
        ),
        Daemon(
            "kube-apiserver",
            [
                f"--etcd-servers={_ETCD}",
                "--bind-address=0.0.0.0",
                f"--advertise-address={ADDRESS}",
                "--secure-port=6443",
                f"--tls-cert-file={layout.pki / 'server.crt'}",
                f"--tls-private-key-file={layout.pki / 'server.key'}",
                f"--client-ca-file={layout.pki / 'ca.crt'}",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                f"--kubelet-client-certificate={layout.pki / 'to-kubelet.crt'}",
                f"--kubelet-client-key={layout.pki / 'to-kubelet.key'}",
                "--kubelet-preferred-address-types=InternalIP",
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
                f"--service-account-key-file={layout.pki / 'service-accounts.key'}",
                f"--service-account-signing-key-file={layout.pki / 'service-accounts.key'}",
                f"--service-cluster-ip-range={SERVICES}",
                "--allow-privileged",
            ],
            _kubectl(layout, "get", "--raw=/readyz"),
        ),
    ]


def containerd(layout: Layout) -> Daemon:
    """The container runtime."""
    config = f"--config={layout.state / 'containerd.toml'}"
    return Daemon("containerd", [config], ["ctr", f"--address={CONTAINERD_SOCKET}", "version"])


def workers(layout: Layout) -> list[Daemon]:
    """Those that need the API server, and among them those that make the node Ready."""
    return [
        Daemon(
            "kube-controller-manager",
            [
                f"--kubeconfig={layout.kubeconfig('kube-controller-manager')}",
                "--use-service-account-credentials",
                f"--service-account-private-key-file={layout.pki / 'service-accounts.key'}",
                f"--root-ca-file={layout.pki / 'ca.crt'}",
                f"--cluster-cidr={PODS}",
                "--allocate-node-cidrs=false",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ],
        ),
        Daemon(
            "kube-scheduler",
            [
                f"--kubeconfig={layout.kubeconfig('kube-scheduler')}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
            ],
        ),
        Daemon("kube-proxy", [f"--config={layout.state / 'kube-proxy.yaml'}", f"--hostname-override={NAME}"]),
        Daemon("coredns", [f"-conf={layout.state / 'Corefile'}"]),
        Daemon(
            "kubelet",
            [
                f"--config={layout.state / 'kubelet.yaml'}",
                f"--kubeconfig={layout.kubeconfig('kubelet')}",
                f"--hostname-override={NAME}",
                f"--node-ip={ADDRESS}",
            ],
            _kubectl(layout, "wait", f"node/{NAME}", "--for=condition=Ready", "--timeout=1s"),
        ),
    ]
