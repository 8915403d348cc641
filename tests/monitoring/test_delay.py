"""What counts as a late message, with the whole operator."""

import pytest

from support.cluster import eventually

PENDING = 'hookline_outbox_messages{state="pending"}'
OLDEST = "hookline_outbox_oldest_due_timestamp_seconds"


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
