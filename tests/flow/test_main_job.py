"""The main job: a change of a real object arrives as a signed request, and what must not arrive does not."""

import base64
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from hookline import keys
from hookline.receiver.verifier import Verifier
from support.cluster import eventually
from support.receiver import Answer


def names(receiver):
    return [(body["data"]["operation"], body["data"]["object"]["metadata"]["name"]) for body in receiver.bodies]


def secret_of(kubectl, namespace, name):
    data = kubectl.json("get", "secret", name, "-n", namespace)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_a_created_an_updated_and_a_deleted_object_arrive_in_this_order(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    subscriptions.ready()
    config_map("web", a="1")
    config_map("web", a="2")
    kubectl("delete", "cm", "web", "-n", namespace)
    eventually(lambda: len(receiver.requests) == 3, "three requests")
    assert names(receiver) == [("Created", "web"), ("Updated", "web"), ("Deleted", "web")]
    assert [request.headers["hookline-sequence"] for request in receiver.requests] == ["1", "2", "3"]
    assert len(set(receiver.ids)) == 3


def test_the_official_library_and_the_published_public_key_verify_the_request(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    subscriptions.ready()
    config_map("web", a="ü")
    request = eventually(lambda: receiver.requests, "a request")[0]
    published = eventually(lambda: subscriptions.get()["status"].get("signing"), "the keys are published")
    secret = secret_of(kubectl, namespace, published["secretName"])
    assert Webhook(secret["v1"]).verify(request.body.decode(), dict(request.headers))
    assert Verifier(published["publicKeys"]).verify(request.headers, request.body).id == request.id
    other = keys.encode_hmac(keys.new_hmac())
    with pytest.raises(Exception, match=r"[Ss]ignature"):
        Webhook(other).verify(request.body.decode(), dict(request.headers))
    sent = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
    assert abs((datetime.now(UTC) - sent).total_seconds()) < 300


def test_objects_from_before_the_subscription_are_no_events(
    operator, subscriptions, receiver, config_map, kubectl, namespace
):
    config_map("before", a="1")
    subscriptions.ready()
    config_map("after", a="1")
    eventually(lambda: receiver.requests, "a request")
    assert ("Created", "before") not in names(receiver)
    config_map("before", a="2")
    eventually(lambda: ("Updated", "before") in names(receiver), "a change of the older object is one")


def test_applying_the_same_again_is_no_event(operator, subscriptions, receiver, config_map):
    subscriptions.ready()
    for _ in range(3):
        config_map("web", a="1")
    config_map("last", a="1")
    eventually(lambda: ("Created", "last") in names(receiver), "the last object's event")
    assert names(receiver) == [("Created", "web"), ("Created", "last")]


def test_only_what_the_filter_lets_through_arrives(operator, subscriptions, receiver, config_map):
    subscriptions.ready(filter={"changed": ["data.a"], "expression": "object.data.a != '3' && oldObject != null"})
    for a, b in (("1", "1"), ("1", "2"), ("2", "2"), ("3", "2"), ("4", "2")):
        config_map("web", a=a, b=b)
    eventually(lambda: len(receiver.requests) == 2, "two requests")
    assert [body["data"]["object"]["data"]["a"] for body in receiver.bodies] == ["2", "4"]


def test_an_expression_that_fails_on_an_object_is_counted_and_told_and_harms_nothing(
    operator, subscriptions, receiver, config_map
):
    subscriptions.ready(filter={"expression": "object.data.a == '1'"})
    config_map("without", b="1")
    config_map("with", a="1")
    eventually(lambda: receiver.requests, "the healthy object's event")
    assert names(receiver) == [("Created", "with")]
    eventually(lambda: "lastDrop" in subscriptions.get()["status"], "the loss is told")
    status = subscriptions.get()["status"]
    assert (status["dropped"], status["lastDrop"]["reason"]) == (1, "ExpressionFailed")
    assert operator.metric('hookline_events_dropped_total{reason="expression_failed"}') == 1


def test_two_subscriptions_share_one_watch_and_get_their_own_ids(operator, subscriptions, receiver, config_map):
    subscriptions.ready("one")
    subscriptions.ready("two")
    config_map("web", a="1")
    eventually(lambda: len(receiver.requests) == 2, "two requests")
    assert {request.target for request in receiver.requests} == {"/one", "/two"}
    assert len(set(receiver.ids)) == 2
    assert operator.metric("hookline_watches") == 1


def test_a_failed_attempt_is_made_again_with_the_same_id_and_bytes_and_a_new_timestamp(
    operator, subscriptions, receiver, config_map
):
    receiver.do(lambda live: live.answers(Answer(503), Answer(503)))
    subscriptions.ready(delivery={"retry": {"schedule": [1, 1]}})
    config_map("web", a="1")
    eventually(lambda: len(receiver.requests) == 3, "three attempts")
    assert len({(request.id, request.body) for request in receiver.requests}) == 1
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 3
    assert len({request.headers["webhook-signature"] for request in receiver.requests}) == 3
    subscriptions.wait("Delivered", kind="Delivering")
    assert subscriptions.get()["status"]["lastFailure"]["reason"] == "HTTP503"


def test_an_exhausted_message_is_dead_lettered_and_counted(operator, subscriptions, receiver, config_map):
    receiver.do(lambda live: live.answer(400))
    subscriptions.ready(delivery={"retry": {"maxAttempts": 1}})
    config_map("web", a="1")
    eventually(lambda: subscriptions.get()["status"].get("deadLettered") == 1, "a dead letter in the status")
    assert subscriptions.condition("Delivering")[0] == "False"
    assert operator.metric("hookline_messages_dead_lettered_total") == 1


def test_an_endpoint_that_is_gone_gets_nothing_more_until_the_spec_changes(
    operator, subscriptions, receiver, config_map
):
    receiver.do(lambda live: live.answer(410))
    subscriptions.ready(delivery={"maxInFlight": 1})
    config_map("web", a="1")
    subscriptions.wait("EndpointGone")
    config_map("web", a="2")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 1, "the next message waits")
    assert len(receiver.requests) == 1
    receiver.do(lambda live: live.answer(200))
    subscriptions.apply(destination={"url": receiver.url("/moved")}, delivery={"maxInFlight": 1})
    eventually(lambda: len(receiver.requests) == 2, "the message arrives at the new place")
    assert receiver.requests[-1].target == "/moved"


def test_binary_data_unicode_and_large_objects_arrive_whole(operator, subscriptions, receiver, kubectl, namespace):
    subscriptions.ready()
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "odd", "annotations": {"note": "значение\u2028\n"}},
            "data": {"text": "😀\u202e", "big": "x" * 900_000},
            "binaryData": {"bytes": base64.b64encode(bytes(range(256))).decode()},
        },
        namespace=namespace,
    )
    body = eventually(lambda: receiver.bodies, "a request")[0]
    obj = body["data"]["object"]
    assert obj["data"]["text"] == "😀\u202e"
    assert base64.b64decode(obj["binaryData"]["bytes"]) == bytes(range(256))
    assert len(obj["data"]["big"]) == 900_000


def test_an_object_that_is_too_large_is_dropped_with_a_reason_and_harms_nothing(
    make_operator, subscriptions, receiver, config_map
):
    operator = make_operator("--max-body-bytes", "10000").start()
    subscriptions.ready()
    config_map("large", a="x" * 20_000)
    config_map("small", a="1")
    eventually(lambda: receiver.requests, "the small object's event")
    assert names(receiver) == [("Created", "small")]
    assert operator.metric('hookline_events_dropped_total{reason="too_large"}') == 1
    eventually(lambda: subscriptions.get()["status"].get("lastDrop", {}).get("reason") == "TooLarge", "told in status")
