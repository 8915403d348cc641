"""A stand-in for a node: what pages say of pods needs one, and there is none beside the API server.

In: a control plane, and what the pods' logs are. Out: pods that are Running and Ready as far as the API server knows,
``kubectl logs`` that shows those logs, and an end for pods and claims that are deleted. No container runs.
"""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import trustme

from controlplane import ControlPlane, ControlPlaneError

Object = dict[str, Any]
NAME = "node-1"
_POLL_SECONDS = 0.1


class Https:
    """A TLS server of the loopback in a thread. ``answer(path)`` gives a body, or None: 404."""

    def __init__(self, authority: trustme.CA, name: str, answer: Callable[[str], bytes | None]) -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, name="https", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Node:
    """Serves the namespaces in ``logs``, each with the file that its pods write; a context manager."""

    def __init__(self, plane: ControlPlane, logs: dict[str, Path]) -> None:
        self._plane = plane
        self._logs = logs
        self._ending = threading.Event()
        self._draining = False
        self._kubelet = Https(trustme.CA(), "127.0.0.1", self._log)
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)

    def __enter__(self) -> Self:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NAME}}
        made = self._plane.request("POST", "/api/v1/nodes", node)
        made["status"] |= {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._kubelet.port}},
        }
        self._plane.request("PUT", f"/api/v1/nodes/{NAME}/status", made)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(30)
        self._kubelet.close()

    def drain(self) -> None:
        """Let go of all pods: a namespace that is deleted waits for a grace period as long as one of its pods runs."""
        self._draining = True
        for namespace in self._logs:
            for pod in self._list(f"/api/v1/namespaces/{namespace}/pods"):
                path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
                self._plane.request("DELETE", path, {"gracePeriodSeconds": 0})

    def _log(self, path: str) -> bytes | None:
        what, _, rest = path.lstrip("/").partition("/")
        log = self._logs.get(rest.partition("/")[0])
        return log.read_bytes() if what == "containerLogs" and log and log.exists() else None

    def _run(self) -> None:
        while not self._ending.wait(_POLL_SECONDS):
            for namespace in self._logs:
                for kind, tend in (("pods", self._pod), ("persistentvolumeclaims", self._claim)):
                    path = f"/api/v1/namespaces/{namespace}/{kind}"
                    for obj in self._list(path):
                        with contextlib.suppress(ControlPlaneError):  # it changed, or is gone: next time
                            tend(f"{path}/{obj['metadata']['name']}", obj)

    def _list(self, path: str) -> Iterator[Object]:
        with contextlib.suppress(ControlPlaneError):
            yield from self._plane.request("GET", path)["items"]

    def _pod(self, path: str, pod: Object) -> None:
        if pod["metadata"].get("deletionTimestamp"):
            self._plane.request("DELETE", path, {"gracePeriodSeconds": 0})
        elif not pod["spec"].get("nodeName") and not self._draining:
            target = {"apiVersion": "v1", "kind": "Node", "name": NAME}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}}
            self._plane.request("POST", f"{path}/binding", binding | {"target": target})
        elif pod["status"].get("phase") == "Pending":
            ready = [{"type": kind, "status": "True"} for kind in ("Ready", "ContainersReady")]
            states = [
                {"name": item["name"], "image": item["image"], "imageID": "", "ready": True, "restartCount": 0}
                | {"state": {"running": {}}}
                for item in pod["spec"]["containers"]
            ]
            more = {"phase": "Running", "conditions": ready, "containerStatuses": states}
            self._plane.request("PUT", f"{path}/status", pod | {"status": pod["status"] | more})

    def _claim(self, path: str, claim: Object) -> None:
        """The controller of volumes, which takes the finalizer away, does not run here."""
        if claim["metadata"].get("deletionTimestamp"):
            self._plane.request("PUT", path, claim | {"metadata": claim["metadata"] | {"finalizers": []}})
