"""A real node, the chart on it, a receiver and tenants. ``make cluster-test`` builds what is missing and runs these."""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

import helm as helm_program
from controlplane import ControlPlaneError
from helm import HelmError
from image.errors import ImageError
from node import Node, NodeError
from support.on_node import Cluster, ReceiverPod, Release, Tenant
from support.on_node_changes import Journal

TEST_SECONDS = 600
VALUES = {
    "image": {"pullPolicy": "Never"},
    "persistence": {"storageClass": "local"},
    "settings": {"allowHosts": [ReceiverPod.host], "clusterName": "node", "secretPollSeconds": 1},
    "networkPolicy": {"deliveries": {"ports": [443, 8443]}},
}
_node = Node(out=sys.__stderr__)
_phases: dict[str, float] = {}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test may wait for pods."""
    for item in items:
        item.add_marker(pytest.mark.timeout(TEST_SECONDS))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what is missing before the first test, where no test's timeout runs and nothing is captured.

    These tests need root and minutes, so nobody shall run them, or believe that they ran, by accident.
    """
    if session.config.option.collectonly:
        return
    if not os.environ.get("HOOKLINE_NODE"):
        pytest.exit("tests/node is run by: make cluster-test", returncode=pytest.ExitCode.USAGE_ERROR)
    try:
        _node.provide()
        started = time.monotonic()
        if not (helm_program.cache_directory() / "helm").is_file():
            print("\nbuilding helm, about two minutes ...", file=sys.__stderr__)
        helm_program.provide()
        _phases["helm"] = time.monotonic() - started
    except (ControlPlaneError, HelmError, ImageError, NodeError) as error:
        pytest.exit(f"no node for the tests: {error}", returncode=pytest.ExitCode.INTERNAL_ERROR)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep how long each test took, its fixtures included."""
    name = report.nodeid.rpartition("::")[2]
    _phases[name] = _phases.get(name, 0.0) + report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what took how long; the first test of a session starts the node, and the last ends it."""
    if not _node.phases:
        return
    terminalreporter.section("seconds")
    for name, seconds in {**_node.phases, **_phases}.items():
        terminalreporter.write_line(f"{seconds:7.1f}  {name}")


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    with _node as running:
        yield running


@pytest.fixture(scope="session")
def cluster(node: Node) -> Cluster:
    """kubectl, as the administrator."""
    return Cluster(node)


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Release:
    """The chart; a test says by ``release.be(…)`` with which values."""
    return Release(cluster, helm_program.provide(), VALUES)


@pytest.fixture(scope="session")
def receiver(cluster: Cluster) -> ReceiverPod:
    return ReceiverPod(cluster)


@pytest.fixture
def make_tenant(cluster: Cluster, receiver: ReceiverPod) -> Iterator[Callable[[], Tenant]]:
    made: list[Tenant] = []

    def make() -> Tenant:
        made.append(Tenant(cluster, f"tenant-{uuid.uuid4().hex[:8]}", receiver))
        return made[-1]

    yield make
    for tenant in made:
        cluster("delete", "namespace", tenant.namespace, "--wait=false")


@pytest.fixture
def tenant(make_tenant: Callable[[], Tenant]) -> Tenant:
    """A namespace of the test's own."""
    return make_tenant()


@pytest.fixture
def journal(node: Node, tenant: Tenant) -> Journal:
    """Changes in the tenant's namespace."""
    return Journal(node, tenant.namespace)
