"""Claims about which subscription is looked at next."""

from __future__ import annotations

from hookline.controller.queue import AT_ONCE, Queue, in_turn


def test_each_namespace_has_its_turn_however_many_of_one_wait():
    queue = Queue()
    for number in range(100):
        queue.put("loud", f"l{number}")
    queue.put("quiet", "q")
    taken = []
    for _ in range(3):
        uid = queue.take()
        assert uid is not None
        taken.append(uid)
        queue.done(uid)
    assert taken == ["l0", "q", "l1"]
    assert len(queue) == 98


def test_one_namespace_never_has_all_workers():
    queue = Queue()
    for number in range(100):
        queue.put("loud", f"l{number}")
    taken = [uid for _ in range(10) if (uid := queue.take()) is not None]
    assert len(taken) == AT_ONCE
    queue.put("quiet", "q")
    assert queue.take() == "q"
    queue.done(taken[0])
    assert queue.take() == "l2"


def test_what_is_worked_on_waits_until_that_is_done_and_is_in_nobodys_way():
    queue = Queue()
    queue.put("shop", "a")
    assert queue.take() == "a"
    for uid in ("a", "a", "b"):
        queue.put("shop", uid)
    assert queue.take() == "b"
    assert queue.take() is None
    queue.done("a")
    assert queue.take() == "a"
    assert queue.take() is None


def test_of_a_round_each_namespace_has_its_turn_and_keeps_its_order():
    items = [("loud", number) for number in range(4)] + [("quiet", 9), ("still", 8), ("quiet", 7)]
    ordered = in_turn(items, lambda item: item[0])
    assert [number for _, number in ordered] == [0, 9, 8, 1, 7, 2, 3]
