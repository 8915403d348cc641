"""Claims about messages whose time is over before anybody could be asked."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hookline.model import Counts, Outcome, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.sqlite_inspect import Inspector, Wanted
from hookline.spec import RetryPolicy
from support.dispatching import running

POLICY = RetryPolicy((0.0,), max_age=3600.0)


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_message_whose_time_passed_while_it_waited_is_dead_without_a_request(
    tmp_path: Path, client, receiver, tools, ordered
):
    age = 3700.0
    store = SqliteStore(tmp_path / "outbox.db", lambda: time.time() - age)
    await store.open()
    late = [tools.message(number, object_uid="one") for number in range(20)]
    await store.commit(WatchCommit("scope", late))
    age = 0.0
    async with running(store, client) as bench:
        bench.dispatcher.set_target(tools.target(receiver.url(), retry=POLICY, ordered=ordered))
        await bench.commit(tools.message(20, object_uid="one"))  # the control: there is time for this one
        await bench.attempts.until(lambda seen: len(seen) == 21)
        ended = {attempt.claimed.message.sequence: attempt for attempt in bench.attempts}
        assert await bench.counts() == Counts(delivered=1, dead=20)
    assert [request.id for request in receiver.requests] == ["msg_sub-1_20"]
    assert {(a.verdict.outcome, a.verdict.reason, a.made) for n, a in ended.items() if n < 20} == {
        (Outcome.DEAD, "Expired", False)
    }
    assert not any(a.current for n, a in ended.items() if n < 20), "they say nothing of the endpoint"
    await store.close()
    with Inspector(tmp_path / "outbox.db") as inspector:
        kept = {entry.sequence: entry.attempts for entry in inspector.entries(Wanted())}
    assert kept == {**dict.fromkeys(range(20), 0), 20: 1}
