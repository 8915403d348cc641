"""What pages take for granted, and which of their commands are to fail: the setting of each, by page and by block.

In: a page or a block. Out: a ``Scene``. A block is known by words that occur in it; the tests see to it that they do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import trustme
import yaml

from support.served import free_port
from support.snippets import manifests
from support.snippets.blocks import ROOT, Block, blocks
from support.snippets.programs import BODY, Key
from support.snippets.world import World

Act = Callable[[World, Path], object]


def _nothing(world: World, home: Path) -> None:
    pass


@dataclass(frozen=True)
class Scene:
    """``before`` and ``after`` get the world and the page's directory; ``code`` is how the block ends."""

    before: Act = _nothing
    after: Act = _nothing
    code: int = 0
    replaced: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


def secret(name: str, **entries: str) -> Act:
    """A Secret in ``shop``."""

    def make(world: World, home: Path) -> None:
        head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
        world.kubectl.apply(head | {"stringData": entries}, namespace="shop")

    return make


def without(*objects: str) -> Act:
    """Without what the page makes itself."""
    return lambda world, home: world.kubectl("delete", "-n", "shop", *objects)


def answering(status: int) -> Act:
    """The receiver answers so."""
    return lambda world, home: world.receiver.do(lambda receiver: receiver.answer(status))


def failing(world: World, home: Path) -> None:
    """The endpoint fails again, and a message is dead."""
    answering(503)(world, home)
    world.config_map("prices", str(time.time_ns()))
    world.dead_letters(1)


def receiving(world: World, home: Path) -> None:
    """The files that docs/receiving.md names, and a saved request."""
    page = "docs/receiving.md"
    (text,) = [
        block.text
        for block in blocks((ROOT / page).read_text("utf-8"), page)
        if block.language == "yaml" and block.text.startswith("listen: {host")
    ]
    for port in ("8443", "8081"):
        text = text.replace(f"port: {port}", f"port: {free_port()}")
    text = manifests.filled(text).replace("sqlite:/var/lib/hookline/", "sqlite:").replace("/usr/local", str(home))
    (home / "receive.yaml").write_text(text, encoding="utf-8")
    manifests.provide(yaml.safe_load(text), home)
    pair = trustme.CA().issue_cert("in.example.com")
    pair.cert_chain_pems[0].write_to_path(str(home / "tls.crt"))
    pair.private_key_pem.write_to_path(str(home / "tls.key"))
    key = Key()
    (home / "orders.key").write_text(key.secret, encoding="utf-8")
    (home / "headers.txt").write_text("".join(f"{name}: {value}\n" for name, value in key.headers().items()), "utf-8")
    (home / "body.json").write_bytes(BODY)
    secret("orders-endpoint", path=f"/{time.time_ns()}")(world, home)


def kustomized(world: World, home: Path) -> None:
    """By kustomize instead of the chart, which docs/reference/chart.md has taken away before."""
    world.kubectl("create", "namespace", "argocd")


_ACCOUNT = ("serviceaccount/order-watcher",)
PAGES: Mapping[str, Scene] = {
    "docs/explain.md": Scene(secret("slack", url="https://hooks.slack.com/services/T0/B0/x")),
    "docs/guides/multi-tenancy.md": Scene(without(*_ACCOUNT)),
    "docs/operate/gitops.md": Scene(kustomized),
    "docs/receiving.md": Scene(
        receiving, env={"ALICE_TOKEN": "a-token-of-some-length", "ORDERS_DATABASE": "sqlite:orders.db"}
    ),
    "docs/runbooks/HooklineEndpointDisabled.md": Scene(
        replaced={"-n NAMESPACE describe whsub NAME": "-n shop describe whsub orders"}
    ),
    "docs/signing.md": Scene(secret("my-key", v1=Key().secret)),
    "docs/tenancy.md": Scene(without(*_ACCOUNT)),
}
BLOCKS: Mapping[tuple[str, str], Scene] = {
    ("docs/kubectl.md", "it failed: HTTP503"): Scene(failing, answering(200), code=1),
    ("docs/reference/chart.md", "$ helm install"): Scene(lambda world, home: world.helm("uninstall", "hookline")),
}
FIRST = ("docs/kubectl.md",)
LAST = ("docs/operate/upgrade.md", "docs/reference/chart.md", "docs/operate/gitops.md")
"""What shows the world as it begins; what scales down, takes away, and puts another operator into its place."""


def of(block: Block) -> Scene:
    """That of a block."""
    found = [scene for (page, words), scene in BLOCKS.items() if page == block.page and words in block.text]
    return found[0] if found else Scene()


def order(page: str) -> tuple[int, str]:
    """In which order pages are carried out."""
    if page in FIRST:
        return FIRST.index(page), page
    return (100 + LAST.index(page) if page in LAST else 50), page


def replaced(text: str, page: str, world: World) -> str:
    """What a page can't know: ids of this run."""
    for old, new in PAGES.get(page, Scene()).replaced.items():
        text = text.replace(old, new)
    return re.sub(r"\bmsg_[a-z2-7]{32}\b", world.dead, text)
