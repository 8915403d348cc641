"""Two operators, one Lease, one volume: one works, the other goes on after it, and nothing is lost or written twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver
from support.load import create_config_maps
from support.scale import note, scale

LEASE_SECONDS = 4.0
TIMES = ("--lease-duration-seconds", "4", "--lease-renew-deadline-seconds", "2.5", "--lease-retry-seconds", "0.5")
TAKEOVER_SECONDS = LEASE_SECONDS + scale(40, 5)  # the short run shares its machine with others


class Pair:
    """Operators ``a`` and ``b`` with one data directory; ``epoch`` is what the Lease says."""

    def __init__(self, make: Callable[[str], LiveOperator], kubectl: Kubectl, namespace: str) -> None:
        self._make = make
        self._kubectl = kubectl
        self._namespace = namespace

    def start(self, name: str) -> LiveOperator:
        """One more, ready: as leader or standing by."""
        return self._make(name).start()

    @property
    def epoch(self) -> int:
        lease = self._kubectl.json("get", "lease", "hookline", "-n", self._namespace)
        return int(lease["spec"]["leaseTransitions"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def pair(
    control_plane: Any,
    crds: object,
    kubectl: Kubectl,
    receiver: LiveReceiver,
    namespace: str,
    tmp_path: Path,
    data: Path,
) -> Iterator[Pair]:
    made: list[LiveOperator] = []

    def make(name: str) -> LiveOperator:
        where = ("--namespace", namespace, "--lease-namespace", namespace, "--data-dir", str(data))
        made.append(LiveOperator(control_plane.kubeconfig, tmp_path / name, receiver.ca_pem, *where, *TIMES))
        return made[-1]

    yield Pair(make, kubectl, namespace)
    for operator in made:
        if operator.process is not None:
            operator.process.send_signal(signal.SIGCONT)
        operator.kill()


def leads(operator: LiveOperator) -> bool:
    """Whether it works: it leads and watches."""
    return operator.metric("hookline_leading") == 1 and operator.metric("hookline_watches") > 0


def told(receiver: LiveReceiver) -> set[str]:
    return {body["data"]["object"]["metadata"]["name"] for body in receiver.bodies}


def wrongly_told(receiver: LiveReceiver, events: int) -> list[str]:
    """More ids than events, or one id with two bodies."""
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        bodies.setdefault(request.id, set()).add(request.body)
    wrong = [ident for ident, variants in bodies.items() if len(variants) > 1]
    return wrong if len(bodies) == events else [*wrong, f"{len(bodies)} ids for {events} events"]


def stored_epoch(data: Path) -> int:
    """The epoch in the file of an outbox that nobody has open."""
    connection = apsw.Connection(str(data / "outbox.db"))
    try:
        return int(connection.execute("SELECT number FROM epoch").get)
    finally:
        connection.close()


def names(kind: str) -> list[str]:
    return [f"{kind}-{number}" for number in range(30)]


def test_of_two_operators_one_works_and_the_other_takes_over_when_it_is_killed(
    pair: Pair, subscriptions: Any, receiver: LiveReceiver, control_plane: Any, namespace: str, data: Path
):
    first = pair.start("a")
    eventually(lambda: first.metric("hookline_leading") == 1, "the first leads")
    subscriptions.ready()
    second = pair.start("b")
    assert second.metric("hookline_leading") == 0
    assert second.get("/healthz")[0] == 200
    assert "hookline_watches 0" in second.get("/metrics")[1]
    create_config_maps(control_plane.kubeconfig, namespace, names("before"))
    eventually(lambda: told(receiver) == set(names("before")), "the first delivers")
    assert pair.epoch == 1

    first.kill()
    killed = time.monotonic()
    create_config_maps(control_plane.kubeconfig, namespace, names("after"))
    eventually(lambda: leads(second), "the second takes over in time", TAKEOVER_SECONDS)
    took = time.monotonic() - killed
    eventually(lambda: told(receiver) == {*names("before"), *names("after")}, "what was missed arrives", 60)
    assert wrongly_told(receiver, 60) == []
    assert pair.epoch == 2
    assert second.stop() == 0
    assert stored_epoch(data) == 2
    note(f"kill -9 of the leader: the standby works {took:.1f} s later (Lease: {LEASE_SECONDS:g} s)")


def test_a_leader_that_ends_hands_over_without_waiting_for_its_lease_to_run_out(pair: Pair, subscriptions: Any):
    first = pair.start("a")
    eventually(lambda: first.metric("hookline_leading") == 1, "the first leads")
    subscriptions.ready()
    second = pair.start("b")
    assert first.stop() == 0
    eventually(lambda: leads(second), "the second takes over", 60)
    assert pair.epoch == 2


def test_a_leader_that_was_paused_beyond_its_lease_writes_nothing_more_and_ends(
    pair: Pair, subscriptions: Any, receiver: LiveReceiver, control_plane: Any, namespace: str, data: Path
):
    first = pair.start("a")
    eventually(lambda: first.metric("hookline_leading") == 1, "the first leads")
    subscriptions.ready()
    second = pair.start("b")
    create_config_maps(control_plane.kubeconfig, namespace, names("before"))
    eventually(lambda: told(receiver) == set(names("before")), "the first delivers")

    paused = first.process
    assert paused is not None
    os.kill(paused.pid, signal.SIGSTOP)
    # The kernel keeps the paused one's lock: the second leads, can't open the outbox, and says so.
    eventually(lambda: "in use by process" in second.get("/readyz")[1], "the second waits for the outbox", 60)
    assert pair.epoch == 2
    create_config_maps(control_plane.kubeconfig, namespace, names("after"))
    os.kill(paused.pid, signal.SIGCONT)
    assert paused.wait(60) == 1
    last = first.log.read_text().splitlines()[-1]
    assert "Lease" in last, last
    assert "Traceback" not in first.log.read_text()
    eventually(lambda: told(receiver) == {*names("before"), *names("after")}, "the second delivers what was missed", 90)
    assert wrongly_told(receiver, 60) == []
    assert second.stop() == 0
    assert stored_epoch(data) == 2


def test_a_lease_that_somebody_deletes_costs_a_restart_and_the_epoch_still_grows(
    pair: Pair, subscriptions: Any, kubectl: Kubectl, namespace: str, data: Path
):
    first = pair.start("a")
    eventually(lambda: first.metric("hookline_leading") == 1, "the first leads")
    subscriptions.ready()
    assert first.stop() == 0
    second = pair.start("b")
    eventually(lambda: leads(second), "the second leads")
    assert pair.epoch == 2
    kubectl("delete", "lease", "hookline", "-n", namespace)
    assert second.process is not None
    assert second.process.wait(60) == 1
    third = pair.start("c")
    eventually(lambda: leads(third), "the third leads under a new Lease", 60)
    assert pair.epoch == 3
    assert third.stop() == 0
    assert stored_epoch(data) == 3
