"""What is measured, and against what. Each scenario is a function of the ground, the report and the sizes.

follow: as fast as the API server takes objects. drain: a backlog, with nothing else going on. latency: at a steady
rate. fan: one subscription against a thousand. memory: many objects that are watched and do not change.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.ground import Ground, Spec, pid_of
from bench.process import Snapshot, memory
from bench.report import Budget, Reference, Report
from support.live import LiveOperator

Run = dict[str, Any]
"""What one run measured; all of it goes into the JSON file."""

FOLLOWS = Budget(0.98, on_ratio=True)
DRAINS = Budget(3000)
IN_TIME = Budget(15, at_most=True)
SMALL = Budget(150, at_most=True)
ONE_WATCH = Budget(1, at_most=True)

_IN_FLIGHT = (8, 64)  # the default of a subscription, and the most that it may ask for
_WARM_UP = 200
_BARE = 20_000
_AFTER_LIST = 1_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    follow: int
    backlogs: tuple[int, ...]
    latency_seconds: int
    watched: int
    fan_events: int
    turns: int
    fan: int = 1000


FULL = Sizes(follow=10_000, backlogs=(5_000, 20_000), latency_seconds=20, watched=100_000, fan_events=5_000, turns=3)
QUICK = Sizes(follow=2_000, backlogs=(5_000,), latency_seconds=5, watched=10_000, fan_events=2_000, turns=1)


def follow(ground: Ground, report: Report, sizes: Sizes) -> None:
    """Creation with nobody watching and with the operator delivering, in turns; the figures are of the median turn."""
    report.begin("follow")
    n = sizes.follow
    runs, alone = [], [_creation_rate(ground, n)]
    for _ in range(sizes.turns):
        runs.append(_follow(ground, n, {"all": {}}))
        alone.append(_creation_rate(ground, n))
    run = _median(runs, "kept_up")
    beside = Reference("created/s in this load", run["created"])
    before = Reference("created/s, nobody watching", median(alone))
    report.add("follow: delivered", run["delivered"], "/s", beside, FOLLOWS, others=run["others"])
    report.add("follow: delivered, against alone", run["delivered"], "/s", before)
    report.add("follow: last arrival after last creation", run["late_ms"], "ms")
    report.add("follow: operator's CPU per event", run["cpu_ms"]["operator"], "ms")
    report.add("follow: CPU per event of all", sum(run["cpu_ms"].values()), "ms")
    report.add("follow: operator's event loop busy", 100 * run["loop"], "%")
    report.add("follow: operator's peak RSS", run["rss"], "MiB")
    report.note("follow", runs=runs, alone=alone)


def drain(ground: Ground, report: Report, sizes: Sizes) -> None:
    """A backlog that was made while the subscription was suspended, sent as fast as it goes; the median of turns."""
    report.begin("drain")
    for in_flight in _IN_FLIGHT:
        for backlog in sizes.backlogs:
            runs = [_drain(ground, backlog, in_flight) for _ in range(sizes.turns)]
            run = _median(runs, "rate")
            capacity = Reference("/s, bare sender", run["bare"])
            name = f"drain {backlog:,}, {in_flight} in flight"
            report.add(name, run["rate"], "/s", capacity, DRAINS, others=run["others"])
            report.add(f"{name}: operator's CPU", run["cpu_ms"]["operator"], "ms")
            report.add(f"{name}: event loop busy", 100 * run["loop"], "%")
            report.note("drain", **{name: runs})


def latency(ground: Ground, report: Report, sizes: Sizes) -> None:
    """From the call that creates an object to its webhook, and to its event on a plain watch of the same objects."""
    report.begin("latency")
    namespace = ground.namespace()
    with ground.operator(namespace) as operator:
        ground.subscribe(namespace, {"all": {}}, ready=operator)
        for rate in (100, 200):
            _warm_up(ground, namespace, operator)
            n = rate * sizes.latency_seconds
            before = ground.snapshot(operator)
            plain = ground.load(namespace, n, rate=rate, watch=True)["watched"]
            got = ground.await_arrivals(n, operator)["latency"]
            usage = ground.snapshot(operator).since(before)
            for quantile in ("p50", "p99"):
                budget = IN_TIME if (rate, quantile) == (200, "p99") else None
                reference = Reference("ms, plain watch", plain[f"{quantile}_ms"])
                name = f"latency at {rate}/s, {quantile}"
                report.add(name, got[f"{quantile}_ms"], "ms", reference, budget, others=usage.others)
            report.add(f"latency at {rate}/s, operator's CPU", 1000 * usage.cpu["operator"] / n, "ms")
            report.note("latency", **{f"{rate}/s": {"webhook": got, "watch": plain}})


def fan(ground: Ground, report: Report, sizes: Sizes) -> None:
    """One subscription against a thousand to the same resource, all but one of which match nothing."""
    report.begin("fan")
    n = sizes.fan_events
    kinds: dict[str, Spec] = {
        "names": {"names": ["absent"]},
        "labels": {"labelSelector": {"matchLabels": {"app": "absent"}}},
    }
    for kind, selector in kinds.items():
        alone = _follow(ground, n, {"all": {}})
        source = {"apiVersion": "v1", "kind": "ConfigMap", **selector}
        others = {f"other-{number}": {"sources": [source]} for number in range(1, sizes.fan)}
        run = _follow(ground, n, {"all": {}, **others})
        name = f"fan of {sizes.fan:,} by {kind}"
        rate, cpu = Reference("/s with 1", alone["delivered"]), Reference("ms with 1", alone["cpu_ms"]["operator"])
        report.add(f"{name}: delivered", run["delivered"], "/s", rate, others=run["others"])
        report.add(f"{name}: CPU per event", run["cpu_ms"]["operator"], "ms", cpu)
        report.add(f"{name}: watches", run["watches"], "", None, ONE_WATCH)
        report.add(f"{name}: until all are ready", run["ready_seconds"], "s")
        report.add(f"{name}: peak RSS", run["rss"], "MiB", Reference("MiB with 1", alone["rss"]))
        report.note("fan", **{kind: run, f"one, before {kind}": alone})


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
    kinds: dict[str, Spec] = {"metadata kept": {}, "whole objects kept": {"filter": {"changed": ["data.k"]}}}
    for kind, spec in kinds.items():
        ground.sink.reset()
        with ground.operator(namespace) as operator:
            before = ground.snapshot(operator)
            ground.subscribe(namespace, {"all": spec}, ready=operator)
            usage = ground.snapshot(operator).since(before)
            listed = memory(pid_of(operator))
            ground.load(namespace, _AFTER_LIST)
            ground.await_arrivals(_AFTER_LIST, operator)
            worked = memory(pid_of(operator))
        name = f"memory, {kind}"
        report.add(f"{name}: {n:,} listed", listed.now, "MiB", nothing, SMALL)
        report.add(f"{name}: peak", worked.peak, "MiB", nothing, SMALL)
        report.add(f"{name}: until ready", usage.seconds, "s", others=usage.others)
        report.note("memory", **{kind: {"listed": listed.now, "worked": worked.now, "peak": worked.peak}})


Scenario = Callable[[Ground, Report, Sizes], None]
ALL: Mapping[str, Scenario] = {"follow": follow, "drain": drain, "latency": latency, "fan": fan, "memory": watched}
"""In the order in which they run: the objects of the last one burden the API server."""


def _creation_rate(ground: Ground, n: int) -> float:
    result = ground.load(ground.namespace(), n, what="reference, created")
    rate: float = n / result["seconds"]
    return rate


def _follow(ground: Ground, n: int, specs: Mapping[str, Spec]) -> Run:
    """Create ``n`` objects as fast as it goes, one of the subscriptions matching all of them."""
    namespace = ground.namespace()
    with ground.operator(namespace) as operator:
        began = time.monotonic()
        ground.subscribe(namespace, specs, ready=operator)
        ready_seconds = time.monotonic() - began
        _warm_up(ground, namespace, operator)
        before = ground.snapshot(operator)
        result = ground.load(namespace, n)
        stats = ground.await_arrivals(n, operator)
        created, delivered = n / result["seconds"], n / ((stats["last"] - result["first"]) / 1e9)
        return {
            "created": created,
            "delivered": delivered,
            "kept_up": delivered / created,
            "late_ms": (stats["last"] - result["last"]) / 1e6,
            "body_bytes": stats["bytes"] / stats["arrived"],
            "watches": operator.metric("hookline_watches"),
            "ready_seconds": ready_seconds,
            **_cost(ground, before, operator, stats),
        }


def _drain(ground: Ground, backlog: int, in_flight: int) -> Run:
    """Make a backlog, measure what the sink takes at all, let the backlog go."""
    namespace = ground.namespace()
    with ground.operator(namespace) as operator:
        ground.subscribe(namespace, {"all": {"delivery": {"maxInFlight": in_flight}}}, ready=operator)
        _warm_up(ground, namespace, operator)
        ground.suspend(namespace, "all", suspended=True)
        ground.load(namespace, backlog)
        ground.await_pending(backlog, operator)
        bare = ground.bare_sender(_BARE, in_flight)
        ground.sink.reset()
        before = ground.snapshot(operator)
        ground.suspend(namespace, "all", suspended=False)
        stats = ground.await_arrivals(backlog, operator)
        rate = (backlog - 1) / ((stats["last"] - stats["first"]) / 1e9)
        return {"rate": rate, "bare": bare, **_cost(ground, before, operator, stats)}


def _cost(ground: Ground, before: Snapshot, operator: LiveOperator, stats: Mapping[str, Any]) -> Run:
    """What it took to deliver what ``stats`` counts."""
    usage = ground.snapshot(operator).since(before)
    return {
        "cpu_ms": {name: 1000 * seconds / stats["distinct"] for name, seconds in usage.cpu.items()},
        "loop": usage.loop,
        "others": usage.others,
        "rss": memory(pid_of(operator)).peak,
        "duplicates": stats["arrived"] - stats["distinct"],
    }


def _median(runs: list[Run], by: str) -> Run:
    """The run in the middle of the order of ``by``."""
    return sorted(runs, key=lambda run: float(run[by]))[len(runs) // 2]


def _warm_up(ground: Ground, namespace: str, operator: LiveOperator) -> None:
    """Connections, caches, code that runs for the first time and new subscriptions are not what is measured."""
    ground.sink.reset()
    ground.load(namespace, _WARM_UP, what="warming up")
    ground.await_arrivals(_WARM_UP, operator)
    ground.await_calm(operator)
    ground.sink.reset()
