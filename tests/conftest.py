"""Fixtures for tests against a real kube-apiserver. Tests that ask for none of them start nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import ControlPlane
from support import tools
from support.cluster import Kubectl
from support.rights import EVERYBODY_SEES_EVERYTHING

_CRDS = Path(__file__).resolve().parents[1] / "crds"
_NEEDED = pytest.StashKey[dict[Path, set[str]]]()
_BUILDING = pytest.StashKey[subprocess.Popen[bytes] | None]()


def pytest_configure() -> None:
    """Let children be interrupted, as some tests do, also where the run is in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need no tool come first, so that missing ones are built meanwhile."""
    items[:] = tools.ordered(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin to build missing tools, in one of the processes of a run."""
    if session.config.option.collectonly:
        return
    session.config.stash[_NEEDED] = needed = tools.needed(session.items)
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        session.config.stash[_BUILDING] = tools.begin(set().union(*needed.values()))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Wait for the tools that a test needs before its timeout runs; without one, the run ends with that test."""
    if reason := tools.await_all(item.config.stash[_NEEDED][item.path]):
        item.session.shouldstop = reason
    return (yield)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Build no longer than somebody waits."""
    if building := config.stash.get(_BUILDING, None):
        tools.end(building)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane of its own for this run."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    """``kubectl("get", "cm", …)`` as the administrator; see ``support.cluster.Kubectl``."""
    return Kubectl(control_plane)


@pytest.fixture(scope="session")
def crds(kubectl: Kubectl) -> list[str]:
    """All of ``crds/`` in force, and ServiceAccounts that see everything; the value is the names of our kinds."""
    files = [f"--filename={path}" for path in sorted(_CRDS.glob("*.yaml"))]
    if not files:
        return []
    names = kubectl("apply", "--server-side", *files, "-o", "name").split()
    kinds = [name for name in names if name.startswith("customresourcedefinition")]
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *kinds)
    kubectl.apply(*EVERYBODY_SEES_EVERYTHING)
    return [name.partition("/")[2] for name in kinds]


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace of the test's own; its deletion is asked for afterwards, not awaited."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.request("POST", "/api/v1/namespaces", body)
    yield name
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")
