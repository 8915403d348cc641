"""Every block that has ``kubectl hookline`` in it, carried out: real kubectl, the real plugin, an operator that runs.

The world is the one that the pages tell of: a Deployment ``orders`` in the namespace ``shop``, and two subscriptions.
Only three things are not as they are printed: where the operator's API listens (there is no node, so no pod to forward
to), the id of a delivery, and ``--follow``, which would never end.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver
from support.served import AUDIENCE, free_port, token_of
from support.snippets.blocks import ROOT, Block, blocks, files, of_all
from support.snippets.check import SHELLS
from support.snippets.shell import script

PLUGIN = "kubectl hookline"
INTERACTIVE = "kubectl hookline new -n shop\n"
"""Asks on a terminal: tests/cli/test_new.py answers it."""
BLOCKS = [
    block
    for block in of_all()
    if block.language in SHELLS and PLUGIN in script(block) and script(block) != INTERACTIVE and not block.marks
]
_WRAPPER = """\
#!{python}
import re, sys
from hookline.cli.main import kubectl
words = [re.sub(r"^msg_[a-z2-7]{{32}}$", {delivery!r}, word) for word in sys.argv[1:] if word != "--follow"]
if words[:1] == ["deliveries"]:
    words += ["--server", {server!r}, "--token-file", {token!r}]
sys.exit(kubectl(words))
"""
DEPLOYMENT = """
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
ORDERS = """
apiVersion: hookline.dev/v1alpha1
kind: WebhookSubscription
metadata: {name: orders, namespace: shop}
spec:
  serviceAccountName: order-watcher
  sources: [{apiVersion: apps/v1, kind: Deployment}]
  destination: {url: "https://hooks.example.com/orders"}
"""


class World(NamedTuple):
    """Where blocks are carried out, and in what environment."""

    room: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("plugin")
    with ControlPlane() as plane:
        kubectl, receiver, port = Kubectl(plane), LiveReceiver(), free_port()
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            kubectl("apply", "-f", str(path))
        kubectl("create", "namespace", "shop")
        kubectl("create", "serviceaccount", "order-watcher", "-n", "shop")
        granted = ("--verb=get,list,watch", "--resource=deployments.apps")
        kubectl("create", "role", "order-watcher", "-n", "shop", *granted)
        bound = ("--role=order-watcher", "--serviceaccount=shop:order-watcher")
        kubectl("create", "rolebinding", "order-watcher", "-n", "shop", *bound)
        kubectl("create", "secret", "generic", "slack", "-n", "shop", f"--from-literal=url={receiver.url('/slack')}")
        kubectl("create", "serviceaccount", "reader", "-n", "shop")
        kubectl("create", "clusterrolebinding", "reader", "--clusterrole=cluster-admin", "--serviceaccount=shop:reader")
        flags = ("--namespace", "shop", "--api-port", str(port))
        operator = LiveOperator(plane.kubeconfig, home / "operator", receiver.ca_pem, *flags)
        try:
            operator.start()
            # An address that resolves here; on the pages it is one of the internet.
            there = receiver.url("").rstrip("/")
            failing = files(list(blocks((ROOT / "README.md").read_text(), "README.md")))["failing-orders.yaml"]
            for text in (ORDERS, ORDERS.replace("name: orders,", "name: slack,"), failing):
                kubectl.apply(yaml.safe_load(text.replace("https://hooks.example.com", there)))
            kubectl("wait", "--for=condition=Ready", "whsub", "--all", "-n", "shop", "--timeout=60s")
            kubectl.apply(yaml.safe_load(DEPLOYMENT))
            eventually(lambda: receiver.requests, "the Deployment is told")
            (home / "token").write_text(token_of(plane, "shop", "reader", AUDIENCE))
            yield World(home, _environment(plane, home, f"http://127.0.0.1:{port}", receiver.ids[0]))
        finally:
            operator.kill()
            receiver.close()


def _environment(plane: ControlPlane, home: Path, server: str, delivery: str) -> dict[str, str]:
    programs = home / "bin"
    programs.mkdir()
    (programs / "kubectl").symlink_to(plane.programs["kubectl"])
    wrapper = programs / "kubectl-hookline"
    token = str(home / "token")
    wrapper.write_text(_WRAPPER.format(python=sys.executable, server=server, token=token, delivery=delivery))
    wrapper.chmod(0o755)
    return {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "KUBECONFIG": str(plane.kubeconfig),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "operator")]),
    }


def _carry_out(world: World, text: str, page: str = "README.md") -> subprocess.CompletedProcess[str]:
    given = {"orders.yaml": ORDERS, **files(list(blocks((ROOT / page).read_text("utf-8"), page)))}
    for name, content in given.items():
        (world.room / name).write_text(content, encoding="utf-8")
    return subprocess.run(
        ["bash", "-eu", "-o", "pipefail", "-c", text],
        cwd=world.room,
        env=world.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_with_the_plugin_is_carried_out(world: World, block: Block) -> None:
    done = _carry_out(world, script(block), block.page)
    assert done.returncode == 0, f"{block.place}:\n{script(block)}{done.stdout[-2000:]}{done.stderr[-3000:]}"
    assert done.stdout or done.stderr or ">" in script(block)


@pytest.mark.parametrize(
    "command",
    [
        *("deliveries show -n shop", "deliveries other -n shop", "explain nonsense -n shop", "status other -n shop"),
        *("replay other -n shop", "ping orders -n other", "new -n shop"),
    ],
)
def test_the_control_a_command_that_can_not_be_right_fails(world: World, command: str) -> None:
    assert _carry_out(world, f"{PLUGIN} {command}").returncode != 0, shlex.split(command)
