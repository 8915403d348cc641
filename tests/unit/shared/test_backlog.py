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


def test_all_of_a_namespace_are_full_when_they_are_so_together():
    backlog = Backlog(most=100, room=1000, shared=1500)
    for uid, namespace in (("a", "shop"), ("b", "shop"), ("c", "other")):
        backlog.belongs(uid, namespace)
    backlog.came(message(900, "a"))
    backlog.came(message(600, "b"))
    assert backlog.full == {"a", "b"}
    assert not backlog.is_full("c"), "another namespace has its own room"
    backlog.went(message(600, "b"))
    assert backlog.full == frozenset()
    backlog.came(message(600, "b"))
    backlog.forget("a")
    assert backlog.full == frozenset(), "whoever goes makes room"


def test_the_outboxs_count_is_believed_for_a_namespace_as_well():
    backlog = Backlog(most=100, room=10_000, shared=1500)
    backlog.counted({"a": Counts(pending=1, pending_bytes=1500)})
    backlog.belongs("a", "shop")
    assert backlog.is_crowded("a"), "what waited before the subscription was in force counts"
    backlog.counted({})
    assert not backlog.is_crowded("a")


def test_the_control_without_a_shared_bound_each_has_its_own_alone():
    backlog = Backlog(most=100, room=1000)
    for uid in "ab":
        backlog.belongs(uid, "shop")
        backlog.came(message(900, uid))
    assert backlog.full == frozenset()
