"""A watch that fails is a line in the log when it begins to, and when it is over; not at each try."""

from __future__ import annotations

import logging

import pytest

from hookline.errors import ApiError
from hookline.watch.condition import Condition

LOGGER = "hookline.watch.condition"


@pytest.fixture
def condition():
    return Condition(lambda _: None, lasting=3, key="v1/pods@shop")


def lines(caplog):
    return [(record.levelname, record.getMessage().partition(":")[0], record.watch) for record in caplog.records]


def test_a_lasting_failure_is_said_once_and_its_end_once(condition, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    for _ in range(20):
        condition.failed(ApiError(503, "busy"))
    condition.opened()
    condition.succeeded()
    assert lines(caplog) == [
        ("INFO", "a watch fails, it is tried again", "v1/pods@shop"),
        ("INFO", "a watch works again", "v1/pods@shop"),
    ]


def test_at_debug_each_try_is_said(condition, caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    for _ in range(20):
        condition.failed(ApiError(503, "busy"))
    assert [level for level, *_ in lines(caplog)] == ["INFO", *["DEBUG"] * 19]


def test_the_end_of_a_stream_is_no_failure(condition, caplog):
    caplog.set_level(logging.INFO, LOGGER)
    condition.opened()
    condition.interrupted(ApiError(0, "no byte for 70 s"))
    condition.open = False
    condition.opened()
    assert lines(caplog) == []
