"""What claims cost, in SQLite's own steps: they must not grow with the queue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import apsw
import pytest

from hookline.model import Attempt, Counts, Message, Outcome, Verdict
from hookline.outbox.sealing import Sealing
from hookline.outbox.sqlite_invariants import findings
from hookline.outbox.sqlite_messages import Messages
from hookline.outbox.sqlite_retention import Keeper
from hookline.outbox.sqlite_schema import MIGRATIONS
from hookline.stored import Retention

SUBSCRIPTION, NOW, WANTED = "sub", 50.0, 64
ORDERED = {SUBSCRIPTION}


def message(number: int) -> Message:
    return Message(f"msg_{number}", SUBSCRIPTION, number, "uid", "type", (), b"{}", observed=1.0)


def queue(backlog: int) -> tuple[apsw.Connection, Messages]:
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    connection.execute("".join(MIGRATIONS))
    messages = Messages(connection, lambda: NOW, Sealing())
    connection.execute("BEGIN")
    messages.add([message(number) for number in range(backlog)])
    connection.execute("COMMIT")
    return connection, messages


def steps(connection: apsw.Connection, call: Callable[[], object]) -> int:
    """Run ``call``; returns how many instructions SQLite's virtual machine ran for it."""
    count = 0

    def profile(event: dict[str, dict[str, int]]) -> None:
        nonlocal count
        count += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, profile)
    call()
    connection.trace_v2(0, None)
    return count


def claim(messages: Messages) -> None:
    assert len(messages.claim({SUBSCRIPTION: WANTED}, NOW)) == WANTED


def costs(backlog: int) -> dict[str, int]:
    """Steps of each call on a queue with this many messages, the first 640 of them claimed."""
    connection, messages = queue(backlog)
    for _ in range(10):
        claim(messages)
    held = messages.claim({SUBSCRIPTION: WANTED}, NOW)
    attempts = [Attempt(c, Verdict(Outcome.RETRY, "Timeout", None, retry_at=NOW + 9), 1.0, 1.0) for c in held]
    return {
        "claim": steps(connection, lambda: claim(messages)),
        "next_due": steps(connection, messages.next_due),
        "counts": steps(connection, messages.counts),
        "record": steps(connection, lambda: messages.record(attempts)),
        "prune": steps(connection, lambda: Keeper(connection).prune(Retention(1e9, 0), Retention(1e9, 0), 10)),
        "add": steps(connection, lambda: messages.add([message(-1)])),
    }


def test_no_call_of_the_hot_path_costs_more_with_a_long_queue():
    short, long = costs(1_000), costs(50_000)
    assert all(cost > 0 for cost in short.values())
    assert {call: abs(long[call] - short[call]) <= short[call] // 50 for call in short} == dict.fromkeys(short, True)


def test_the_control_a_scan_does_cost_more():
    def scan(backlog: int) -> int:
        connection, _ = queue(backlog)
        return steps(connection, lambda: connection.execute("SELECT count(*) FROM messages WHERE due <= ?", (NOW,)).get)

    assert scan(5_000) > 4 * scan(1_000)


@pytest.mark.parametrize(("ordered", "index"), [(False, "pending"), (True, "heads")])
def test_a_claim_walks_the_index_and_sorts_nothing(ordered, index):
    connection, messages = queue(1)
    plans: list[str] = []

    def explain(statement: dict[str, str]) -> None:
        if statement["sql"].startswith("SELECT due"):
            plans.append(statement["sql"])

    connection.trace_v2(apsw.SQLITE_TRACE_STMT, explain)
    messages.claim({SUBSCRIPTION: 1}, NOW, {SUBSCRIPTION} if ordered else ())
    connection.trace_v2(0, None)
    assert len(plans) == 2  # of first attempts, and of retries
    for sql in plans:
        plan = [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + sql, (SUBSCRIPTION, 0, NOW, 1))]
        assert plan[0].endswith(f"INDEX messages_{index} (subscription=? AND tried=? AND due<?)")
        assert not [line for line in plan if "SCAN" in line or "TEMP B-TREE" in line]


def ordered_costs(backlog: int, objects: int) -> dict[str, int]:
    """Steps of each call on an ordered queue; the first object has the most messages, and its head is being retried."""
    connection, messages = queue(0)
    messages.order(SUBSCRIPTION, ordered=True)
    messages.add([replace(message(n), object_uid=f"uid-{max(0, n - backlog + objects)}") for n in range(backlog)])
    (head,) = messages.claim({SUBSCRIPTION: 1}, NOW, ORDERED)
    messages.record([Attempt(head, Verdict(Outcome.RETRY, "Timeout", None, retry_at=NOW + 9), 1.0, 1.0)])
    held = messages.claim({SUBSCRIPTION: WANTED}, NOW, ORDERED)
    assert len(held) == min(WANTED, objects - 1)
    done = [Attempt(c, Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0) for c in held]
    late = replace(message(-1), object_uid="uid-0")
    return {
        "claim": steps(connection, lambda: messages.claim({SUBSCRIPTION: WANTED}, NOW, ORDERED)),
        "next_due": steps(connection, messages.next_due),
        "record": steps(connection, lambda: messages.record(done)),
        "add": steps(connection, lambda: messages.add([late])),
    }


@pytest.mark.parametrize("crowd", [0.5, 1.0], ids=["many objects", "all of one object but a few"])
def test_no_call_costs_more_with_a_long_ordered_queue(crowd):
    def objects(backlog: int) -> int:
        return 300 if crowd == 1.0 else int(backlog * crowd)

    short, long = ordered_costs(1_000, objects(1_000)), ordered_costs(100_000, objects(100_000))
    assert all(cost > 0 for cost in short.values())
    assert {call: abs(long[call] - short[call]) <= short[call] // 50 for call in short} == dict.fromkeys(short, True)


def test_the_control_looking_for_the_oldest_among_all_that_are_due_does_cost_more():
    def scan(backlog: int) -> int:
        connection, messages = queue(0)
        messages.order(SUBSCRIPTION, ordered=True)
        messages.add([message(n) for n in range(backlog)])
        query = """SELECT row FROM messages AS m WHERE state = 0 AND due <= ? AND NOT EXISTS (
            SELECT 1 FROM messages WHERE state = 0 AND subscription = m.subscription AND object_uid = m.object_uid
            AND row < m.row) AND row > 1 ORDER BY due LIMIT 1"""
        return steps(connection, lambda: connection.execute(query, (NOW,)).fetchall())

    assert scan(3_000) > 2 * scan(1_000)


def test_claims_of_a_transaction_that_was_not_kept_are_undone_in_both_directions():
    _, messages = queue(4)
    first = messages.claim({SUBSCRIPTION: 2}, NOW)
    messages.claims.settle(kept=True)
    messages.claims.drop([first[0].row])
    assert [c.row for c in messages.claim({SUBSCRIPTION: 2}, NOW)] == [first[0].row, 3]
    messages.claims.settle(kept=False)
    assert messages.claims.count(SUBSCRIPTION) == 2
    assert [c.row for c in messages.claim({SUBSCRIPTION: 9}, NOW)] == [3, 4]


def test_what_is_gone_leaves_no_content_behind():
    connection, messages = queue(3)
    claimed = messages.claim({SUBSCRIPTION: 1}, NOW)
    messages.record([Attempt(claimed[0], Verdict(Outcome.DEAD, "HTTP410", 410), 1.0, 1.0)])
    assert Keeper(connection).prune(Retention(0.0, 0), Retention(9.0, 0), 10).total == 1
    assert connection.execute("SELECT count(*) FROM contents").get == 2
    messages.forget(SUBSCRIPTION, 9)
    assert connection.execute("SELECT count(*) FROM contents").get == 0


def test_a_counter_that_would_go_wrong_fails_the_call_instead():
    connection, messages = queue(1)
    connection.execute("UPDATE subscriptions SET pending = 0")
    claimed = messages.claim({SUBSCRIPTION: 1}, NOW)
    with pytest.raises(apsw.ConstraintError):
        messages.record([Attempt(claimed[0], Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0)])


def test_the_number_of_a_deleted_message_is_not_given_to_another():
    _, messages = queue(1)
    (late,) = messages.claim({SUBSCRIPTION: 1}, NOW)
    messages.forget(SUBSCRIPTION, 9)
    assert messages.claims.count(SUBSCRIPTION) == 0
    messages.add([message(2)])
    messages.record([Attempt(late, Verdict(Outcome.DELIVERED, "Delivered", 200), 1.0, 1.0)])
    assert messages.counts() == {SUBSCRIPTION: Counts(pending=1)}


def test_a_subscription_is_forgotten_piece_by_piece_and_the_outbox_is_sound_after_each():
    connection, messages = queue(5)
    messages.order(SUBSCRIPTION, ordered=True)
    done = [messages.forget(SUBSCRIPTION, 2)]
    while not done[-1]:
        assert findings(connection) == []
        assert messages.counts()[SUBSCRIPTION].pending == 5 - 2 * len(done)
        done.append(messages.forget(SUBSCRIPTION, 2))
    assert done == [False, False, True]
    assert messages.counts() == {}
    assert findings(connection) == []
