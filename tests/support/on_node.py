"""What the tests on a real node share: the release, the receiver's pod, and tenants.

In: a ``Node`` with the image loaded. Out: ``Release``, ``ReceiverPod`` and ``Tenant``; ``on_node_changes`` has more.
Everything is as an administrator and a tenant would have it: the chart by Helm, objects by kubectl, a restricted
namespace for each.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import subprocess
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import trustme

from hookline import __version__, keys
from node import Node
from node.files import NAME
from support.authority import pair, pem
from support.cluster import Kubectl, eventually

CHART = Path(__file__).resolve().parents[2] / "charts" / "hookline"
IMAGE = f"localhost/hookline:{__version__}"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
_STORAGE_CLASS = "local"
_SCHEDULE = [1, 1, 2, 2, *[5] * 28]  # seconds: two and a half minutes of attempts, more than any test is away

Object = dict[str, Any]
Event = tuple[str, str, str]
"""Operation, name, and the object's version; a deletion's is empty, for its last state has another's."""


class Cluster(Kubectl):
    """kubectl as the node's administrator, and what a cluster has that has volumes and tenants."""

    def __init__(self, node: Node) -> None:
        super().__init__(node)  # type: ignore[arg-type]  # it only makes the command line
        self.node = node
        self.apply(
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {"name": _STORAGE_CLASS},
                "provisioner": "kubernetes.io/no-provisioner",
                "volumeBindingMode": "WaitForFirstConsumer",
            }
        )

    def namespace(self, name: str) -> None:
        """Make a namespace that takes restricted pods only."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}})

    def volume(self, namespace: str, claim: str, size: str) -> Path:
        """A local PersistentVolume for one claim; returns its directory, which belongs to root."""
        directory = self.node.volume(f"{namespace}-{claim}")
        on_node = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [NAME]}]}
        spec = {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": _STORAGE_CLASS,
            "claimRef": {"namespace": namespace, "name": claim},
            "local": {"path": str(directory)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [on_node]}},
        }
        metadata = {"name": f"{namespace}-{claim}"}
        self.apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec})
        return directory

    def pod(self, namespace: str, app: str) -> Object | None:
        """The one pod of an app that is Ready and not about to end, or None."""
        items = self.json("get", "pods", "-n", namespace, "-l", f"app.kubernetes.io/name={app}")["items"]
        found = [item for item in items if ready(item)]
        return found[0] if len(found) == len(items) == 1 else None

    def await_pod(self, namespace: str, app: str, *, other_than: str = "") -> Object:
        """The one Ready pod, whose uid is another."""

        def probe() -> Object:
            pod = self.pod(namespace, app)
            return pod if pod and pod["metadata"]["uid"] != other_than else {}

        return eventually(probe, f"a pod of {app} is Ready", seconds=120)


def ready(pod: Object) -> bool:
    """Whether a pod is Ready, and stays."""
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(
        item["type"] == "Ready" and item["status"] == "True" for item in conditions
    )


class Release:
    """The chart, installed by Helm into a restricted namespace, with a volume for its outbox."""

    namespace = "hookline"

    def __init__(self, cluster: Cluster, helm: Path, values: Object) -> None:
        self._cluster = cluster
        self._helm = helm
        self._usual = values
        self._applied: Object | None = None
        cluster.namespace(self.namespace)
        self.outbox = cluster.volume(self.namespace, "hookline", "8Gi")

    def helm(self, *arguments: str, values: Object | None = None) -> str:
        """Run ``helm ARGUMENTS…`` in the release's namespace; returns stdout, fails with stderr."""
        where = [f"--namespace={self.namespace}", f"--kubeconfig={self._cluster.node.kubeconfig}"]
        more = [] if values is None else ["--values", "-"]
        command = [str(self._helm), *arguments, *where, *more]
        done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, f"helm {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def be(self, **values: Any) -> Object:
        """Install or upgrade so that the usual values and these are in force; returns the Ready pod."""
        wanted = merged(self._usual, values)
        if wanted != self._applied:
            self._applied = None
            self.helm("upgrade", "--install", "hookline", str(CHART), "--wait", "--timeout=180s", values=wanted)
            self._applied = wanted
        return self._cluster.await_pod(self.namespace, "hookline")

    def uninstall(self) -> None:
        """``helm uninstall``, and wait until the pod is gone."""
        self._applied = None
        self.helm("uninstall", "hookline", "--wait", "--timeout=120s")
        pods = ("get", "pods", "-n", self.namespace, "-l", "app.kubernetes.io/name=hookline", "-o", "name")
        eventually(lambda: not self._cluster(*pods), "the pod is gone", seconds=60)

    def delete_pod(self) -> str:
        """Delete the pod without waiting for its end; returns its uid."""
        metadata = self.be()["metadata"] if self._applied is None else self._pod()["metadata"]
        self._cluster("delete", "pod", metadata["name"], "-n", self.namespace, "--wait=false")
        return str(metadata["uid"])

    def process(self) -> int:
        """The id that the container's first process has on the node."""
        container = self._pod()["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        for line in self._cluster.node.ctr("tasks", "list").splitlines():
            if line.startswith(container):
                return int(line.split()[1])
        raise AssertionError(f"containerd knows no task {container}")

    def _pod(self) -> Object:
        return self._cluster.await_pod(self.namespace, "hookline")


def merged(base: Object, more: Object) -> Object:
    """``base`` with ``more`` laid over it, map by map."""
    result = dict(base)
    for key, value in more.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


class ReceiverPod:
    """``hookline receive`` of the same image in a pod: TLS by a private authority, a row for each verified message."""

    namespace = "receivers"
    host = "receiver.receivers.svc"

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._path = f"/{secrets.token_urlsafe(32)}"
        self._authority = trustme.CA()
        self.key = keys.encode_hmac(keys.new_hmac())
        self.ca_pem = pem(self._authority)
        cluster.namespace(self.namespace)
        volume = cluster.volume(self.namespace, "receiver", "1Gi")
        self._database = volume / "events.db"
        with closing(sqlite3.connect(self._database)) as database:
            database.execute("CREATE TABLE events (id, namespace, operation, name, version)")
            database.commit()
        cluster.apply(*self._objects(), namespace=self.namespace)
        self.start()

    @property
    def url(self) -> str:
        """Where it takes messages."""
        return f"https://{self.host}{self._path}"

    def start(self) -> None:
        """Have one pod of it."""
        self._cluster.await_pod(self.namespace, "receiver")

    def ids(self, namespace: str) -> list[str]:
        """The ids of all messages about objects in ``namespace`` whose signature was right, in the order of arrival."""
        return [row[0] for row in self._rows("id", namespace)]

    def events(self, namespace: str) -> set[Event]:
        """What these messages told."""
        rows = self._rows("operation, name, version", namespace)
        return {(operation, name, "" if operation == "Deleted" else version) for operation, name, version in rows}

    def _rows(self, columns: str, namespace: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)) as database:
            query = f"SELECT {columns} FROM events WHERE namespace = ? ORDER BY rowid"
            return database.execute(query, (namespace,)).fetchall()

    def _objects(self) -> Iterable[Object]:
        certificate, key = pair(self._authority.issue_cert(self.host))
        columns = {
            "id": "@id",
            "namespace": "$.data.object.metadata.namespace",
            "operation": "$.data.operation",
            "name": "$.data.object.metadata.name",
            "version": "$.data.object.metadata.resourceVersion",
        }
        insert = {"database": "sqlite:/data/events.db", "table": "events", "columns": columns}
        endpoint = {
            "name": "events",
            "path": self._path,
            "keys": [{"file": "events.key"}],
            "actions": [{"insert": insert}],
        }
        config = {
            "listen": {"host": "0.0.0.0", "port": 8443},
            "tls": {"certificate": "tls.crt", "key": "tls.key"},
            "health": {"host": "0.0.0.0", "port": 8081},
            "endpoints": [endpoint],
        }
        files = {"receive.yaml": json.dumps(config), "tls.crt": certificate, "tls.key": key, "events.key": self.key}
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "receiver"}, "stringData": files}
        labels = {"app.kubernetes.io/name": "receiver"}
        claim = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": _STORAGE_CLASS,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        yield {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "receiver"}, "spec": claim}
        ports = [{"port": 443, "targetPort": 8443}]
        service = {"selector": labels, "ports": ports}
        yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "receiver"}, "spec": service}
        yield {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "receiver"},
            "spec": {
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _receiver_pod()},
            },
        }


def _receiver_pod() -> Object:
    container = {
        "name": "receiver",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["receive", "--config", "/etc/receive/receive.yaml"],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8081}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/receive", "readOnly": True},
            {"name": "data", "mountPath": "/data"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "config", "secret": {"secretName": "receiver", "defaultMode": 0o440}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "receiver"}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


class Tenant:
    """A namespace whose ConfigMaps are watched, with what a subscription there refers to."""

    def __init__(self, cluster: Cluster, namespace: str, receiver: ReceiverPod) -> None:
        self.namespace = namespace
        self._cluster = cluster
        self._receiver = receiver
        cluster.namespace(namespace)
        key = {"v1": receiver.key}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "watcher"}}
        rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list", "watch"]}]
        subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "watcher"}
        cluster.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "receiver-key"}, "stringData": key},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ca"}, "data": {"ca.crt": receiver.ca_pem}},
            {**role, "kind": "Role", "rules": rules},
            {**role, "kind": "RoleBinding", "subjects": subjects, "roleRef": reference},
            namespace=namespace,
        )

    def subscription(self, name: str = "watched", **spec: Any) -> Object:
        """A subscription to the ConfigMaps of this namespace that have the label ``told``."""
        plain = {
            "sources": [
                {"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": {"matchLabels": {"told": "yes"}}},
            ],
            "destination": {
                "url": self._receiver.url,
                "tls": {"caBundle": {"configMapKeyRef": {"name": "ca", "key": "ca.crt"}}},
            },
            "signing": {"secretName": "receiver-key", "schemes": ["v1"]},
            "delivery": {"retry": {"schedule": _SCHEDULE}},
        }
        kind = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription"}
        return {**kind, "metadata": {"name": name, "namespace": self.namespace}, "spec": merged(plain, spec)}

    def subscribe(self, name: str = "watched", reason: str = "Watching", **spec: Any) -> None:
        """Apply one and wait until ``Ready`` has this reason."""
        self._cluster.apply(self.subscription(name, **spec))
        self.wait(reason, name)

    def status(self, name: str = "watched") -> Object:
        """The status of one."""
        found = self._cluster.json("get", "whsub", name, "-n", self.namespace)
        return found.get("status", {})  # type: ignore[no-any-return]

    def wait(self, reason: str, name: str = "watched", kind: str = "Ready") -> str:
        """Wait until a condition of the present generation has this reason; returns its message."""
        found: Object = {}

        def probe() -> str:
            found.update(self._cluster.json("get", "whsub", name, "-n", self.namespace))
            for item in found.get("status", {}).get("conditions", ()):
                current = item.get("observedGeneration") == found["metadata"]["generation"]
                if current and (item["type"], item["reason"]) == (kind, reason):
                    return str(item["message"])
            return ""

        try:
            return eventually(probe, f"{kind} of {self.namespace}/{name} has the reason {reason}", seconds=60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{json.dumps(found.get('status'), indent=2)}") from None
