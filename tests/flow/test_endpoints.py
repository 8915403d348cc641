"""Endpoints in trouble: given up, tried again when somebody asks, and bounded in what waits for them."""

import pytest

from support.cluster import eventually

IMPATIENT = {"retry": {"schedule": [1] * 30}, "disableAfterSeconds": 2}
PENDING = 'hookline_outbox_messages{state="pending"}'


def pings(receiver):
    return [body for body in receiver.bodies if body.get("type") == "dev.hookline.ping"]


@pytest.fixture
def events(kubectl, namespace):
    """The reasons of the Events about a subscription."""

    def reasons(name="orders"):
        items = kubectl.json("get", "events.events.k8s.io", "-n", namespace)["items"]
        return [item["reason"] for item in items if item["regarding"]["name"] == name and item["type"] == "Warning"]

    return reasons


@pytest.fixture
def request_at(kubectl, namespace):
    """Set the annotation."""

    def annotate(value, name="orders"):
        kubectl("annotate", "whsub", name, f"hookline.dev/requested-at={value}", "--overwrite", "-n", namespace)

    return annotate


@pytest.fixture
def given_up(make_operator, subscriptions, receiver, config_map):
    """A running operator that has given the endpoint of ``orders`` up, with one message kept."""
    operator = make_operator().start()
    receiver.do(lambda live: live.answer(500))
    subscriptions.ready(delivery=IMPATIENT)
    config_map("web", a="1")
    subscriptions.wait("EndpointDisabled")
    return operator


def test_after_nothing_but_failures_an_endpoint_is_given_up_and_its_events_are_kept(
    given_up, subscriptions, receiver, config_map, events
):
    obj = subscriptions.get()
    assert obj["status"]["disabled"]["reason"] == "EndpointDisabled"
    assert obj["status"]["failingSince"] <= obj["status"]["disabled"]["since"]
    assert subscriptions.condition("Stalled")[:2] == ("True", "EndpointDisabled")
    assert "hookline.dev/requested-at" in subscriptions.condition("Ready")[2]
    eventually(lambda: events() == ["EndpointDisabled"], "one Event")
    receiver.do(lambda live: live.answer(200))
    config_map("web", a="2")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 2, "both messages are kept")
    subscriptions.ready("other")
    config_map("web", a="3")
    eventually(lambda: "/other" in {request.target for request in receiver.requests}, "the other's is delivered")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 3, "three messages are kept")
    assert subscriptions.get()["status"].get("lastDelivery") is None
    assert events() == ["EndpointDisabled"]


def test_the_control_an_endpoint_that_may_fail_for_ever_is_not_given_up(
    operator, subscriptions, receiver, config_map, events
):
    receiver.do(lambda live: live.answer(500))
    subscriptions.ready(delivery={**IMPATIENT, "disableAfterSeconds": 0})
    config_map("web", a="1")
    eventually(lambda: len(receiver.requests) >= 5, "more attempts than lead to giving up")
    assert subscriptions.condition("Ready")[0] == "True"
    assert subscriptions.get()["status"]["failingSince"]
    assert events() == []


def test_a_restart_does_not_forget_that_an_endpoint_was_given_up(given_up, subscriptions, receiver, config_map, events):
    attempts = len(receiver.requests)
    given_up.kill()
    receiver.do(lambda live: live.answer(200))
    given_up.start()
    config_map("web", a="2")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 2, "both messages are kept")
    subscriptions.wait("EndpointDisabled")
    assert len(receiver.requests) == attempts
    assert len(events()) <= 1


def test_a_request_enables_an_endpoint_and_sends_one_signed_ping(
    given_up, subscriptions, receiver, request_at, config_map
):
    receiver.do(lambda live: live.answer(200))
    request_at("2026-01-01T00:00:00Z")
    eventually(lambda: pings(receiver), "a ping")
    subscriptions.wait("Watching")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 0, "what was kept is delivered")
    status = subscriptions.get()["status"]
    assert status["lastHandledRequestedAt"] == "2026-01-01T00:00:00Z"
    assert "disabled" not in status
    assert "failingSince" not in status
    (ping,) = pings(receiver)
    assert ping["data"]["operation"] == "Ping"
    assert ping["data"]["object"]["metadata"]["name"] == "orders"
    (sent,) = [request for request in receiver.requests if b"dev.hookline.ping" in request.body]
    assert sent.headers["webhook-signature"].startswith("v1,")
    given_up.kill()
    given_up.start()
    config_map("web", a="2")
    eventually(lambda: receiver.bodies[-1]["data"]["object"].get("data") == {"a": "2"}, "the next change")
    assert len(pings(receiver)) == 1, "a restart handles no request twice"
    request_at("2026-01-02T00:00:00Z")
    eventually(lambda: len({request["id"] for request in pings(receiver)}) == 2, "another request, another ping")


def test_suspending_and_resuming_enables_an_endpoint_without_a_ping(given_up, subscriptions, receiver):
    receiver.do(lambda live: live.answer(200))
    subscriptions.apply(suspend=True, delivery=IMPATIENT)
    subscriptions.wait("Suspended")
    subscriptions.ready(suspend=False, delivery=IMPATIENT)
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "what was kept is delivered")
    assert pings(receiver) == []


def test_an_endpoint_that_is_gone_stays_so_over_a_restart_until_somebody_asks(
    make_operator, subscriptions, receiver, config_map, events, request_at
):
    operator = make_operator().start()
    receiver.do(lambda live: live.answer(410))
    subscriptions.ready()
    config_map("web", a="1")
    subscriptions.wait("EndpointGone")
    eventually(lambda: events() == ["EndpointGone"], "one Event")
    operator.kill()
    receiver.do(lambda live: live.answer(200))
    operator.start()
    config_map("web", a="2")
    eventually(lambda: subscriptions.get()["status"]["pending"] == 1, "the message is kept")
    subscriptions.wait("EndpointGone")
    assert len(receiver.requests) == 1
    request_at("now")
    eventually(lambda: len(receiver.requests) == 3, "the message and a ping")
    subscriptions.wait("Watching")


def test_an_endpoint_in_trouble_gets_one_attempt_at_a_time_and_the_status_says_so(
    operator, subscriptions, receiver, config_map
):
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(delivery={"retry": {"schedule": [1] * 30}})
    for number in range(12):
        config_map(f"web-{number}", a="1")
    eventually(lambda: operator.metric("hookline_circuit_breakers_open") == 1, "the circuit breaker opens")
    eventually(lambda: "one attempt at a time" in subscriptions.condition("Delivering")[2], "the status says so")
    receiver.do(lambda live: live.answer(200))
    eventually(lambda: subscriptions.get()["status"]["pending"] == 0, "everything is delivered")
    eventually(lambda: operator.metric("hookline_circuit_breakers_open") == 0, "the circuit breaker closes")
    eventually(lambda: subscriptions.condition("Delivering")[0] == "True", "the status says that, too")


def test_what_more_than_may_wait_is_dropped_counted_and_told(make_operator, subscriptions, receiver, config_map):
    operator = make_operator("--max-pending-per-subscription", "3").start()
    receiver.do(lambda live: live.answer(400))
    subscriptions.ready(delivery={"retry": {"schedule": [1] * 30}})
    for number in range(5):
        config_map(f"web-{number}", a="1")
    eventually(lambda: operator.metric('hookline_events_dropped_total{reason="overflow"}') == 2, "two are dropped")
    subscriptions.wait("Overflow")
    assert subscriptions.condition("Reconciling")[:2] == ("True", "Overflow")
    status = subscriptions.get()["status"]
    assert (status["dropped"], status["lastDrop"]["reason"], status["pending"]) == (2, "Overflow", 3)
    assert operator.metric(PENDING) == 3
    receiver.do(lambda live: live.answer(200))
    subscriptions.wait("Watching")
    config_map("web-5", a="1")
    eventually(lambda: len(set(receiver.ids)) == 4, "the next change is delivered")
    names = {body["data"]["object"]["metadata"]["name"] for body in receiver.bodies}
    assert names == {"web-0", "web-1", "web-2", "web-5"}


def test_the_order_of_an_objects_changes_survives_retries(operator, subscriptions, receiver, config_map):
    receiver.do(lambda live: live.answer(500))
    subscriptions.ready(delivery={"ordering": "PerObject", "retry": {"schedule": [1] * 30}})
    for number in range(4):
        config_map("web", a=str(number))
    eventually(lambda: subscriptions.get()["status"]["pending"] == 4, "all wait")
    assert len(set(receiver.ids)) == 1, "only the first was tried"
    receiver.do(lambda live: live.answer(200))
    eventually(lambda: subscriptions.get()["status"]["pending"] == 0, "all are delivered")
    seen = list(dict.fromkeys(body["data"]["object"]["data"]["a"] for body in receiver.bodies))
    assert seen == ["0", "1", "2", "3"]
