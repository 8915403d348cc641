"""Parsing a replay: defaults, every field, and errors for what an older schema let in."""

import math

import pytest

from hookline.api.replay import parse_replay
from hookline.errors import InvalidSpec
from hookline.stored import Replay, ReplayState


def obj(**spec):
    return {"metadata": {"uid": "r"}, "spec": {"subscriptionName": "orders", **spec}}


def test_the_smallest_spec_means_every_dead_letter():
    assert parse_replay(obj(), "s") == Replay("r", "s", frozenset({ReplayState.DEAD}), -math.inf, math.inf, frozenset())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31T12:00:00Z", 1769860800.0),
        ("2026-01-31T13:00:00.250+01:00", 1769860800.25),
        ("2026-01-31T12:00:00", 1769860800.0),  # without a zone it is UTC, as in Go's parser
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123456),
    ],
)
def test_times_are_read_as_the_api_server_reads_them(text, seconds):
    parsed = parse_replay(obj(**{"from": text, "to": text}), "s")
    assert (parsed.begin, parsed.end) == (seconds, seconds)


def test_states_and_ids_are_sets():
    parsed = parse_replay(obj(states=["Dead", "Delivered"], ids=["msg_a", "msg_b"]), "s")
    assert parsed.states == frozenset(ReplayState)
    assert parsed.ids == {"msg_a", "msg_b"}


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"states": ["Pending"]}, "spec.states"),
        ({"states": []}, "spec.states"),
        ({"states": "Dead"}, "spec.states"),
        ({"ids": []}, "spec.ids"),  # or it would mean everything
        ({"ids": [7]}, "spec.ids"),
        ({"from": "yesterday"}, "spec.from"),
        ({"to": 7}, "spec.to"),
    ],
)
def test_what_can_not_be_read_is_an_error_that_names_the_field(spec, field):
    with pytest.raises(InvalidSpec) as caught:
        parse_replay(obj(**spec), "s")
    assert caught.value.field == field


def test_an_object_without_a_spec_is_an_error_and_not_a_crash():
    with pytest.raises(InvalidSpec):
        parse_replay({"metadata": {"uid": "r"}}, "s")
