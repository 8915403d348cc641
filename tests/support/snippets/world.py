"""The world that the pages tell of, for real: an API server with the chart installed, an operator, and a receiver.

In: a directory, and the programs. Out: a ``World`` in which shell blocks are carried out with nothing dry. The chart's
operator runs as a process beside (``node`` stands in for its pod). Requests to hosts of the internet go through the
operator's egress proxy, which ends at the receiver; those of ``curl`` are mapped by its own configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
from pathlib import Path
from urllib.request import urlopen

import yaml

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.connect import ConnectProxy
from support.live import LiveOperator, LiveReceiver
from support.receiver import Receiver
from support.served import free_port, token_of
from support.snippets.blocks import ROOT, blocks, files
from support.snippets.node import Https, Node
from support.snippets.shell import Ground

HOSTS = ("hooks.example.com", "hooks.slack.com", "api.telegram.org", "*.westeurope.logic.azure.com")
KEYS = "keys.example.com"
_PROMETHEUS = ROOT / "tests" / "chart" / "monitoring"
_ORDERS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: orders, namespace: shop, labels: {app: orders}}
spec:
  replicas: 3
  selector: {matchLabels: {app: orders}}
  template:
    metadata: {labels: {app: orders}}
    spec: {containers: [{name: orders, image: orders}]}
"""
_SUBSCRIPTION = """
apiVersion: hookline.dev/v1alpha1
kind: WebhookSubscription
metadata: {name: %s, namespace: shop}
spec:
  sources: [{apiVersion: %s, kind: %s, names: [%s]}]
  destination: {url: "https://hooks.example.com/%s"}
  delivery: {retry: {maxAttempts: 1}}
"""
SUBSCRIPTIONS = {
    "orders": _SUBSCRIPTION % ("orders", "v1", "ConfigMap", "limits, prices", "orders"),
    "stock": _SUBSCRIPTION % ("stock", "v1", "ConfigMap", "shelves", "stock"),
    "audit": _SUBSCRIPTION % ("audit", "example.com/v1", "Audit", "a", "audit"),
}
_TIDIED = "serviceaccounts,roles,rolebindings,secrets,configmaps,deployments,webhookreplays,webhooksubscriptions"


class World:
    """Started at once; ``close`` ends it. ``ground`` is for ``shell.run``, ``home`` for what a page needs beside."""

    def __init__(self, home: Path, helm: Path) -> None:
        self.home = home
        self._helm = helm
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self.close = stack.pop_all().close

    def _start(self, stack: contextlib.ExitStack) -> None:
        self.plane = stack.enter_context(ControlPlane())
        self.kubectl = Kubectl(self.plane)
        self.receiver = LiveReceiver(Receiver(names=HOSTS))
        stack.callback(self.receiver.close)
        proxy = ConnectProxy(self.receiver.port)
        server = self.receiver.run(asyncio.start_server(proxy.serve, "127.0.0.1", 0))
        stack.callback(lambda: self.receiver.do(lambda _: server.close()))
        self._install()
        api = free_port()
        self.operator = LiveOperator(
            self.plane.kubeconfig,
            self.home / "operator",
            self.receiver.ca_pem,
            *("--egress-proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"),
            *("--egress-proxy-connect", "name", "--api-port", str(api)),
            *("--lease-name", "hookline", "--lease-namespace", "hookline"),
        )
        stack.callback(self.operator.kill)
        stack.enter_context(Node(self.plane, {"hookline": self.operator.log}))
        self.operator.start()
        front = Https(self.receiver.do(lambda receiver: receiver.authority), KEYS, self._jwks)
        stack.callback(front.close)
        self._populate()
        self.ground = Ground(
            kubectl=self.plane.programs["kubectl"],
            helm=self._helm,
            kubeconfig=self._kubeconfig(),
            scratch=self.home / "rooms",
            more={"DOCS_API_PORT": str(api), "CURL_HOME": str(self._curl(front.port))},
        )
        eventually(self._runs, "the chart's pod runs")

    def _install(self) -> None:
        monitoring = [f"--filename={path}" for path in sorted(_PROMETHEUS.glob("*.yaml"))]
        self.kubectl("apply", "--server-side", *monitoring)
        image = ("--set", "image.registry=registry.example.com", "--set", "image.repository=hookline")
        self.helm("install", "hookline", str(ROOT / "charts" / "hookline"), "--create-namespace", *image)

    def helm(self, *arguments: str) -> None:
        """Call helm for the namespace of the operator."""
        place = ("--namespace", "hookline", "--kubeconfig", str(self.plane.kubeconfig))
        subprocess.run([self._helm, *arguments, *place], check=True, capture_output=True)

    def _curl(self, port: int) -> Path:
        """The directory with a configuration of curl that says where the address of the public keys is."""
        home = self.home / "curl"
        home.mkdir()
        authority = self.operator.home / "ca.pem"
        (home / ".curlrc").write_text(f'connect-to = "{KEYS}:443:127.0.0.1:{port}"\ncacert = "{authority}"\n')
        return home

    def _jwks(self, path: str) -> bytes | None:
        """As a gateway with TLS that exposes this one path of the operator."""
        if not path.startswith("/.well-known/jwks.json?"):
            return None
        with urlopen(f"http://127.0.0.1:{self.operator.port}{path}", timeout=20) as answer:
            body: bytes = answer.read()
            return body

    def _kubeconfig(self) -> Path:
        """Somebody who may do everything, with a token, which the operator's API can review."""
        self.kubectl("create", "serviceaccount", "reader", "-n", "kube-system")
        self.kubectl(
            *("create", "clusterrolebinding", "reader", "--clusterrole=cluster-admin"),
            "--serviceaccount=kube-system:reader",
        )
        config = json.loads(self.plane.kubeconfig.read_text())
        config["users"][0]["user"] = {"token": token_of(self.plane, "kube-system", "reader")}
        path = self.home / "kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def _runs(self) -> bool:
        pods = self.kubectl.json("get", "pods", "-n", "hookline")["items"]
        return bool(pods) and all(pod["status"].get("phase") == "Running" for pod in pods)

    def _populate(self) -> None:
        """The namespace ``shop`` as docs/kubectl.md shows it: one that works, one that fails, one of no kind."""
        self.kubectl("create", "namespace", "shop")
        self.apply()
        self.kubectl("wait", "--for=condition=Ready", "whsub/orders", "whsub/stock", "-n", "shop", "--timeout=60s")
        self.config_map("shelves", "1")
        self._told(1)
        self.config_map("limits", "1")
        self._told(2)
        self.receiver.do(lambda receiver: receiver.answer(503))
        self.config_map("limits", "2")
        self._told(3)
        self.config_map("prices", "1")
        self._told(4)
        self.dead_letters(2)
        self.dead = self.receiver.ids[-1]
        self.receiver.do(lambda receiver: receiver.answer(200))

    def dead_letters(self, number: int) -> None:
        """Wait until ``orders`` has so many, or more; an open circuit breaker may let a message wait for a minute."""
        get = ("get", "whsub", "orders", "-n", "shop")
        eventually(lambda: (self.kubectl.json(*get)["status"].get("deadLettered") or 0) >= number, f"{number} dead", 90)

    def apply(self) -> None:
        """What is in ``shop`` whenever a page begins."""
        example = files(list(blocks((ROOT / "README.md").read_text("utf-8"), "README.md")))["failing-orders.yaml"]
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "order-watcher"}}
        rule = {
            "apiGroups": ["", "apps"],
            "resources": ["configmaps", "deployments"],
            "verbs": ["get", "list", "watch"],
        }
        rbac = "rbac.authorization.k8s.io"
        role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "watching"}, "rules": [rule]}
        binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "watching"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "watching"},
            "subjects": [
                {"kind": "ServiceAccount", "name": name, "namespace": "shop"} for name in ("default", "order-watcher")
            ],
        }
        texts = [yaml.safe_load(text) for text in (_ORDERS, example, *SUBSCRIPTIONS.values())]
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": [account, role, binding, *texts]})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-n", "shop", "-f", "-", input=items)

    def config_map(self, name: str, value: str) -> None:
        """Make or change one."""
        head = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        self.kubectl.apply(head | {"data": {"a": value}}, namespace="shop")

    def _told(self, number: int) -> None:
        eventually(lambda: self.receiver.has(number), f"{number} requests came")

    def names(self) -> set[str]:
        """What there is in ``shop``."""
        return set(self.kubectl("get", _TIDIED, "-n", "shop", "-o", "name").split())

    def tidy(self, before: set[str]) -> None:
        """Take away what a page has made, and bring back what it has taken or changed."""
        if more := sorted(self.names() - before):
            self.kubectl("delete", "-n", "shop", "--ignore-not-found", *more)
        self.apply()
