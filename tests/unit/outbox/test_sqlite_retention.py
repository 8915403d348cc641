"""What pruning costs, in SQLite's own steps: what is kept costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import apsw

from hookline.model import Attempt, Message, Outcome, Verdict
from hookline.outbox.sealing import Sealing
from hookline.outbox.sqlite_messages import Messages
from hookline.outbox.sqlite_retention import Keeper
from hookline.outbox.sqlite_schema import MIGRATIONS
from hookline.stored import Retention

ROOMY = Retention(0.0, 2**60)


def kept(number: int) -> apsw.Connection:
    """An outbox that keeps so many delivered messages."""
    connection = apsw.Connection(":memory:")
    connection.pragma("foreign_keys", 1)
    connection.execute("".join(MIGRATIONS))
    messages = Messages(connection, lambda: 50.0, Sealing())
    messages.add([Message(f"msg_{n}", "s", n, f"uid-{n}", "type", (), b"{}", observed=1.0) for n in range(number)])
    delivered = Verdict(Outcome.DELIVERED, "Delivered", 200)
    messages.record([Attempt(claimed, delivered, 1.0, 1.0) for claimed in messages.claim({"s": number}, 50.0)])
    return connection


def steps(connection: apsw.Connection, call: Callable[[], object]) -> int:
    count = 0

    def profile(event: dict[str, dict[str, int]]) -> None:
        nonlocal count
        count += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

    connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, profile)
    call()
    connection.trace_v2(0, None)
    return count


def test_pruning_costs_the_same_however_much_is_kept():
    few, many = kept(100), kept(5_000)
    assert steps(few, lambda: Keeper(few).prune(ROOMY, ROOMY, 99)) == steps(
        many, lambda: Keeper(many).prune(ROOMY, ROOMY, 99)
    )


def test_the_control_reading_through_what_is_kept_does_cost_more():
    few, many = kept(100), kept(5_000)
    scan = "SELECT count(*) FROM messages WHERE +finished < 1"
    assert steps(many, lambda: many.execute(scan).get) > 40 * steps(few, lambda: few.execute(scan).get)


def test_pruning_by_size_costs_by_what_goes():
    few, many = kept(200), kept(5_000)
    tight = {id(few): Retention(0.0, 100 * 4), id(many): Retention(0.0, 4_900 * 4)}  # each holds 4 bytes: "[]" and "{}"
    costs = [steps(c, partial(Keeper(c).prune, tight[id(c)], ROOMY, 999)) for c in (few, many)]
    assert abs(costs[0] - costs[1]) <= costs[0] // 20
