"""Start, stop, kill: what is kept, what is dropped, and that nobody is harmed on the way."""

import asyncio
import base64
import json
import time

from support.cluster import eventually
from support.receiver import Answer


def names(receiver):
    return [(body["data"]["operation"], body["data"]["object"]["metadata"]["name"]) for body in receiver.bodies]


def test_changes_while_the_operator_is_down_are_delivered_after_its_start(
    make_operator, subscriptions, receiver, config_map, kubectl, namespace
):
    operator = make_operator().start()
    subscriptions.ready()
    config_map("kept", a="1")
    config_map("removed", a="1")
    eventually(lambda: len(receiver.requests) == 2, "two requests")
    operator.kill()
    config_map("kept", a="2")
    config_map("new", a="1")
    kubectl("delete", "cm", "removed", "-n", namespace)
    operator.start()
    eventually(lambda: len(set(receiver.ids)) == 5, "the three that were missed")
    told = {request.id: (int(request.headers["hookline-sequence"]), name)
            for request, name in zip(receiver.requests, names(receiver), strict=True)}  # fmt: skip
    assert [name for _, name in sorted(told.values())[2:]] == [
        ("Updated", "kept"),
        ("Created", "new"),
        ("Deleted", "removed"),
    ]
    assert sorted(number for number, _ in told.values()) == [1, 2, 3, 4, 5]


def test_messages_that_could_not_be_delivered_survive_a_kill(make_operator, subscriptions, receiver, config_map):
    operator = make_operator().start()
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(delivery={"retry": {"schedule": [1] * 30}})
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "a first attempt")
    operator.kill()
    receiver.do(lambda live: live.answer(200))
    operator.start()
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "it is delivered")
    assert len({(request.id, request.body) for request in receiver.requests}) == 1


def test_a_subscription_deleted_while_the_operator_was_down_leaves_nothing(
    make_operator, subscriptions, receiver, config_map, kubectl, namespace
):
    operator = make_operator().start()
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready("gone")
    subscriptions.ready("kept")
    config_map("web", a="1")
    eventually(lambda: operator.metric('hookline_outbox_messages{state="pending"}') == 2, "two messages wait")
    operator.kill()
    kubectl("delete", "whsub", "gone", "-n", namespace)
    operator.start()
    eventually(lambda: operator.metric('hookline_outbox_messages{state="pending"}') == 1, "only the other's is left")


def test_a_deleted_subscription_is_dropped_at_once_and_without_a_finalizer(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    subscriptions.ready()
    assert "finalizers" not in subscriptions.get()["metadata"]
    kubectl("delete", "whsub", "orders", "-n", namespace)
    eventually(lambda: operator.metric("hookline_watches") == 0, "its watch is closed")
    config_map("web", a="1")
    subscriptions.ready("other")
    config_map("web", a="2")
    eventually(lambda: receiver.requests, "the other's event")
    assert {request.target for request in receiver.requests} == {"/other"}


def test_nothing_is_written_to_a_subscription_but_its_status(
    operator, subscriptions, config_map, receiver, kubectl, namespace
):
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "a delivery in the status")
    managers = [entry for entry in kubectl.json("get", "whsub", "orders", "-n", namespace, "--show-managed-fields")
                ["metadata"]["managedFields"] if entry["manager"] != "kubectl"]  # fmt: skip
    assert {entry.get("subresource") for entry in managers} == {"status"}
    assert "annotations" not in subscriptions.get()["metadata"]
    assert kubectl.json("get", "events", "-n", namespace)["items"] == []


def test_nothing_at_all_is_written_to_a_watched_object(
    operator, subscriptions, config_map, receiver, kubectl, namespace
):
    subscriptions.ready(filter={"changed": ["data.a"]})
    config_map("web", a="1")
    before = kubectl.json("get", "cm", "web", "-n", namespace, "--show-managed-fields")
    eventually(lambda: receiver.requests, "a request")
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "a delivery in the status")
    assert kubectl.json("get", "cm", "web", "-n", namespace, "--show-managed-fields") == before


def test_many_deliveries_make_few_status_patches(make_operator, subscriptions, receiver, kubectl, namespace):
    operator = make_operator("--status-interval-seconds", "2").start()
    subscriptions.ready()
    patches = operator.metric("hookline_status_patches_total")
    begun = time.monotonic()
    objects = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"web-{number}"}, "data": {}}
        for number in range(200)
    ]
    kubectl.apply(*objects, namespace=namespace)
    eventually(lambda: len(receiver.requests) == 200, "all requests")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 0, "nothing pending in the status")
    most = (time.monotonic() - begun) / 2 + 2
    assert operator.metric("hookline_status_patches_total") - patches <= most
    eventually(lambda: operator.metric('hookline_delivery_attempts_total{outcome="delivered"}') == 200, "all recorded")

    def is_quiet():
        version = subscriptions.get()["metadata"]["resourceVersion"]
        subscriptions.ready(f"other-{version}")  # takes a round of patches, with none for the first
        return subscriptions.get()["metadata"]["resourceVersion"] == version

    eventually(is_quiet, "no patch without a change")


def test_a_stop_waits_for_attempts_in_flight_and_ends_in_time(make_operator, subscriptions, receiver, config_map):
    operator = make_operator("--shutdown-grace-seconds", "20").start()
    release = receiver.do(lambda live: asyncio.Event())
    receiver.do(lambda live: live.answers(Answer(200, hold=release)))
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: receiver.do(lambda live: live.busy) == 1, "an attempt in flight")
    process = operator.process
    process.terminate()
    eventually(lambda: "stopping" in operator.log.read_text(), "it is stopping")
    receiver.do(lambda live: release.set())
    assert process.wait(25) == 0
    operator.start()
    config_map("web", a="2")
    eventually(lambda: len(receiver.requests) == 2, "the next change")
    assert len(set(receiver.ids)) == 2, "what was delivered while stopping is not sent again"


def test_a_hung_endpoint_does_not_keep_the_operator_from_ending(make_operator, subscriptions, receiver, config_map):
    operator = make_operator("--shutdown-grace-seconds", "1").start()
    release = receiver.do(lambda live: asyncio.Event())
    receiver.do(lambda live: live.answers(Answer(200, hold=release)))
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: receiver.do(lambda live: live.busy) == 1, "an attempt in flight")
    assert operator.stop() == 0
    receiver.do(lambda live: release.set())
    operator.start()
    eventually(lambda: len(receiver.requests) == 2, "the attempt that was cut off is made again")
    assert len(set(receiver.ids)) == 1


def test_a_suspended_subscription_keeps_its_events_until_it_goes_on(operator, subscriptions, receiver, config_map):
    subscriptions.ready()
    subscriptions.apply(suspend=True)
    subscriptions.wait("Suspended")
    config_map("web", a="1")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 1, "the event waits")
    assert receiver.requests == []
    subscriptions.ready(suspend=False)
    eventually(lambda: receiver.requests, "the event arrives")


def test_the_logs_are_json_and_hold_no_signing_key(operator, subscriptions, receiver, config_map, kubectl, namespace):
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "a request")
    data = kubectl.json("get", "secret", "orders-signing", "-n", namespace)["data"]
    text = operator.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"time", "level", "logger", "message"} <= lines[0].keys()
    for name in ("v1", "v1a"):
        assert base64.b64decode(data[name]).decode() not in text
