"""A few minutes in the life of an operator: busy and quiet times, an outage, slow, refused and given-up endpoints.

In: how long. Out: a Prometheus that scraped it every second, and from when to when.
"""

from __future__ import annotations

import contextlib
import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import prometheus as programs
from controlplane import ControlPlane
from pictures.endpoints import Endpoints
from pictures.load import Load
from support.cluster import Kubectl, eventually
from support.live import LiveOperator
from support.prometheus_live import LivePrometheus
from support.rights import EVERYBODY_SEES_EVERYTHING

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "shop"
TOO_LARGE = 20_000
WARM_SECONDS = 20.0
"""So long before the first picture something is going on already."""
FLAGS = (
    *("--namespace", NAMESPACE, "--subscription-metrics", "4", "--max-body-bytes", "8192"),
    *("--delivered-retention-seconds", "45", "--log-level", "info"),
)


@contextlib.contextmanager
def playing(seconds: float, say: Callable[[str], None]) -> Iterator[tuple[LivePrometheus, float, float]]:
    """Play it, and hand over the Prometheus that watched; it ends with the block."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        plane = stack.enter_context(ControlPlane())
        kubectl = Kubectl(plane)
        _install(kubectl)
        endpoints = stack.enter_context(Endpoints(seconds))
        operator = LiveOperator(plane.kubeconfig, scratch / "operator", endpoints.ca_pem, *FLAGS)
        stack.callback(operator.kill)
        operator.start()
        rules = scratch / "rules.yaml"
        rules.write_text("groups: []\n")
        prometheus = LivePrometheus(programs.provide().prometheus, scratch / "prometheus", operator.port, rules)
        stack.callback(prometheus.close)
        say("the operator and Prometheus run")
        kubectl.apply(*_subscriptions(endpoints), namespace=NAMESPACE)
        eventually(lambda: operator.metric('hookline_subscriptions{state="ready"}') >= len(endpoints.names), "ready")
        say(f"the load goes on for {seconds:.0f} s")
        with Load(plane.kubeconfig, NAMESPACE) as load:
            _play(load, time.time(), WARM_SECONDS, 1.0)
            start = time.time()
            endpoints.begin()
            _play(load, start, seconds / 3, seconds)
            kubectl.apply(_subscription("inside", {"destination": {"url": "https://10.0.0.1/"}}), namespace=NAMESPACE)
            _play(load, start, seconds, seconds)
        yield prometheus, start, time.time()


def _install(kubectl: Kubectl) -> None:
    files = [f"--filename={path}" for path in sorted((ROOT / "crds").glob("*.yaml"))]
    names = kubectl("apply", "--server-side", *files, "-o", "name").split()
    kinds = [name for name in names if name.startswith("customresourcedefinition")]
    kubectl("wait", "--for=condition=Established", "--timeout=60s", *kinds)
    kubectl("create", "namespace", NAMESPACE)
    kubectl.apply(*EVERYBODY_SEES_EVERYTHING)


def _subscriptions(endpoints: Endpoints) -> list[dict[str, Any]]:
    delivery: dict[str, Any] = {
        "bills": {"retry": {"schedule": [1, 2]}},
        "chat": {"retry": {"schedule": [2]}},
        "audit": {"maxInFlight": 2},
    }
    specs: dict[str, dict[str, Any]] = {
        name: {"destination": {"url": endpoints.url(name)}, "delivery": delivery.get(name, {})}
        for name in endpoints.names
    }
    # What is sent nowhere should not outweigh the rest.
    specs["legacy"]["filter"] = {"expression": "int(object.data.?number.orValue('1')) % 9 == 0"}
    specs["strict"] = {
        "destination": {"url": endpoints.url("orders")},
        "filter": {"expression": "int(object.data.number) % 7 == 0"},  # fails where there is no number
    }
    specs["paused"] = {**specs["legacy"], "destination": {"url": endpoints.url("orders")}, "suspend": True}
    specs["incomplete"] = {
        **specs["legacy"],
        "destination": {"urlFrom": {"secretKeyRef": {"name": "none", "key": "url"}}},
    }
    return [_subscription(name, spec) for name, spec in specs.items()]


def _subscription(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    source = {"apiVersion": "v1", "kind": "ConfigMap"}
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": name},
        "spec": {"sources": [source], **spec},
    }


def _play(load: Load, start: float, seconds: float, whole: float) -> None:
    """Waves of changes, a burst in the middle, and now and then an object that is too large or has no number."""
    dice = random.Random(1)  # noqa: S311 (no secret)
    next_odd = time.time() + 5
    while (passed := time.time() - start) < seconds:
        share = min(passed / whole, 1.0)
        wave = 10 + 6 * math.sin(share * 6 * math.pi) + (25 if 0.55 < share < 0.63 else 0)
        if time.time() > next_odd:
            next_odd += 12
            load.create({"text": "x" * TOO_LARGE} if dice.random() < 0.5 else {"text": "no number"})
        for _ in range(max(1, round(wave / 4))):
            load.change(dice)
        load.rest(0.25)
