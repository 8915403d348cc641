"""The whole with receivers whose clock is wrong, by what they say in Date."""

import email.utils
import time
from functools import partial

import pytest

from support.cluster import eventually

SKEWED = "hookline_clock_skewed_subscriptions"
MEDIAN = 'hookline_clock_skew_seconds{statistic="median"}'


def says(receiver, seconds):
    date = email.utils.formatdate(time.time() + seconds, usegmt=True)
    receiver.do(lambda live: live.answer(200, headers={"Date": date}))


def tell(subscriptions, receiver, config_map, names):
    for name in names:
        before = len(receiver.requests)
        config_map(name, a="1")
        eventually(partial(receiver.has, before + 1), "a message")


@pytest.mark.parametrize("minutes", [10, -10])
def test_a_clock_beyond_what_receivers_tolerate_is_told_and_heals(
    operator, subscriptions, receiver, config_map, minutes
):
    says(receiver, minutes * 60)
    subscriptions.ready()
    tell(subscriptions, receiver, config_map, "abc")
    message = subscriptions.wait("ClockSkewed", kind="ClockSynchronized")
    assert ("ahead" if minutes > 0 else "behind") in message
    assert abs(subscriptions.get()["status"]["clockSkewSeconds"] - minutes * 60) < 30
    assert subscriptions.condition("Ready")[0] == "True", "it may be a receiver that verifies nothing"
    assert operator.metric(SKEWED) == 1
    assert abs(operator.metric(MEDIAN) - minutes * 60) < 30
    says(receiver, 0)
    tell(subscriptions, receiver, config_map, "defgh")
    subscriptions.wait("ClockInStep", kind="ClockSynchronized")
    assert operator.metric(SKEWED) == 0


def test_the_control_a_date_that_can_not_be_read_says_nothing(operator, subscriptions, receiver, config_map):
    receiver.do(lambda live: live.answer(200, headers={"Date": "Mon, 99 Foo 20262 yesterday"}))
    subscriptions.ready()
    tell(subscriptions, receiver, config_map, "abcd")
    eventually(lambda: subscriptions.get()["status"].get("lastDelivery"), "the deliveries are told")
    assert subscriptions.condition("ClockSynchronized")[:2] == ("Unknown", "ClockNotMeasured")
    assert "clockSkewSeconds" not in subscriptions.get()["status"]
