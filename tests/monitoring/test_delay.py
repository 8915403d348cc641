"""What counts as a late message, with the whole operator."""

import asyncio
import time

import pytest

from hookline.deliver.breaker import THRESHOLD
from support.cluster import eventually
from support.receiver import Answer

PENDING = 'hookline_outbox_messages{state="pending"}'
OLDEST = "hookline_outbox_oldest_due_timestamp_seconds"


@pytest.fixture
def holding(receiver):
    """The endpoint holds every request until the test is over."""
    end = asyncio.Event()
    receiver.do(lambda live: live.answer_with(Answer(hold=end)))
    yield
    receiver.do(lambda _: end.set())


@pytest.mark.parametrize("suspended", [True, False])
def test_what_waits_because_nothing_may_be_sent_is_not_late(operator, subscriptions, receiver, config_map, suspended):
    receiver.do(lambda live: live.answer(200 if suspended else 410))
    subscriptions.ready()
    if suspended:
        subscriptions.apply(suspend=True)
        subscriptions.wait("Suspended")
    else:
        config_map("first", a="1")
        subscriptions.wait("EndpointGone")
    config_map("kept", a="1")
    eventually(lambda: operator.metric(PENDING) == 1, "the message is kept")
    assert operator.metric(OLDEST) == 0


def test_the_control_what_may_be_sent_counts(operator, subscriptions, receiver, config_map):
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(delivery={"retry": {"schedule": [600]}})
    config_map("tried", a="1")
    eventually(lambda: operator.metric(OLDEST) > 0, "the message that waits for its retry is due some time")


@pytest.mark.parametrize("fault", ["it fails over and over", "it asks to wait"])
def test_what_waits_for_its_endpoint_is_not_late(operator, subscriptions, receiver, config_map, fault):
    asked = {"Retry-After": "600"} if fault == "it asks to wait" else {}
    receiver.do(lambda live: live.answer(503, headers=asked))
    subscriptions.ready(delivery={"retry": {"schedule": [600]}})
    number = 1 if asked else THRESHOLD
    for each in range(number):
        config_map(f"failed-{each}", a="1")
    eventually(lambda: receiver.has(number), "the endpoint has shown its fault")
    config_map("kept", a="1")
    eventually(lambda: operator.metric(PENDING) == number + 1, "the message is kept")
    eventually(lambda: operator.metric(OLDEST) == 0, "what waits for the endpoint does not count")


@pytest.mark.usefixtures("holding")
def test_the_control_what_stands_still_for_no_fault_of_its_endpoint_is_late(operator, subscriptions, config_map):
    subscriptions.ready(delivery={"maxInFlight": 1, "timeoutSeconds": 30})
    for each in range(8):
        config_map(f"waiting-{each}", a="1")
    eventually(lambda: operator.metric(PENDING) == 8, "all are stored")
    assert 0 < operator.metric(OLDEST) <= time.time()


@pytest.mark.usefixtures("holding")
def test_what_was_held_back_and_follows_now_is_late_from_then_on(operator, subscriptions, config_map):
    slow = {"maxInFlight": 1, "timeoutSeconds": 30}
    subscriptions.ready(delivery=slow)
    subscriptions.apply(delivery=slow, suspend=True)
    subscriptions.wait("Suspended")
    for each in range(8):
        config_map(f"kept-{each}", a="1")
    eventually(lambda: operator.metric(PENDING) == 8, "all are kept")
    stored = time.time()
    assert operator.metric(OLDEST) == 0
    subscriptions.apply(delivery=slow, suspend=False)
    eventually(lambda: operator.metric(OLDEST) > 0, "what is left waits for the endpoint's answers")
    assert stored < operator.metric(OLDEST) <= time.time()
