"""Fixtures for tests against a real kube-apiserver. Tests that ask for none of them start nothing."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from controlplane import ControlPlane, ControlPlaneError, binaries
from support.cluster import Kubectl
from support.rights import EVERYBODY_SEES_EVERYTHING

_CRDS = Path(__file__).resolve().parents[1] / "crds"


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build a missing control plane before the first test, where no test's timeout runs and nothing is captured."""
    needs_it = any("control_plane" in getattr(item, "fixturenames", ()) for item in session.items)
    if needs_it and not session.config.option.collectonly:
        try:
            binaries.provide(sys.__stderr__ or sys.stderr)
        except ControlPlaneError as error:
            pytest.exit(f"no control plane for the tests: {error}", returncode=pytest.ExitCode.INTERNAL_ERROR)


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
