"""What ``hookline ping`` makes of a status in which another message stands already."""

from __future__ import annotations

from typing import Any

from hookline.cli.output import instant
from hookline.cli.ping import PATIENCE, Verdict, Watcher

VALUE = "2026-01-31T12:00:05.600000Z"
OTHER = {"id": "msg_other", "time": "2026-01-31T12:00:05Z", "statusCode": 200}


def seen(last: Any, before: Any = None) -> Verdict | None:
    """After as many looks as it takes to believe in a later message."""
    asked = instant(VALUE)
    assert asked is not None
    watcher = Watcher("msg_ping", VALUE, asked, {"status": {"lastDelivery": before}})
    verdict = None
    for _ in range(PATIENCE):
        verdict = watcher.look({"status": {"lastHandledRequestedAt": VALUE, "lastDelivery": last}})
    return verdict


def test_a_message_of_the_same_second_that_came_after_the_ping_ends_the_wait():
    verdict = seen(OTHER, before={**OTHER, "time": "2026-01-31T12:00:01Z"})
    assert verdict == Verdict(True, "msg_other", "the endpoint accepted it (HTTP200)", later=True)


def test_the_control_what_stood_there_before_the_ping_says_nothing_of_it():
    assert seen(OTHER, before=OTHER) is None
    assert seen({**OTHER, "time": "2026-01-31T12:00:04Z"}) is None
