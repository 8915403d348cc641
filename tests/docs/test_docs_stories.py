"""Two pages from first to last, with nothing dry: the README's example, and the five minutes of docs/start.md.

There is no node: the operator and the receiver run as processes beside the API server, the operator with the rights
that the chart gives it; and the receiver's address is one that they can reach.
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from standardwebhooks import Webhook

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver
from support.snippets import listed, outputs, shell
from support.snippets.blocks import ROOT, Block, blocks, files
from support.snippets.carrying import SHELLS
from support.snippets.node import Node
from support.snippets.shell import Ground


class Page:
    """A page whose commands are carried out, one block after the other, in one directory."""

    def __init__(self, path: str, ground: Ground, replaced: dict[str, str]) -> None:
        self._replaced = replaced
        self.blocks = [self._block(block) for block in blocks((ROOT / path).read_text(), path)]
        self._ground = ground
        self._run: set[int] = set()
        self.room = path
        self._ground.room(path, files(self.blocks))

    def _block(self, block: Block) -> Block:
        text = block.text
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        return replace(block, text=text)

    def one(self, containing: str) -> Block:
        """The shell block with these words."""
        (found,) = [block for block in self.blocks if block.language == "console" and containing in block.text]
        return found

    def run(self, containing: str) -> str:
        """Run a block, whose output must be as the page has it."""
        block = self.one(containing)
        said = shell.run(block, self._ground, {}, room=self.room)
        outputs.compare(block, said)
        self._run.add(block.line)
        return said

    def end(self) -> None:
        """Every block was run, and what was only looked at is listed."""
        assert [block.place for block in self.blocks if block.language in SHELLS and block.line not in self._run] == []
        assert shell.looked_at(self._ground, self.room) == listed.commands(self.room)


@pytest.fixture
def fresh(tmp_path, helm_program):
    """A control plane on which nobody has installed anything."""
    with ControlPlane() as plane:
        yield plane, Ground(plane.programs["kubectl"], helm_program, plane.kubeconfig, tmp_path / "rooms")


def test_the_readme_s_example_does_what_the_readme_says(fresh, tmp_path):
    plane, ground = fresh
    kubectl, receiver = Kubectl(plane), LiveReceiver()
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        kubectl("apply", "-f", str(path))
    page = Page("README.md", ground, {"https://hooks.example.com": receiver.url("").rstrip("/")})
    operator = LiveOperator(plane.kubeconfig, tmp_path / "operator", receiver.ca_pem, "--namespace", "shop")
    try:
        operator.start()
        page.run("make demo")
        said = page.run("kubectl wait --for=condition=Ready")
        labels = {"app": "orders"}
        container = {"name": "orders", "image": "orders"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
        spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
        metadata = {"name": "orders", "labels": labels}
        kubectl.apply(
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}, namespace="shop"
        )
        for available in (3, 2):
            status = {"status": {"replicas": 3, "readyReplicas": 3, "availableReplicas": available}}
            kubectl(
                "patch",
                "deployment",
                "orders",
                "-n",
                "shop",
                "--subresource=status",
                "--type=merge",
                "-p",
                json.dumps(status),
            )
        eventually(lambda: receiver.requests, "the failing Deployment is told")
        secret = said.split()[-1]
        assert all(Webhook(secret).verify(request.body, dict(request.headers)) for request in receiver.requests)
        assert receiver.bodies[-1] == {"text": "orders is failing"}
        page.end()
    finally:
        operator.kill()
        receiver.close()


def test_the_five_minutes_of_the_start_page(fresh, tmp_path):
    plane, ground = fresh
    kubectl = Kubectl(plane)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    there, here = "receiver.hookline-start.svc:8080", f"localhost:{port}"
    page = Page("docs/start.md", ground, {f"{there}{end}": f"{here}{end}" for end in "$ "})
    running: list[Any] = []
    logs = {"hookline": tmp_path / "operator" / "operator.log", "hookline-start": tmp_path / "receiver" / "log"}
    node = Node(plane, logs).__enter__()
    try:
        page.run("helm install")
        running.append(_operator(kubectl, plane, tmp_path))
        page.run("kubectl create namespace hookline-start")
        running.append(_receiver(kubectl, port, tmp_path / "receiver"))
        page.run("kubectl apply -f subscription.yaml")
        log = logs["hookline-start"]
        page.run("create configmap greeting")
        eventually(lambda: "specversion" in log.read_text(), "the script has printed it")
        assert "greetings" in page.run("describe whsub greetings")
    except AssertionError as error:
        told = [path.read_text()[-3000:] for path in tmp_path.rglob("*log") if path.is_file()]
        raise AssertionError("\n".join([str(error), *told])) from None
    finally:
        for process in running:
            process.kill()
            if isinstance(process, subprocess.Popen):
                process.wait()
    try:
        node.drain()
        page.run("helm uninstall")
    finally:
        node.__exit__()
    page.end()
    kinds = kubectl("get", "customresourcedefinitions", "-o", "name")
    assert "hookline.dev" not in kinds


def _operator(kubectl: Kubectl, plane: ControlPlane, home) -> LiveOperator:
    """The operator with the token of its ServiceAccount and the chart's settings."""
    home.mkdir(exist_ok=True)
    config = json.loads(plane.kubeconfig.read_text())
    token = kubectl("create", "token", "hookline", "-n", "hookline", "--duration=1h").strip()
    config["users"][0]["user"] = {"token": token}
    (home / "kubeconfig").write_text(json.dumps(config))
    data = kubectl.json("get", "configmap", "hookline", "-n", "hookline")["data"]
    hosts = [name for name in ("ALLOW_HOSTS", "ALLOW_HTTP_HOSTS") if "receiver" in data[f"HOOKLINE_{name}"]]
    assert len(hosts) == 2, "the page allows its receiver"
    operator = LiveOperator(home / "kubeconfig", home / "operator", "", "--allow-http-host", "localhost")
    return operator.start()


def _receiver(kubectl: Kubectl, port: int, home) -> subprocess.Popen[bytes]:
    """``hookline receive`` with the page's ConfigMap and Secret."""
    home.mkdir()
    secret = kubectl.json("get", "secret", "receiver", "-n", "hookline-start")["data"]
    for name in ("path", "v1"):
        (home / name).write_bytes(base64.b64decode(secret[name]))
    config = kubectl.json("get", "configmap", "receiver", "-n", "hookline-start")["data"]["receive.yaml"]
    config = config.replace("/run/receiver/", "").replace("8080", str(port))
    config = config.replace("/opt/hookline/bin/python", sys.executable).replace("/tmp/ids.db", "ids.db")
    (home / "receive.yaml").write_text(config)
    command = [sys.executable, "-m", "hookline", "receive", "--config", "receive.yaml", "--log-format", "json"]
    with (home / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=home, stdout=log, stderr=log)
