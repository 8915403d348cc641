"""The way of the data with many tenants: what one of them does wrong harms it alone, and what is gone stays gone."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import hookline.turns
from hookline.errors import ExpressionError
from hookline.expressions import budget
from hookline.expressions.expression import SLOW_TIMES
from hookline.flow import Flow
from hookline.model import Counts, Finding, WatchCommit
from hookline.observe.metrics import Metrics
from hookline.outbox.sqlite import SqliteStore
from hookline.settings import Settings
from hookline.spec import Format, NamespacesFrom, Payload, Source, Subscription
from hookline.status.writer import StatusWriter
from support.samples import CONFIG_MAPS, change, config_map, subscription

SCOPE = change().scope


class Quiet:
    """What lies beyond the flow and is not looked at here: whatever is asked of it, it does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Whole:
    """A flow on a real outbox; subscriptions are in force at once."""

    def __init__(self, store: SqliteStore, settings: Settings) -> None:
        self.store = store
        self.metrics = Metrics()
        self.status = StatusWriter(Quiet(), 1.0, time.time)
        namespaces: Any = SimpleNamespace(labels=lambda _: {})
        discovery: Any = Quiet()
        self.flow = Flow(settings, store, {}, namespaces, discovery, self.status, self.metrics)
        watches: Any = Quiet()
        dispatcher: Any = Quiet()
        consents: Any = Quiet()
        self.flow.join(watches, dispatcher, consents)

    async def activate(self, wanted: Subscription) -> None:
        obj = {"metadata": {"namespace": wanted.namespace, "name": wanted.name, "uid": wanted.uid}}
        self.status.report(obj, Finding(wanted.generation, True, "Valid", ""))
        await self.flow.activate(wanted, [CONFIG_MAPS])
        self.flow.attached(wanted.uid, SCOPE, "1")

    async def tell(self, *numbers: int) -> list[tuple[str, int]]:
        """Changes of so many objects, each with 10 bytes of data; returns the messages, as (uid, sequence)."""
        changes = [change(obj=config_map(f"web-{n}", version=str(10 + n), data={"a": "x" * 10})) for n in numbers]
        return [(message.subscription, message.sequence) for message in await self.flow.sink(changes)]

    def is_full(self, uid: str) -> bool:
        return self.status._facts[uid].full

    def last_drop(self, uid: str) -> tuple[str, str]:
        drop = self.status._facts[uid].last_drop or {}
        return drop["reason"], drop["message"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "outbox.db")
    await opened.open()
    yield opened
    await opened.close()


# 100 times the length of a text of 10 MB, which it makes by doubling: some 100 ms.
WORK = "".join(f"cel.bind(v{n}, {f'v{n - 1} + v{n - 1}' if n else repr('x' * 10)}, " for n in range(21))
WORK += "[0,1,2,3,4,5,6,7,8,9].all(i, [0,1,2,3,4,5,6,7,8,9].all(j, size(v20) > i + j))" + ")" * 21
DEAR, DEAR_TRANSFORM = {"expression": WORK}, {"payload": Payload(transform=WORK)}
TOO_LITTLE_TIME, TIME_ENOUGH = (
    Settings(expression_limit_milliseconds=limit, max_expression_share_per_namespace=0.0) for limit in (1.0, 60_000.0)
)


@pytest.mark.parametrize(
    ("spec", "reason"), [(DEAR, "ExpressionFailed"), (DEAR_TRANSFORM, "TransformFailed")], ids=["filter", "transform"]
)
async def test_a_dear_expression_is_given_up_until_its_spec_changes_and_harms_only_its_subscription(
    store: SqliteStore, spec: dict[str, Any], reason: str
):
    whole = Whole(store, TOO_LITTLE_TIME)
    dear, plain = subscription(uid="dear", **spec), subscription(uid="plain")
    await whole.activate(dear)
    await whole.activate(plain)
    numbers = range(SLOW_TIMES)
    assert [uid for uid, _ in await whole.tell(*numbers)] == ["plain"] * SLOW_TIMES
    assert whole.last_drop("dear")[0] == reason
    assert "for one object" in whole.last_drop("dear")[1]

    await whole.activate(dear)  # looked at again, unchanged
    assert [uid for uid, _ in await whole.tell(0)] == ["plain"]
    assert "not evaluated any more" in whole.last_drop("dear")[1]
    assert whole.status._facts["dear"].dropped == SLOW_TIMES + 1, "each event is counted"

    await whole.activate(replace(dear, generation=2))
    await whole.tell(0)
    assert "for one object" in whole.last_drop("dear")[1], "a changed spec gets another try"
    await whole.flow.asked.close()


async def test_the_same_expressions_pass_within_the_limit(store: SqliteStore):
    whole = Whole(store, TIME_ENOUGH)
    await whole.activate(subscription(uid="dear", **DEAR, **DEAR_TRANSFORM))
    assert await whole.tell(*range(SLOW_TIMES + 1)) == [("dear", n + 1) for n in range(SLOW_TIMES + 1)]
    await whole.flow.asked.close()


# 3,600 steps that add up numbers: some milliseconds, far below the limit.
BUSY = "TERMS.all(a, TERMS.all(b, a + b + size(object.metadata.name) > 0))".replace("TERMS", str([1] * 60))


def greedy(uid: str) -> Subscription:
    """One of another namespace, which watches this one."""
    source = Source("v1", "ConfigMap", NamespacesFrom.NAMES, namespaces=frozenset({"shop"}))
    return subscription(uid=uid, namespace="greedy", sources=(source,), expression=BUSY)


@pytest.mark.parametrize("share", [0.001, 0.0], ids=["bounded", "the control"])
async def test_a_namespace_without_time_left_for_its_expressions_does_not_hold_up_a_watch_that_others_share(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, share: float
):
    monkeypatch.setattr(budget, "BURST_SECONDS", 0.05)
    monkeypatch.setattr(budget, "APART_SECONDS", 0.01)
    whole = Whole(store, Settings(max_expression_share_per_namespace=share))
    for number in range(3):
        await whole.activate(greedy(f"busy-{number}"))
    await whole.activate(subscription(uid="honest", expression="object.metadata.name.startsWith('web')"))
    evaluated = 0
    for _ in range(20):
        told = [uid for uid, _ in await whole.tell(*range(5))]
        assert told.count("honest") == 5
        evaluated += len(told) - 5
    assert (evaluated == 300) is (share == 0)
    if share:
        assert 0 < evaluated < 100
        assert whole.last_drop("busy-0")[0] == "ExpressionFailed"
        assert "processor time that they may take together (0.001 of a core)" in whole.last_drop("busy-0")[1]
        assert sum(whole.status._facts[f"busy-{number}"].dropped for number in range(3)) == 300 - evaluated
    await whole.flow.asked.close()


async def test_on_a_watch_of_its_own_it_waits_and_loses_nothing(store: SqliteStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(budget, "BURST_SECONDS", 0.05)
    monkeypatch.setattr(budget, "EVIDENCE_SECONDS", 1e9)
    whole = Whole(store, Settings(max_expression_share_per_namespace=0.02))
    await whole.activate(greedy("busy"))
    waited: list[float] = []
    real = whole.flow.asked._evaluator._budgets.wait

    def wait(namespace: str) -> float:
        waited.append(real(namespace))
        return waited[-1]

    monkeypatch.setattr(whole.flow.asked._evaluator._budgets, "wait", wait)
    for step in range(1000):
        assert len(await whole.tell(*range(5))) == 5, step
        if max(waited) > 0:
            break
    assert max(waited) > 0
    await whole.flow.asked.close()


async def test_many_with_and_without_expressions_get_what_they_asked_for_in_order(store: SqliteStore):
    whole = Whole(store, Settings(expression_limit_milliseconds=10_000.0))
    for uid, spec in (
        ("plain", {}),
        ("odd", {"expression": "int(object.data.n) % 2 == 1"}),
        ("shaped", {"payload": Payload(format=Format.RAW, transform="object.data")}),
        (
            "both",
            {"expression": "object.data.n == '1'", "payload": Payload(format=Format.RAW, transform="object.data.n")},
        ),
        ("less", {"payload": Payload(format=Format.RAW, transform="object.data", exclude=("data.n",))}),
        ("failing", {"expression": "object.data.missing == ''"}),
        ("broken", {"payload": Payload(transform="object.data.missing")}),
    ):
        wanted = subscription(uid=uid, **spec)
        await whole.flow.check(wanted)
        await whole.activate(wanted)
    changes = [change(obj=config_map(f"web-{n}", version=str(10 + n), data={"n": str(n)})) for n in range(4)]
    messages = await whole.flow.sink(changes)
    told = [(message.subscription, message.sequence, message.body) for message in messages]
    assert [item[:2] for item in told if item[0] == "plain"] == [("plain", n + 1) for n in range(4)]
    assert [item[:2] for item in told if item[0] == "odd"] == [("odd", 1), ("odd", 2)]
    shaped = [("shaped", n + 1, b'{"n":"%d"}' % n) for n in range(4)]
    assert [item for item in told if item[0] == "shaped"] == shaped
    assert [item for item in told if item[0] == "both"] == [("both", 1, b'"1"')]
    assert [item for item in told if item[0] == "less"] == [("less", n + 1, b"{}") for n in range(4)]
    assert len(told) == 4 + 2 + 4 + 1 + 4
    assert whole.last_drop("failing")[0] == "ExpressionFailed"
    assert whole.last_drop("broken")[0] == "TransformFailed"
    assert whole.status._facts["broken"].dropped == 4
    await whole.flow.asked.close()


async def test_what_does_not_compile_is_refused_with_its_field(store: SqliteStore):
    whole = Whole(store, Settings())
    with pytest.raises(ExpressionError, match=r"spec\.filter\.expression: line 1"):
        await whole.flow.check(subscription(expression="object."))
    with pytest.raises(ExpressionError, match=r"spec\.payload\.transform: line 1"):
        await whole.flow.check(subscription(payload=Payload(transform="object.")))
    await whole.flow.check(subscription(expression="true", payload=Payload(transform="'anything'")))
    await whole.flow.asked.close()


@pytest.mark.parametrize(("step", "turns"), [(0.03, 8), (0.0001, 0)], ids=["dear changes", "cheap changes"])
async def test_others_get_their_turn_between_changes_that_take_long(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, step: float, turns: int
):
    whole = Whole(store, Settings())
    await whole.activate(subscription())
    clock = itertools.count(0.0, step)
    monkeypatch.setattr(hookline.turns, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    seen = 0

    async def other() -> None:
        nonlocal seen
        while True:
            await asyncio.sleep(0)  # a turn
            seen += 1

    beside = asyncio.create_task(other())
    await asyncio.sleep(0)  # let it begin
    before = seen
    await whole.tell(*range(8))
    got = seen - before
    beside.cancel()
    assert got >= turns
    assert (got == 0) is (turns == 0)


async def test_what_takes_more_room_than_may_wait_is_dropped_as_overflow_and_told(store: SqliteStore):
    whole = Whole(store, Settings(max_pending_bytes_per_subscription=1))
    await whole.activate(subscription(uid="a"))
    assert await whole.tell(0, 1) == [("a", 1)]
    assert whole.last_drop("a")[0] == "Overflow"
    whole.flow.counted({"a": Counts(pending=1, pending_bytes=600)})
    assert whole.is_full("a")
    whole.flow.counted({"a": Counts(pending=1)})
    assert not whole.is_full("a")
    assert await whole.tell(2) == [("a", 2)], "when there is room again"


async def test_a_step_that_was_under_way_when_its_subscription_was_deleted_leaves_nothing(store: SqliteStore):
    whole = Whole(store, Settings())
    await whole.activate(subscription(uid="gone"))
    await whole.activate(subscription(uid="kept"))
    step = WatchCommit(SCOPE.key, await whole.flow.sink([change()]))
    await whole.flow.forget("gone")
    await store.commit(step)  # as a commit does that had to wait for the store
    assert (await store.counts()).keys() == {"gone", "kept"}
    await whole.flow.drop_leftovers()
    assert await store.counts() == {"kept": Counts(pending=1)}


async def test_a_sweep_drops_what_unknown_subscriptions_left(store: SqliteStore):
    await leave(store, "unknown")
    whole = Whole(store, Settings())
    await whole.flow.begin()
    await whole.flow.sweep(frozenset())
    assert await store.counts() == {}


async def test_a_sweep_drops_nothing_that_may_exist_in_a_namespace_served_before(store: SqliteStore):
    await Whole(store, Settings(namespaces=("shop", "other"))).flow.begin()
    await leave(store, "of other")
    narrowed = Whole(store, Settings(namespaces=("shop",)))
    await narrowed.flow.begin()
    await narrowed.flow.sweep(frozenset())
    assert await store.counts() == {"of other": Counts(pending=1)}


async def leave(store: SqliteStore, uid: str) -> None:
    whole = Whole(store, Settings())
    await whole.activate(subscription(uid=uid))
    await store.commit(WatchCommit(SCOPE.key, await whole.flow.sink([change()])))
