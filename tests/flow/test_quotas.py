"""A tenant with ten times its quota, beside one with what everybody has: the second must not notice."""

import uuid

import pytest

from support.cluster import eventually
from support.whole import Subscriptions

QUOTA = 2
MANY = 10 * QUOTA
FILLER = "x" * 8192


@pytest.fixture
def tenant(control_plane, kubectl, receiver):
    """A second namespace, and subscriptions made there."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    control_plane.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    )
    yield name, Subscriptions(kubectl, name, receiver)
    control_plane.request("DELETE", f"/api/v1/namespaces/{name}")


def reasons(kubectl, namespace):
    items = kubectl.json("get", "whsub", "-n", namespace)["items"]
    found = {
        item["metadata"]["name"]: next(
            (c["reason"] for c in item.get("status", {}).get("conditions", ()) if c["type"] == "Accepted"), ""
        )
        for item in items
    }
    return found if all(found.values()) and found else {}


def put(kubectl, namespace, name, **data):
    kubectl.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}, namespace=namespace
    )


def settled(kubectl, namespace, count):
    found = reasons(kubectl, namespace)
    return found if len(found) == count and "Pending" not in found.values() else None


@pytest.mark.parametrize("bound", [QUOTA, 0], ids=["a quota", "the control: none"])
def test_of_ten_times_too_many_subscriptions_the_oldest_are_served_and_the_other_tenants_all(
    make_operator, subscriptions, receiver, kubectl, namespace, tenant, bound
):
    other, theirs = tenant
    make_operator("--namespace", other, "--max-subscriptions-per-namespace", str(bound)).start()
    theirs.apply("first")
    theirs.wait("Watching", "first")
    for number in range(MANY):
        subscriptions.apply(f"s{number}")
    theirs.apply("second")
    theirs.wait("Watching", "second")
    eventually(lambda: settled(kubectl, namespace, MANY), "all are looked at")

    def served():
        return {name for name, reason in reasons(kubectl, namespace).items() if reason == "Valid"}

    if not bound:
        eventually(lambda: len(served()) == MANY, "all of them are in force")
        return
    items = kubectl.json("get", "whsub", "-n", namespace)["items"]
    by_age = sorted(items, key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["uid"]))
    names = [item["metadata"]["name"] for item in by_age]
    eventually(lambda: served() == set(names[:QUOTA]), "the oldest have the places")
    refused = names[-1]
    status, reason, message = subscriptions.condition("Accepted", refused)
    assert (status, reason) == ("False", "QuotaExceeded")
    assert f"the oldest {QUOTA} of a namespace are served" in message
    assert subscriptions.condition("Reconciling", refused)[0] == "True"
    put(kubectl, other, "web", a="1")
    put(kubectl, namespace, "web", a="1")
    expected = {"/first", "/second", *(f"/{name}" for name in names[:QUOTA])}
    eventually(lambda: {request.target for request in receiver.requests} >= expected, "everybody who is served")
    assert {request.target for request in receiver.requests} == expected
    kubectl("delete", "whsub", names[0], "-n", namespace)
    eventually(lambda: served() == set(names[1 : QUOTA + 1]), "the next one comes in")


@pytest.mark.parametrize("bound", [1, 0], ids=["a quota", "the control: none"])
def test_watches_are_counted_by_what_differs(make_operator, subscriptions, bound):
    make_operator("--max-informers-per-namespace", str(bound)).start()
    subscriptions.ready("a")
    subscriptions.ready("b")
    subscriptions.apply("c", sources=[{"apiVersion": "v1", "kind": "Pod"}])
    if not bound:
        subscriptions.wait("Watching", "c")
        return
    assert "would need 2 watches, and 1 are served" in subscriptions.wait("QuotaExceeded", "c")
    subscriptions.apply("c")
    subscriptions.wait("Watching", "c")


@pytest.mark.parametrize("bound", [64 * 1024, 0], ids=["a quota", "the control: none"])
def test_what_waits_of_a_namespace_is_bounded_and_another_one_has_its_own_room(
    make_operator, subscriptions, receiver, kubectl, namespace, tenant, bound
):
    other, theirs = tenant
    operator = make_operator("--namespace", other, "--max-pending-bytes-per-namespace", str(bound)).start()
    receiver.do(lambda live: live.answer(500))
    for name in "ab":
        subscriptions.ready(name)
    theirs.ready("theirs")
    for number in range(MANY):
        put(kubectl, namespace, f"web-{number}", a=FILLER)
    put(kubectl, other, "web", a="1")

    def waiting(name):
        status = subscriptions.get(name)["status"]
        return status["pending"], status.get("dropped", 0)

    eventually(lambda: sum((*waiting("a"), *waiting("b"))) == 2 * MANY, "all are told or dropped")
    eventually(lambda: theirs.get("theirs")["status"]["pending"] == 1, "the other tenant's message is kept")
    dropped = waiting("a")[1] + waiting("b")[1]
    assert theirs.get("theirs")["status"].get("dropped", 0) == 0
    assert operator.metric('hookline_events_dropped_total{reason="overflow"}') == dropped
    if not bound:
        assert dropped == 0
        return
    assert dropped >= MANY
    drop = subscriptions.get("a")["status"]["lastDrop"]
    assert (drop["reason"], "of its namespace's subscriptions" in drop["message"]) == ("Overflow", True)
    subscriptions.wait("Overflow", "a")
    assert theirs.condition("Ready", "theirs")[0] == "True"
