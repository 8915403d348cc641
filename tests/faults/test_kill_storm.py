"""kill -9 at random moments during random changes: judged by a journal of what the API server committed.

Short: 4 kills during 600 changes. Full: 50 during 10,000.
"""

import shutil
import time

import pytest
import yaml

from support.cluster import eventually
from support.load import Changes
from support.scale import note, scale, seeded
from support.told import account

KILLS = scale(4, 50)
CHANGES = scale(600, 10_000)
PATIENCE = scale(60, 300)
FILTERED, METADATA, STANDARD = "/filtered", "/metadata", "/standard"


def matters(written):
    """What the filter on ``data.color`` lets through."""
    return written.operation != "Updated" or written.data["color"] != written.before["color"]


@pytest.fixture
def delivery(pytestconfig):
    """The strongest promise of order that the CRD has, while several messages are under way."""
    files = (pytestconfig.rootpath / "crds").glob("*.yaml")
    has_ordering = any("PerObject" in path.read_text() and yaml.safe_load(path.read_text()) for path in files)
    return {"maxInFlight": 8} | ({"ordering": "PerObject"} if has_ordering else {})


def make_subscriptions(subscriptions, delivery):
    subscriptions.ready("filtered", delivery=delivery, filter={"changed": ["data.color"]})
    subscriptions.ready("metadata", delivery=delivery, payload={"content": "Metadata"})
    subscriptions.ready("standard", delivery=delivery, payload={"format": "StandardWebhooks"})


def storm(operator, changes, rng, kills, count, *, after_kill=lambda: None):
    """Kill and start again, mostly while it works, sometimes while it starts."""
    for number in range(kills):
        if rng.random() < 0.75:
            operator.wait_ready()
        share = count // kills
        at = len(changes.journal) + rng.randrange(share // 4, share)
        changes.allow(share)
        eventually(lambda: len(changes.journal) >= at or not changes.working, f"the moment of kill {number + 1}", 60)  # noqa: B023
        time.sleep(rng.uniform(0, 0.05))  # the moment is what is random here: not only just after an answer
        operator.kill()
        after_kill()
        operator.launch()
    changes.allow(count - count // kills * kills)
    return changes.finish()


def test_none_is_lost_changed_or_out_of_order_over_many_kills(
    make_operator, control_plane, namespace, subscriptions, receiver, delivery
):
    rng = seeded()
    operator = make_operator().start()
    make_subscriptions(subscriptions, delivery)
    journal = storm(operator, Changes(control_plane.kubeconfig, namespace, rng), rng, KILLS, CHANGES)
    assert len(journal) == CHANGES
    operator.wait_ready()

    def accounts():
        requests = receiver.requests
        ordered = "ordering" in delivery
        return [account(journal, requests, path, which, ordered=ordered)
                for path, which in ((FILTERED, matters), (METADATA, bool), (STANDARD, bool))]  # fmt: skip

    expected = sum(map(matters, journal)) + 2 * len(journal)
    eventually(lambda: len(set(receiver.ids)) >= expected or not settling(receiver), "everything arrived", PATIENCE)
    found = accounts()
    note(f"{KILLS} kills, {CHANGES} changes, {expected} events, {sum(one.duplicates for one in found)} duplicates, "
          f"promise of order: {delivery}")  # fmt: skip
    assert [one.wrong for one in found] == [{}, {}, {}]


def settling(receiver, quiet=20.0):
    """Whether something arrived lately."""
    requests = receiver.requests
    return not requests or time.time() - requests[-1].arrived < quiet


def test_an_operator_without_its_outbox_loses_events_over_kills(
    make_operator, control_plane, namespace, subscriptions, receiver, delivery
):
    """The control: with the data directory gone at each kill, the account above does see the loss."""
    rng = seeded()
    operator = make_operator().start()
    make_subscriptions(subscriptions, delivery)
    changes = Changes(control_plane.kubeconfig, namespace, rng)
    journal = storm(
        operator, changes, rng, 2, 300, after_kill=lambda: shutil.rmtree(operator.home / "data", ignore_errors=True)
    )
    operator.wait_ready()
    subscriptions.wait("Watching", "metadata")
    last = Changes(control_plane.kubeconfig, namespace, rng)
    last.allow(1)
    [mark] = last.finish()
    eventually(lambda: mark.uid.encode() in b"".join(r.body for r in receiver.requests[-20:]), "what came after it")
    assert account(journal, receiver.requests, METADATA).lost
