"""A control plane of its own, in which no ServiceAccount has any rights but those that a test gives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl
from support.schema import CRDS
from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    return Kubectl(control_plane)


@pytest.fixture(scope="session")
def crds(kubectl: Kubectl) -> None:
    """Our kinds; the policy about ServiceAccounts is a matter of its own test."""
    files = [f"--filename={path}" for path in sorted(CRDS.glob("hookline.dev_*.yaml"))]
    names = kubectl("apply", "--server-side", *files, "-o", "name").split()
    kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
