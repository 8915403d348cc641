"""Faults between the API server and the watch: judged by a journal of what was written, each beside a control.

Short: a few hundred changes. Full: the numbers of docs/reliability.md.
"""

from __future__ import annotations

import asyncio
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson
import pytest

from controlplane import ControlPlane
from controlplane.flags import API_SERVER, ETCD
from hookline.errors import ApiError
from hookline.kube import KubeClient
from hookline.model import Scope, Seen, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import Operation
from hookline.watch.wire import decode_event
from support.cluster import Kubectl, eventually
from support.faulty import Faulty, error_event
from support.journal import Fact, Findings, Writer, judge
from support.live import LiveOperator, LiveReceiver, running
from support.load import in_thread
from support.receiver import Received
from support.rights import EVERYBODY_SEES_EVERYTHING
from support.scale import scale
from support.told import decode
from support.watching import QUICK, Objects, Recorder, install, watching
from support.whole import Subscriptions

CREATED, UPDATED, DELETED = Operation.CREATED, Operation.UPDATED, Operation.DELETED
DELETES, RECREATES = scale((100, 20), (1000, 200))
CHURN = scale(120, 900)
ROUNDS = scale(2, 10)
DROPPED_OF = scale(1200, 10_000)
IDLE = scale(3.0, 70.0)  # the default, in full
SHORT_COMPACTION = ["--etcd-compaction-interval=2s", "--watch-cache=false"]
PATIENCE = scale(60.0, 300.0)
LAST = "zz-last"  # also of a list, which is in the order of names


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(str(control_plane.kubeconfig))
    yield client
    await client.close()


@pytest.fixture(scope="module")
def fragile() -> Iterator[ControlPlane]:
    """A control plane to break: etcd is compacted every 2 s, and no cache answers for what was compacted away."""
    with ControlPlane(extra_flags={API_SERVER: SHORT_COMPACTION}) as plane:
        yield plane


@pytest.fixture
async def fragile_client(fragile: ControlPlane) -> AsyncIterator[KubeClient]:
    client = await KubeClient.connect(str(fragile.kubeconfig))
    yield client
    await client.close()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with opened(tmp_path / "outbox.db") as store:
        yield store


@pytest.fixture
async def bare_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """The control's."""
    async with opened(tmp_path / "control.db") as store:
        yield store


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


def findings(writer: Writer, recorder: Recorder) -> Findings:
    """What is wrong with what is in the outbox, which keeps one message of each id."""
    by_id = {(change.uid, change.resource_version, change.operation): change for change in recorder.changes}
    return judge(writer.facts, [Fact.of(change) for change in by_id.values()])


async def until(condition: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
    """Wait until it holds; fails with ``what`` is so instead."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what()
        await asyncio.sleep(0.02)


async def until_told(writer: Writer, recorder: Recorder) -> Findings:
    """Wait until the end is told rightly. Returns what is left of the journal."""
    await until(lambda: not findings(writer, recorder).end, lambda: findings(writer, recorder).end)
    return findings(writer, recorder)


@asynccontextmanager
async def naive(client: KubeClient, scope: Scope, again: asyncio.Event | None = None) -> AsyncIterator[list[Fact]]:
    """The control of all faults of the stream: a watcher that begins anew at the present whenever it is interrupted.

    It waits for ``again`` before it does, so that its loss depends on no race.
    """
    told: list[Fact] = []
    path = scope.resource.path(scope.namespace)
    params = {"fieldSelector": scope.field_selector}
    opened = asyncio.Event()

    async def follow() -> None:
        head = orjson.loads(await client.get_bytes(path, params={**params, "limit": "1"}))["metadata"]
        query = {**params, "watch": "1", "resourceVersion": head["resourceVersion"]}
        async with client.stream(path, query, 3600) as batches:
            opened.set()
            async for lines in batches:
                for event in map(decode_event, lines):
                    operation = {"ADDED": CREATED, "MODIFIED": UPDATED, "DELETED": DELETED}[event.type]
                    version = "" if operation is DELETED else event.resource_version
                    told.append(Fact(operation, event.uid, version))

    async def endlessly() -> None:
        while True:
            with suppress(ApiError):
                await follow()
            await asyncio.sleep(0.02)  # as clients do, lest a server that is gone is asked without end
            if again is not None:
                await again.wait()

    task = asyncio.create_task(endlessly())
    await asyncio.wait_for(opened.wait(), PATIENCE)
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reset(proxy: Faulty) -> None:
    proxy.refusal = (503, "ServiceUnavailable")
    proxy.reset()


def cut(proxy: Faulty) -> None:
    proxy.refusal = (503, "ServiceUnavailable")
    proxy.cut()


def stall(proxy: Faulty) -> None:
    proxy.stall()


def too_many_requests(proxy: Faulty) -> None:
    proxy.refusal = (429, "TooManyRequests")
    proxy.reset()


def errors_in_the_stream(code: int, reason: str) -> Callable[[Faulty], None]:
    def begin(proxy: Faulty) -> None:
        proxy.greeting = error_event(code, reason)
        proxy.lines = lambda line: (line, error_event(code, reason))

    return begin


def twice(proxy: Faulty) -> None:
    proxy.lines = lambda line: (line, line)


FAULTS = {
    "reset": reset,
    "cut in the middle of a line": cut,
    "silent but open": stall,
    "429": too_many_requests,
    "error 500 in the stream": errors_in_the_stream(500, "InternalError"),
    "error 403 in the stream": errors_in_the_stream(403, "Forbidden"),
    "each event twice": twice,
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_stream_loses_nothing_and_tells_nothing_twice(
    control_plane: ControlPlane, client: KubeClient, store: SqliteStore, namespace: str, fault: str, capsys
) -> None:
    maps = Objects(client, namespace)
    writer, recorder = Writer(maps), Recorder()
    proxy = Faulty(client.access)
    pace = replace(QUICK, idle=IDLE, audit=0.0)
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, maps.scope, store, recorder, pace=pace),
        naive(through, maps.scope) as control,
    ):
        await writer.churn("before", CHURN // 3)
        await until_told(writer, recorder)
        watches, begun = proxy.watches, time.monotonic()
        FAULTS[fault](proxy)
        await writer.churn("during", CHURN // 3)
        if fault != "each event twice":
            await until(lambda: proxy.watches > watches, lambda: "the fault was never noticed")
        noticed = time.monotonic() - begun
        proxy.refusal = proxy.greeting = None
        proxy.lines = lambda line: (line,)
        await writer.churn("after", CHURN // 3)
        found = await until_told(writer, recorder)
    assert found.untold == []
    assert not any(change.coalesced for change in recorder.changes), "the history was there: nothing is guessed"
    without = judge(writer.facts, control)
    assert without.untold or without.doubled, "the control would not have been harmed"
    report(capsys, f"{fault}: {len(writer.facts)} changes, 0 lost (control: {len(without.untold)} lost, "
                   f"{len(without.doubled)} told twice); noticed {noticed:.1f} s after it began")  # fmt: skip


async def test_a_storm_of_410_ends_with_every_object_told_in_its_last_state(
    client: KubeClient, store: SqliteStore, bare_store: SqliteStore, namespace: str, capsys
) -> None:
    maps = Objects(client, namespace)
    writer, recorder, bare = Writer(maps), Recorder(), Recorder()
    proxy = Faulty(client.access)
    pace = replace(QUICK, audit=0.0, page=50)
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, maps.scope, store, recorder, pace=pace),
        watching(through, maps.scope, Forgetful(bare_store), bare, pace=pace),
    ):
        for number in range(ROUNDS):
            await writer.churn(f"calm-{number}", CHURN // 2)
            await until_told(writer, recorder)
            watches, proxy.greeting = proxy.watches, error_event(410, "Expired")
            proxy.reset()
            await writer.churn(f"storm-{number}", CHURN // 2)
            await until(partial(proxy.has_watched, watches + 4))
            proxy.greeting = None
        await writer.create("last")
        await bare.until_named("last")
        await until_told(writer, recorder)
    assert any(change.coalesced for change in recorder.changes)
    without = findings(writer, bare).end
    assert without.get("missed_deletes"), "the control would not have missed a deletion"
    report(capsys, f"410 storm: {len(writer.facts)} changes, {sum(c.coalesced for c in recorder.changes)} events "
                   f"synthesised, end right for all {len(writer.uids)} objects (control: {without})")  # fmt: skip


class Forgetful:
    """The control of a comparison: a store whose last-seen index is always empty."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self.checkpoint, self.forget_scope = store.checkpoint, store.forget_scope

    async def commit(self, commit: WatchCommit) -> int:
        return await self._store.commit(replace(commit, seen=()))

    async def seen(self, scope_key: str, uids: Sequence[str]) -> dict[str, Seen]:
        return {}

    async def seen_uids(self, scope_key: str) -> frozenset[str]:
        return frozenset()


async def seed_and_damage(
    writer: Writer, maps: Objects, store: SqliteStore, recorder: Recorder, meanwhile: Callable[[], object]
) -> dict[str, str]:
    """Objects are known, the operator ends, many are deleted, some made anew. Returns the old uid of each by name."""
    names = [f"object-{number}" for number in range(DELETES + RECREATES)]
    async with watching(maps.client, maps.scope, store, recorder, pace=replace(QUICK, audit=0.0)):
        await writer.all(writer.create, names)
        await until_told(writer, recorder)
    old = dict(writer.uids)
    meanwhile()
    await writer.all(writer.delete, names)
    await writer.all(writer.create, names[DELETES:])
    return old


@pytest.mark.parametrize(
    ("gap", "index"),
    [
        ("history is kept", "with its index"),
        ("history is compacted", "with its index"),
        ("history is compacted", "without its index"),  # the control
    ],
)
async def test_deletions_and_recreations_while_down_are_told_exactly(
    fragile_client: KubeClient, client: KubeClient, store: SqliteStore, namespace: str, gap: str, index: str, capsys
) -> None:
    kept = gap == "history is kept"
    used = client if kept else fragile_client
    if not kept:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await used.request("POST", "/api/v1/namespaces", body=body)
    maps = Objects(used, namespace)
    writer, recorder = Writer(maps), Recorder()
    old = await seed_and_damage(writer, maps, store, recorder, lambda: None)
    checkpoint = await store.checkpoint(maps.scope.key)
    if not kept:
        await until_expired(maps, checkpoint)
    if index == "without its index":
        await store.forget_scope(maps.scope.key)
    before = len(recorder.changes)
    begun = time.monotonic()
    async with watching(used, maps.scope, store, recorder, pace=replace(QUICK, audit=0.0)):
        await writer.create(LAST)
        await recorder.until_named(LAST)
    took = time.monotonic() - begun
    told = [change for change in recorder.changes[before:] if change.object["metadata"]["name"] != LAST]
    deleted = [change.uid for change in told if change.operation is DELETED]
    created = [change.uid for change in told if change.operation is CREATED]
    if index == "without its index":
        assert told == [], "the control: nothing of it is known"
        return
    assert sorted(deleted) == sorted(old.values())
    assert sorted(created) == sorted(writer.uids[name] for name in old if name in writer.uids)
    assert (len(deleted), len(created), len(told)) == (DELETES + RECREATES, RECREATES, DELETES + 2 * RECREATES)
    assert {change.coalesced for change in told} == {not kept}
    for change in told:
        if change.operation is DELETED:
            assert change.object["data"] == {"n": "0"}, "the last state goes with it"
    report(capsys, f"down, {gap}: {len(deleted)} Deleted with the old uid, {len(created)} Created, in {took:.1f} s")


async def until_expired(maps: Objects, version: str | None) -> None:
    """Wait until the API server has no history from this version on."""
    deadline = time.monotonic() + PATIENCE
    params = {"watch": "1", "resourceVersion": version or "", "timeoutSeconds": "1"}
    while time.monotonic() < deadline:
        try:
            async with maps.client.stream(maps.path, params, 10) as batches:
                async for lines in batches:
                    for line in lines:
                        decode_event(line)
        except ApiError as error:
            if error.status == 410:
                return
        await asyncio.sleep(0.5)  # and ask again
    raise AssertionError("the history never expires")


async def test_compaction_every_two_seconds_during_changes_misses_no_deletion(
    fragile_client: KubeClient, store: SqliteStore, bare_store: SqliteStore, namespace: str, capsys
) -> None:
    client = fragile_client
    things = Objects(client, "default", await install(client))
    writer, recorder, bare = Writer(things), Recorder(), Recorder()
    proxy = Faulty(client.access, things.path.rpartition("/")[2])
    pace = replace(QUICK, audit=0.0)
    relists = 0
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, things.scope, store, recorder, pace=pace),
        watching(through, things.scope, Forgetful(bare_store), bare, pace=pace),
    ):
        for number in range(ROUNDS):
            await writer.churn(f"on-{number}", CHURN // 2)
            await until_told(writer, recorder)
            checkpoint = await store.checkpoint(things.scope.key)
            proxy.refusal = (503, "ServiceUnavailable")
            proxy.reset()
            await writer.churn(f"off-{number}", CHURN // 2)
            await until_expired(things, checkpoint)
            proxy.refusal = None
            told = len(recorder.changes)
            await until_told(writer, recorder)
            relists += any(change.coalesced for change in recorder.changes[told:])
        await writer.create("last")
        await bare.until_named("last")
        await until_told(writer, recorder)
    assert relists == ROUNDS
    without = findings(writer, bare).end
    assert without.get("missed_deletes")
    report(capsys, f"compaction every 2 s: {len(writer.facts)} changes, {relists} expired histories, end right for all "
                   f"{len(writer.uids)} objects (control: {without})")  # fmt: skip


@pytest.mark.parametrize("victim", [API_SERVER, ETCD])
async def test_a_killed_and_restarted_control_plane_loses_nothing(
    fragile: ControlPlane, fragile_client: KubeClient, store: SqliteStore, victim: str, capsys
) -> None:
    client = fragile_client
    things = Objects(client, "default", await install(client))
    writer, recorder = Writer(things), Recorder()
    async with (
        watching(client, things.scope, store, recorder, pace=replace(QUICK, audit=0.0)) as informer,
        naive(client, things.scope, again := asyncio.Event()) as control,
    ):
        for number in range(scale(1, 5)):
            await writer.churn(f"before-{number}", CHURN // 3)
            await until_told(writer, recorder)
            again.clear()
            during = asyncio.create_task(writer.churn(f"during-{number}", CHURN // 3))
            fragile.kill(victim)
            await asyncio.to_thread(fragile.start, victim)
            await during
            again.set()
            await writer.churn(f"after-{number}", CHURN // 3)
            await until_told(writer, recorder)
            await until(lambda: informer.staleness(time.time()) < 60)
    found = findings(writer, recorder)
    merged = sum(change.coalesced for change in recorder.changes)
    assert found.untold == [] or merged, "what was not told as it was may only have been merged by an expired history"
    without = judge(writer.facts, control)
    if victim == API_SERVER:  # which itself keeps the watches of its clients open over a restart of etcd
        assert without.untold, "the control would not have been harmed"
    report(capsys, f"{victim} killed and restarted: {len(writer.facts)} changes, end right for all, {merged} merged "
                   f"(control: {len(without.untold)} lost)")  # fmt: skip


def test_the_operator_lives_through_the_end_of_its_control_plane_and_says_how_it_is(
    fragile: ControlPlane, receiver: LiveReceiver, tmp_path: Path, capsys
) -> None:
    kubectl = Kubectl(fragile)
    files = [f"--filename={path}" for path in sorted((Path(__file__).parents[2] / "crds").glob("*.yaml"))]
    kubectl("apply", "--server-side", *files)
    kubectl.apply(*EVERYBODY_SEES_EVERYTHING)
    eventually(lambda: established(kubectl), "our kinds are served")
    operator = LiveOperator(
        fragile.kubeconfig, tmp_path / "operator", receiver.ca_pem, *("--namespace", "default"),
        *("--watch-idle-seconds", "2", "--audit-seconds", "2"),
    )  # fmt: skip
    with running(operator):
        Subscriptions(kubectl, "default", receiver).ready(delivery={"maxInFlight": 32})
        process = operator.process
        journal: list[Fact] = []

        def churn(label: str) -> None:
            journal.extend(asyncio.run(churn_as(fragile.kubeconfig, label)))

        churn("first")
        fragile.kill(API_SERVER)
        eventually(lambda: operator.get("/healthz")[0] == 503, "liveness fails")
        stale = operator.metric("hookline_watch_staleness_seconds")
        during = in_thread(lambda: churn("second"))
        fragile.start(API_SERVER)
        during.join()
        eventually(lambda: operator.get("/healthz")[0] == 200, "liveness is well again")
        during = in_thread(lambda: churn("third"))
        fragile.kill(ETCD)
        fragile.start(ETCD)
        during.join()

        def told() -> list[Fact]:
            tellings = [decode(request) for request in first_of_each(receiver.requests)]
            tellings.sort(key=lambda telling: telling.sequence)
            return [Fact(Operation(operation), uid, version) for uid, operation, version in (t.key for t in tellings)]

        with suppress(AssertionError):  # the next line shows what is wrong
            eventually(lambda: not judge(journal, told()).end, "the end is told rightly", PATIENCE)
        assert judge(journal, told()).end == {}
        merged = len(judge(journal, told()).untold)
        assert operator.process is process
        assert process is not None
        assert process.poll() is None, "it never exits"
        repairs = [operator.metric(f'hookline_watch_repairs_total{{operation="{one}"}}') for one in Operation]
    report(capsys, f"operator's process, API server and etcd killed: {len(journal)} changes, "
                   f"end right for all, {merged} merged by expired histories, staleness {stale:.0f} s seen, "
                   f"repairs {repairs}")  # fmt: skip


def established(kubectl: Kubectl) -> bool:
    conditions = [crd.get("status", {}).get("conditions") or () for crd in kubectl.json("get", "crd")["items"]]
    return all(("Established", "True") in [(one["type"], one["status"]) for one in each] for each in conditions)


def first_of_each(requests: Sequence[Received]) -> list[Received]:
    return list({request.id: request for request in reversed(requests)}.values())


async def churn_as(kubeconfig: Path, label: str) -> list[Fact]:
    """Changes by a client of its own."""
    client = await KubeClient.connect(str(kubeconfig))
    try:
        writer = Writer(Objects(client, "default"))
        await writer.churn(label, CHURN // 3)
        return writer.facts
    finally:
        await client.close()


def dropping(line: bytes) -> tuple[bytes, ...]:
    """One in a hundred events never comes, the same ones for everyone and in every run."""
    event = orjson.loads(line)
    if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
        return (line,)
    obj = event["object"]
    fact = f"10 {event['type']} {obj['metadata']['name']} {obj.get('data')}"
    return () if zlib.crc32(fact.encode()) % 100 == 0 else (line,)


async def test_events_that_the_api_server_drops_are_repaired_by_one_audit(
    client: KubeClient, store: SqliteStore, bare_store: SqliteStore, namespace: str, capsys
) -> None:
    maps = Objects(client, namespace)
    writer, recorder, bare = Writer(maps), Recorder(), Recorder()
    proxy = Faulty(client.access)
    proxy.lines = dropping
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, maps.scope, store, recorder, pace=replace(QUICK, audit=2.0, page=100)),
        watching(through, maps.scope, bare_store, bare, pace=replace(QUICK, audit=0.0)),
    ):
        await writer.churn("drop", DROPPED_OF)
        audits, dropped, left = proxy.audits, proxy.touched // 2, findings(writer, recorder).end
        ticking = asyncio.create_task(tick(maps))  # so that the watch passes a list without waiting for a bookmark
        await until_told(writer, recorder)
        after = proxy.audits - audits
        await bare.until(lambda: any(name.startswith("tick") for _, name in bare.told))
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
        without = findings(writer, bare).end
    assert after <= 2, "the one that was under way when the changes ended, and one more"
    assert not findings(writer, recorder).false_deletes
    assert not findings(writer, recorder).doubled
    assert without.get("missed_deletes")
    assert without.get("stale")
    guessed = Counter(change.operation for change in recorder.changes if change.coalesced)
    assert guessed
    # An object's next event may come before the audit, and tells of it, too, when its first was dropped.
    assert set(guessed - Counter(recorder.repairs)) <= {CREATED}
    assert not Counter(recorder.repairs) - guessed
    report(capsys, f"1 % of events dropped: {len(writer.facts)} changes, {dropped} events dropped, "
                   f"{len(recorder.repairs)} repaired, {left} left when the changes ended and 0 after {after} audits "
                   f"(control without audit: {without})")  # fmt: skip


async def tick(maps: Objects) -> None:
    for number in range(10_000):
        await maps.create(f"tick-{number}")
        await asyncio.sleep(0.2)  # the pace of the changes


async def test_an_audit_that_races_with_the_watch_tells_nothing_twice_and_nothing_false(
    client: KubeClient, store: SqliteStore, namespace: str, capsys
) -> None:
    maps = Objects(client, namespace)
    writer, recorder = Writer(maps), Recorder()
    proxy = Faulty(client.access)
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, maps.scope, store, recorder, pace=replace(QUICK, audit=0.02, page=20)),
    ):
        await writer.churn("race", DROPPED_OF // 2)
        found = await until_told(writer, recorder)
    assert proxy.audits > 3
    assert found.untold == []
    assert recorder.repairs == []
    assert not any(change.coalesced for change in recorder.changes)
    report(capsys, f"{proxy.audits} audits of a sound watch during {len(writer.facts)} changes: 0 repaired, 0 twice")


def report(capsys, text: str) -> None:
    """Show a measured line, also when the test passes and output is captured."""
    with capsys.disabled():
        sys.stdout.write(f"\n[watch faults] {text}\n")
