"""Fixtures of the whole: the operator as a process, a receiver in a thread, and subscriptions made in a line.

A conftest imports those that its tests need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver

Object = dict[str, Any]


@pytest.fixture
def receiver() -> Iterator[LiveReceiver]:
    """A fresh TLS receiver."""
    live = LiveReceiver()
    yield live
    live.close()


@pytest.fixture
def make_operator(
    control_plane: ControlPlane, crds: object, receiver: LiveReceiver, namespace: str, tmp_path: Path
) -> Iterator[Callable[..., LiveOperator]]:
    """An operator for the test's namespace, not yet started; ended after the test."""
    made: list[LiveOperator] = []

    def make(*flags: str) -> LiveOperator:
        flags = ("--namespace", namespace, *flags)
        made.append(LiveOperator(control_plane.kubeconfig, tmp_path / "operator", receiver.ca_pem, *flags))
        return made[-1]

    yield make
    for operator in made:
        operator.kill()


@pytest.fixture
def operator(make_operator: Callable[..., LiveOperator]) -> LiveOperator:
    """A running operator with the tests' usual flags."""
    return make_operator().start()


class Subscriptions:
    """Makes subscriptions in the test's namespace, and looks at them."""

    def __init__(self, kubectl: Kubectl, namespace: str, receiver: LiveReceiver) -> None:
        self._kubectl = kubectl
        self._namespace = namespace
        self._receiver = receiver

    def apply(self, name: str = "orders", **spec: Any) -> None:
        """Apply one; ConfigMaps of the namespace to the receiver unless ``spec`` says otherwise."""
        plain = {
            "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
            "destination": {"url": self._receiver.url(f"/{name}")},
        }
        self._kubectl.apply(
            {
                "apiVersion": "hookline.dev/v1alpha1",
                "kind": "WebhookSubscription",
                "metadata": {"name": name},
                "spec": plain | spec,
            },
            namespace=self._namespace,
        )

    def get(self, name: str = "orders") -> Any:
        """The object."""
        return self._kubectl.json("get", "whsub", name, "-n", self._namespace)

    def condition(self, kind: str, name: str = "orders") -> tuple[str, str, str]:
        """Status, reason and message of one condition, for the current generation only."""
        obj = self.get(name)
        for item in obj.get("status", {}).get("conditions", ()):
            if item["type"] == kind and item.get("observedGeneration") == obj["metadata"]["generation"]:
                return item["status"], item["reason"], item["message"]
        return "", "", ""

    def wait(self, reason: str, name: str = "orders", kind: str = "Ready") -> str:
        """Wait until the condition has this reason; returns its message."""
        eventually(lambda: self.condition(kind, name)[1] == reason, f"{kind} of {name} has the reason {reason}")
        return self.condition(kind, name)[2]

    def ready(self, name: str = "orders", **spec: Any) -> None:
        """Apply one and wait until it watches."""
        self.apply(name, **spec)
        self.wait("Watching", name)


@pytest.fixture
def subscriptions(kubectl: Kubectl, namespace: str, receiver: LiveReceiver) -> Subscriptions:
    """``subscriptions.ready("name", filter=…)``."""
    return Subscriptions(kubectl, namespace, receiver)


@pytest.fixture
def config_map(kubectl: Kubectl, namespace: str) -> Callable[..., None]:
    """Create or change a ConfigMap: ``config_map("a", key="value")``."""

    def apply(name: str, **data: str) -> None:
        kubectl.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}, namespace=namespace
        )

    return apply
