"""Nothing is sent without permission, which may come and go between two attempts; nothing is forgotten meanwhile."""

from hookline.deliver.lane import Lane
from hookline.model import Claimed, Message, SigningKeys, Target
from hookline.spec import RetryPolicy

TARGET = Target("sub", "ns", "n", "https://a.example/", (), SigningKeys((), ()), (), 15, RetryPolicy((), 60), 4)
NOW = 1000.0


def claim(row: int) -> Claimed:
    return Claimed(row, Message(f"msg_{row}", "sub", row, "obj", "t", (), b"", 0), 0, 0)


def test_a_claimed_message_waits_while_permission_is_lacking_and_goes_on_with_the_same_lane():
    permitted = {"sub"}
    lane = Lane(TARGET, permitted=lambda uid, _: uid in permitted)
    assert lane.accept([claim(1), claim(2)], NOW) == []
    assert lane.take(NOW) == claim(1), "the control: with permission it goes"
    lane.hold_back(NOW - 1)  # gives back what waits
    lane.accept([claim(2)], NOW)
    permitted.clear()
    assert lane.take(NOW) is None
    assert lane.wish(NOW) is None
    assert lane.accept([claim(3)], NOW) == [3], "what is claimed meanwhile is given back"
    permitted.add("sub")
    assert lane.take(NOW) == claim(2)
