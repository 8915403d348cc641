"""How much of a subscription may wait: by number and by bytes, whichever is reached first."""

from hookline.backlog import Backlog
from hookline.model import Counts, Message


def message(size, uid="a"):
    return Message("msg_1", uid, 1, "object", "type", (), b"x" * size, observed=1.0)


def test_a_subscription_is_full_by_number():
    backlog = Backlog(most=2, room=1000)
    backlog.came(message(1))
    assert not backlog.is_full("a")
    backlog.came(message(1))
    assert backlog.is_full("a")
    assert backlog.full == {"a"}


def test_a_subscription_is_full_by_bytes_long_before_it_is_by_number():
    backlog = Backlog(most=100_000, room=1000)
    backlog.came(message(999))
    assert not backlog.is_full("a")
    backlog.came(message(1))
    assert backlog.is_full("a")
    assert not backlog.is_full("b"), "the others have their own room"


def test_what_is_finished_makes_room():
    backlog = Backlog(most=100_000, room=1000)
    backlog.came(message(1000))
    backlog.went(message(1000))
    assert not backlog.is_full("a")


def test_what_the_outbox_counts_is_believed():
    backlog = Backlog(most=100_000, room=1000)
    backlog.counted({"a": Counts(pending=1, pending_bytes=1000), "b": Counts(pending=1, pending_bytes=999)})
    assert backlog.full == {"a"}
    backlog.counted({"a": Counts()})
    assert backlog.full == frozenset()
