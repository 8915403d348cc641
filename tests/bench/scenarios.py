"""What is measured, and against what. Each scenario is a function of the ground, the report and the sizes.

follow: as fast as the API server takes objects. drain: a backlog, with nothing else going on. latency: at a steady
rate. fan: one subscription against a thousand. memory: many objects that are watched and do not change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import mean
from typing import Any

from bench.ground import Ground, Spec, pid_of
from bench.process import memory
from bench.report import Budget, Reference, Report

FOLLOWS = Budget(0.98, on_ratio=True)
DRAINS = Budget(3000)
IN_TIME = Budget(15, at_most=True)
SMALL = Budget(150, at_most=True)
ONE_WATCH = Budget(1, at_most=True)

_IN_FLIGHT = (8, 64)  # the default of a subscription, and the most that it may ask for
_WARM_UP = 200


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    follow: int
    backlogs: tuple[int, ...]
    latency_seconds: int
    watched: int
    fan_events: int
    fan: int = 1000


FULL = Sizes(follow=10_000, backlogs=(5_000, 20_000), latency_seconds=20, watched=100_000, fan_events=5_000)
QUICK = Sizes(follow=2_000, backlogs=(5_000,), latency_seconds=5, watched=10_000, fan_events=2_000)


def follow(ground: Ground, report: Report, sizes: Sizes) -> None:
    """Creation with nobody watching, then with the operator delivering, then with nobody again."""
    report.begin("follow")
    n = sizes.follow
    before = _creation_rate(ground, n)
    run = _follow(ground, n, {"all": {}})
    after = _creation_rate(ground, n)
    alone = Reference("created/s, nobody watching", mean((before, after)))
    beside = Reference("created/s in this load", run["created"])
    report.add("follow: delivered", run["delivered"], "/s", beside, FOLLOWS)
    report.add("follow: delivered, against alone", run["delivered"], "/s", alone)
    report.add("follow: last arrival after last creation", run["late_ms"], "ms")
    report.add("follow: operator's CPU per event", run["cpu_ms"]["operator"], "ms")
    report.add("follow: all CPU per event", sum(run["cpu_ms"].values()), "ms")
    report.add("follow: operator's peak RSS", run["rss"], "MiB")
    report.note("follow", run=run, alone=[before, after])


def drain(ground: Ground, report: Report, sizes: Sizes) -> None:
    """A backlog that was made while the subscription was suspended, sent as fast as it goes."""
    report.begin("drain")
    for in_flight in _IN_FLIGHT:
        ground.sink.reset()
        capacity = Reference("/s, bare sender", ground.bare_sender(20_000, in_flight))
        for backlog in sizes.backlogs:
            run = _drain(ground, backlog, in_flight)
            name = f"drain {backlog:,}, {in_flight} in flight"
            report.add(name, run["rate"], "/s", capacity, DRAINS)
            report.add(f"{name}: operator's CPU", run["cpu_ms"]["operator"], "ms")
            report.note("drain", **{name: run})


def latency(ground: Ground, report: Report, sizes: Sizes) -> None:
    """From the call that creates an object to its webhook, and to its event on a plain watch of the same objects."""
    report.begin("latency")
    namespace = ground.namespace()
    with ground.operator(namespace) as operator:
        ground.subscribe(namespace, {"all": {}}, ready=operator)
        for rate in (100, 200):
            _warm_up(ground, namespace, operator)
            n = rate * sizes.latency_seconds
            result = ground.load(namespace, n, rate=rate, watch=True)
            got = ground.await_arrivals(n, operator)["latency"]
            plain = result["watched"]
            for quantile in ("p50", "p99"):
                budget = IN_TIME if (rate, quantile) == (200, "p99") else None
                reference = Reference("ms, plain watch", plain[f"{quantile}_ms"])
                report.add(f"latency at {rate}/s, {quantile}", got[f"{quantile}_ms"], "ms", reference, budget)
            report.note("latency", **{f"{rate}/s": {"webhook": got, "watch": plain}})


def fan(ground: Ground, report: Report, sizes: Sizes) -> None:
    """One subscription against a thousand to the same resource, all but one of which match nothing."""
    report.begin("fan")
    n = sizes.fan_events
    alone = _follow(ground, n, {"all": {}})
    kinds: dict[str, Spec] = {
        "names": {"names": ["absent"]},
        "labels": {"labelSelector": {"matchLabels": {"app": "absent"}}},
    }
    for kind, selector in kinds.items():
        source = {"apiVersion": "v1", "kind": "ConfigMap", **selector}
        others = {f"other-{number}": {"sources": [source]} for number in range(1, sizes.fan)}
        run = _follow(ground, n, {"all": {}, **others})
        one = Reference("/s with 1 subscription", alone["delivered"])
        report.add(f"fan of {sizes.fan:,} by {kind}: delivered", run["delivered"], "/s", one)
        cpu = Reference("ms with 1", alone["cpu_ms"]["operator"])
        report.add(f"fan of {sizes.fan:,} by {kind}: CPU per event", run["cpu_ms"]["operator"], "ms", cpu)
        report.add(f"fan of {sizes.fan:,} by {kind}: watches", run["watches"], "", None, ONE_WATCH)
        report.add(f"fan of {sizes.fan:,} by {kind}: until all ready", run["ready_seconds"], "s")
        report.note("fan", **{kind: run, "one": alone})


def watched(ground: Ground, report: Report, sizes: Sizes) -> None:
    """Resident memory with many watched objects, of which only metadata is kept, or everything."""
    report.begin("memory")
    n = sizes.watched
    empty = ground.namespace()
    with ground.operator(empty) as operator:
        ground.subscribe(empty, {"all": {}}, ready=operator)
        nothing = Reference("MiB, nothing watched", memory(pid_of(operator)).now)
    namespace = ground.namespace()
    ground.load(namespace, n)
    kinds: dict[str, Spec] = {"metadata kept": {}, "objects kept": {"filter": {"changed": ["data.k"]}}}
    for kind, spec in kinds.items():
        ground.sink.reset()
        with ground.operator(namespace) as operator:
            began = time.monotonic()
            ground.subscribe(namespace, {"all": spec}, ready=operator)
            took = time.monotonic() - began
            listed = memory(pid_of(operator))
            ground.load(namespace, 1000)
            ground.await_arrivals(1000, operator)
            worked = memory(pid_of(operator))
        report.add(f"memory, {n:,} {kind}: after the list", listed.now, "MiB", nothing, SMALL)
        report.add(f"memory, {n:,} {kind}: peak", worked.peak, "MiB", nothing, SMALL)
        report.add(f"memory, {n:,} {kind}: until ready", took, "s")
        report.note("memory", **{kind: {"listed": listed.now, "worked": worked.now, "peak": worked.peak}})


Scenario = Callable[[Ground, Report, Sizes], None]
ALL: Mapping[str, Scenario] = {"follow": follow, "drain": drain, "latency": latency, "fan": fan, "memory": watched}
"""In the order in which they run: the objects of the last one burden the API server."""


def _creation_rate(ground: Ground, n: int) -> float:
    result = ground.load(ground.namespace(), n, what="reference, created")
    rate: float = n / result["seconds"]
    return rate


def _follow(ground: Ground, n: int, specs: Mapping[str, Spec]) -> dict[str, Any]:
    """Create ``n`` objects as fast as it goes, one of the subscriptions matching all of them."""
    namespace = ground.namespace()
    with ground.operator(namespace) as operator:
        began = time.monotonic()
        ground.subscribe(namespace, specs, ready=operator)
        ready_seconds = time.monotonic() - began
        _warm_up(ground, namespace, operator)
        before = ground.cpu(operator)
        result = ground.load(namespace, n)
        stats = ground.await_arrivals(n, operator)
        after = ground.cpu(operator)
        return {
            "created": n / result["seconds"],
            "delivered": n / ((stats["last"] - result["first"]) / 1e9),
            "late_ms": (stats["last"] - result["last"]) / 1e6,
            "duplicates": stats["arrived"] - stats["distinct"],
            "cpu_ms": {name: 1000 * (after[name] - before[name]) / n for name in after},
            "rss": memory(pid_of(operator)).peak,
            "watches": operator.metric("hookline_watches"),
            "ready_seconds": ready_seconds,
            "body_bytes": stats["bytes"] / stats["arrived"],
        }


def _drain(ground: Ground, backlog: int, in_flight: int) -> dict[str, Any]:
    namespace = ground.namespace()
    with ground.operator(namespace) as operator:
        ground.subscribe(namespace, {"all": {"delivery": {"maxInFlight": in_flight}}}, ready=operator)
        _warm_up(ground, namespace, operator)
        ground.suspend(namespace, "all", suspended=True)
        ground.load(namespace, backlog)
        ground.await_pending(backlog, operator)
        ground.sink.reset()
        before = ground.cpu(operator)
        ground.suspend(namespace, "all", suspended=False)
        stats = ground.await_arrivals(backlog, operator)
        after = ground.cpu(operator)
        return {
            "rate": (backlog - 1) / ((stats["last"] - stats["first"]) / 1e9),
            "duplicates": stats["arrived"] - stats["distinct"],
            "connections": stats["conns"],
            "cpu_ms": {name: 1000 * (after[name] - before[name]) / backlog for name in after},
            "rss": memory(pid_of(operator)).peak,
        }


def _warm_up(ground: Ground, namespace: str, operator: Any) -> None:
    """Connections, caches and code that runs for the first time are not what is measured."""
    ground.sink.reset()
    ground.load(namespace, _WARM_UP, what="warming up")
    ground.await_arrivals(_WARM_UP, operator)
    ground.sink.reset()
