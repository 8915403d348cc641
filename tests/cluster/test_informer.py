"""The watch against a real API server: every change once, whatever happens to stream, history or operator."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hookline.errors import ApiError, NotServed, StoreError
from hookline.kube import KubeClient
from hookline.model import Resource, Scope, Seen, WatchCommit
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import Operation
from hookline.watch.informer import Informer
from support.cluster import Kubectl
from support.faulty import Faulty
from support.watching import CONFIG_MAPS, QUICK, Objects, Proxy, Recorder, a_resource, define, install, watching

CREATED, UPDATED, DELETED = Operation.CREATED, Operation.UPDATED, Operation.DELETED


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


async def test_each_change_is_told_once_with_the_state_before_it(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    async with watching(client, maps.scope, store, recorder):
        await maps.create("a", data={"n": "1"})
        await maps.patch("a", data={"n": "2"})
        await maps.patch("a", data={"n": "3"})
        await maps.delete("a")
        await maps.create("last")
        await recorder.until_named("last")
    assert recorder.told == [(CREATED, "a"), (UPDATED, "a"), (UPDATED, "a"), (DELETED, "a"), (CREATED, "last")]
    created, second, third, deleted, _ = recorder.changes
    assert created.old is None
    assert [change.object["data"]["n"] for change in (created, second, third, deleted)] == ["1", "2", "3", "3"]
    assert [change.old["data"]["n"] for change in (second, third, deleted) if change.old] == ["1", "2", "3"]
    assert created.object["kind"] == "ConfigMap"
    assert not any(change.coalesced or change.partial for change in recorder.changes)
    assert len(recorder.committed) == 5


async def test_what_existed_before_the_first_watch_is_no_event_but_its_next_change_is(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    for number in range(5):
        await maps.create(f"before-{number}", data={"n": "1"})
    async with watching(client, maps.scope, store, recorder, pace=replace(QUICK, page=2)):
        await maps.patch("before-3", data={"n": "2"})
        await recorder.until_named("before-3")
    assert recorder.told == [(UPDATED, "before-3")]
    assert recorder.changes[0].old is not None
    assert recorder.changes[0].old["data"] == {"n": "1"}
    assert recorder.changes[0].old["kind"] == "ConfigMap"


async def test_only_metadata_is_kept_of_the_state_before_where_nobody_needs_more(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    await maps.create("a", data={"n": "1"})
    async with watching(client, maps.scope, store, recorder, full=False):
        await maps.patch("a", data={"n": "2"})
        await recorder.until_named("a")
    (change,) = recorder.changes
    assert change.partial
    assert change.object["data"] == {"n": "2"}
    assert change.old is not None
    assert "data" not in change.old
    assert change.old["metadata"]["uid"] == change.uid


async def test_a_write_that_changes_nothing_is_no_event(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects, namespace: str, kubectl: Kubectl
) -> None:
    manifest = json.dumps({**maps.kind, "metadata": {"name": "a", "namespace": namespace}, "data": {"n": "1"}})
    kubectl("apply", "-f", "-", input=manifest)
    async with watching(client, maps.scope, store, recorder):
        await asyncio.to_thread(kubectl, "apply", "-f", "-", input=manifest)
        await maps.patch("a", data={"n": "1"})
        await maps.create("last")
        await recorder.until_named("last")
    assert recorder.told == [(CREATED, "last")]


async def test_changes_while_the_operator_is_down_are_told_once_after_it_resumes(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    async with watching(client, maps.scope, store, recorder):
        await maps.create("a", data={"n": "1"})
        await recorder.until(lambda: len(recorder.committed) == 1)
    await maps.patch("a", data={"n": "2"})
    await maps.create("b")
    await maps.delete("b")
    async with watching(client, maps.scope, store, recorder):
        await recorder.until(lambda: len(recorder.committed) == 4)
    async with watching(client, maps.scope, store, recorder):
        await maps.create("last")
        await recorder.until_named("last")
    assert recorder.told == [(CREATED, "a"), (UPDATED, "a"), (CREATED, "b"), (DELETED, "b"), (CREATED, "last")]
    assert not any(change.coalesced for change in recorder.changes), "the history was there: nothing is guessed"


async def test_a_new_subscriber_of_a_resumed_watch_starts_at_the_head_and_not_at_the_checkpoint(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    async with watching(client, maps.scope, store, recorder) as informer:
        first = await informer.position()
    missed = await maps.create("meanwhile")
    async with watching(client, maps.scope, store, recorder) as informer:
        assert int(await informer.position()) >= int(missed["metadata"]["resourceVersion"]) > int(first)
        await recorder.until_named("meanwhile")


class Crash(BaseException):
    """The end of a life; not an error that anything may handle."""


async def expire(store: SqliteStore, scope: Scope) -> None:
    """Put the checkpoint where the API server's history does not reach any more.

    That of a custom resource begins when its definition was installed.
    """
    await store.commit(WatchCommit(scope.key, resource_version="1"))


@pytest.mark.parametrize("page", [1, 2, 500])
async def test_an_expired_history_loses_no_deletion_and_no_last_state(
    client: KubeClient, store: SqliteStore, recorder: Recorder, namespace: str, page: int
) -> None:
    things = Objects(client, namespace, await install(client))
    for name in ("changed", "deleted", "recreated", "same"):
        await things.create(name, data={"n": "1"})
    pace = replace(QUICK, page=page)
    async with watching(client, things.scope, store, recorder, pace=pace):
        pass
    await things.patch("changed", data={"n": "2"})
    await things.patch("changed", data={"n": "3"})
    await things.delete("deleted")
    await things.delete("recreated")
    await things.create("recreated", data={"n": "2"})
    await things.create("new")
    await things.create("fleeting")
    await things.delete("fleeting")
    await expire(store, things.scope)
    async with watching(client, things.scope, store, recorder, pace=pace):
        await recorder.until(lambda: len(recorder.committed) == 5)
        await things.create("last")
        await recorder.until_named("last")
    assert sorted(recorder.told[:2]) == [(DELETED, "deleted"), (DELETED, "recreated")], "before what replaces them"
    assert sorted(recorder.told[2:5]) == [(CREATED, "new"), (CREATED, "recreated"), (UPDATED, "changed")]
    assert recorder.told[5:] == [(CREATED, "last")]
    by_name = {(change.operation, change.object["metadata"]["name"]): change for change in recorder.changes}
    assert all(change.coalesced for change in recorder.changes[:5])
    assert not recorder.changes[5].coalesced
    assert by_name[DELETED, "deleted"].object["data"] == {"n": "1"}
    assert by_name[UPDATED, "changed"].object["data"] == {"n": "3"}
    old = by_name[UPDATED, "changed"].old
    assert old is not None
    assert old["data"] == {"n": "1"}
    assert by_name[DELETED, "recreated"].uid != by_name[CREATED, "recreated"].uid


async def test_a_crash_at_any_step_of_a_comparison_neither_loses_nor_repeats(
    client: KubeClient, store: SqliteStore, recorder: Recorder, namespace: str
) -> None:
    things = Objects(client, namespace, await install(client))
    names = [f"object-{number}" for number in range(8)]
    for name in names:
        await things.create(name)
    pace = replace(QUICK, page=2)
    async with watching(client, things.scope, store, recorder, pace=pace):
        pass
    for name in names[:4]:
        await things.delete(name)
    for name in names[4:]:
        await things.patch(name, data={"n": "2"})
    await expire(store, things.scope)
    expected = sorted([f"Deleted/{name}" for name in names[:4]] + [f"Updated/{name}" for name in names[4:]])

    def crashed_or_done(task: asyncio.Task[None]) -> bool:
        return task.done() or len(recorder.committed) == len(expected)

    for crash in range(20):
        calls = 0

        def strike() -> None:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise Crash

        before = len(recorder.committed)
        recorder.before = strike
        informer = Informer(
            client, things.scope, store, recorder.hooks, clock=lambda: 0.0, random=lambda: 0.5, full=True, pace=pace
        )
        task = asyncio.create_task(informer.run())
        await recorder.until(partial(crashed_or_done, task))
        assert len(recorder.committed) == min(before + 2, len(expected)), f"life {crash} committed one step"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if len(recorder.committed) == len(expected):
            break
    assert sorted(text.rsplit("/", 2)[0] for text in recorder.committed) == expected
    assert all(change.coalesced for change in recorder.changes)
    recorder.before = lambda: None
    async with watching(client, things.scope, store, recorder, pace=pace):
        await things.create("last")
        await recorder.until_named("last")
    assert len(recorder.committed) <= len(expected) + 1


async def test_a_crash_in_a_comparison_whose_history_is_still_there_does_not_tell_that_history_again(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    for name in ("a", "b"):
        await maps.create(name)
    proxy = Proxy(client.access)
    proxy.rewrite = lambda data: data.replace(b'{"type":"DELETED"', b'{"type:"DELETED" ')
    async with proxy.client() as through:
        informer = Informer(
            through, maps.scope, store, recorder.hooks, clock=lambda: 0.0, random=lambda: 0.5, full=True, pace=QUICK
        )
        task = asyncio.create_task(informer.run())
        await informer.position()

        def strike() -> None:
            if recorder.committed:
                raise Crash

        recorder.before = strike
        await maps.delete("a")
        await maps.patch("b", data={"n": "2"})
        with pytest.raises(Crash):
            await asyncio.wait_for(task, 30)
    assert [text.rsplit("/", 2)[0] for text in recorder.committed] == ["Deleted/a"]
    recorder.before = lambda: None
    async with watching(client, maps.scope, store, recorder):
        await maps.create("last")
        await recorder.until(lambda: len(recorder.committed) == 3)
    assert [text.rsplit("/", 2)[0] for text in recorder.committed] == ["Deleted/a", "Updated/b", "Created/last"]


class Flaky:
    """The real store, of which each commit fails a few times first."""

    def __init__(self, store: SqliteStore, failures: int) -> None:
        self._store, self._failures, self._left = store, failures, failures
        self.refused = 0

    async def commit(self, commit: WatchCommit) -> int:
        if self._left:
            self._left -= 1
            self.refused += 1
            raise StoreError("the disk is full")
        self._left = self._failures
        return await self._store.commit(commit)

    async def checkpoint(self, scope_key: str) -> str | None:
        return await self._store.checkpoint(scope_key)

    async def seen(self, scope_key: str, uids: Sequence[str]) -> Mapping[str, Seen]:
        return await self._store.seen(scope_key, uids)

    async def seen_uids(self, scope_key: str) -> frozenset[str]:
        return await self._store.seen_uids(scope_key)

    async def forget_scope(self, scope_key: str) -> None:
        await self._store.forget_scope(scope_key)


async def test_a_store_that_fails_holds_the_watch_and_nothing_is_lost_or_rendered_twice(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    flaky = Flaky(store, 2)
    async with watching(client, maps.scope, flaky, recorder):
        for number in range(3):
            await maps.create(f"object-{number}")
        await recorder.until(lambda: len(recorder.committed) == 3)
    assert flaky.refused >= 4
    assert recorder.told == [(CREATED, f"object-{number}") for number in range(3)]


async def test_a_stream_that_fell_silent_is_noticed_and_replaced(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects, tmp_path: Path
) -> None:
    other_store = SqliteStore(tmp_path / "other.db")
    await other_store.open()
    unguarded = Recorder()
    proxy = Proxy(client.access)
    async with (
        proxy.client() as through,
        watching(through, maps.scope, store, recorder, pace=replace(QUICK, idle=1.0)),
        watching(through, maps.scope, other_store, unguarded, pace=replace(QUICK, idle=3600.0)),
    ):
        proxy.stall()
        await maps.create("a")
        await recorder.until_named("a")
        assert unguarded.told == [], "without the guard the silence goes unnoticed"
    assert recorder.told == [(CREATED, "a")]
    await other_store.close()


async def test_a_stream_cut_in_the_middle_of_an_event_goes_on_without_loss_or_repetition(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    proxy = Proxy(client.access)
    async with proxy.client() as through, watching(through, maps.scope, store, recorder):
        await maps.create("a")
        proxy.cut_at = b"marker-in-the-middle"
        await maps.create("b", data={"key": "marker-in-the-middle"})
        await maps.create("c")
        await recorder.until_named("c")
        assert proxy.cuts == 1
    assert recorder.told == [(CREATED, "a"), (CREATED, "b"), (CREATED, "c")]
    assert recorder.changes[1].object["data"] == {"key": "marker-in-the-middle"}


async def test_a_line_that_is_always_garbage_ends_in_a_comparison_and_not_in_an_endless_loop(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    proxy = Proxy(client.access)
    async with proxy.client() as through, watching(through, maps.scope, store, recorder):
        await maps.create("a")
        await recorder.until_named("a")
        proxy.rewrite = lambda data: data.replace(b'{"type":"ADDED"', b'{"type:"ADDED" ') if b"poison" in data else data
        await maps.create("b", data={"key": "poison"})
        await recorder.until_named("b")
        proxy.rewrite = lambda data: data
        await maps.create("c")
        await recorder.until_named("c")
    assert recorder.told == [(CREATED, "a"), (CREATED, "b"), (CREATED, "c")]
    assert [change.coalesced for change in recorder.changes] == [False, True, False]


async def test_an_api_server_that_hangs_up_is_a_pause_and_its_staleness_shows(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    calls = 0

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broken = KubeClient(replace(client.access, server=f"http://127.0.0.1:{port}"))
    async with watching(broken, maps.scope, store, recorder, synced=False) as informer:
        contact = informer._contact
        await recorder.until(lambda: calls >= 5)
        assert not informer.synced.is_set()
        assert informer.staleness(contact + 100) == 100
        assert informer.condition.failing
        assert recorder.problems == [], "a short interruption is no problem of the subscription"
        await recorder.until(lambda: recorder.problems)
        assert calls >= QUICK.lasting, "one that lasts is"
    await broken.close()
    server.close()


async def test_a_resource_that_is_not_served_is_a_problem_that_heals_when_its_crd_comes(
    client: KubeClient, store: SqliteStore, recorder: Recorder, namespace: str
) -> None:
    resource = a_resource()
    things = Objects(client, namespace, resource)
    async with watching(client, things.scope, store, recorder, synced=False) as informer:
        await recorder.until(lambda: recorder.problems)
        assert isinstance(recorder.problems[0], NotServed)
        assert await informer.position() == "0", "who listens now gets all that will ever be there"
        await define(client, resource)

        async def create_when_served() -> None:
            while True:
                try:
                    await things.create("first")
                except ApiError:
                    await asyncio.sleep(0.01)  # and ask again
                else:
                    return

        await asyncio.wait_for(create_when_served(), 30)
        await recorder.until_named("first")
        assert recorder.problems[-1] is None
        assert len(recorder.problems) == 2, "told once, not at every try"
    assert recorder.told == [(CREATED, "first")]


async def test_a_field_selector_that_the_api_server_does_not_support_is_told(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects, namespace: str
) -> None:
    scope = Scope(CONFIG_MAPS, namespace, "spec.nonsense=1")
    async with watching(client, scope, store, recorder, synced=False) as informer:
        await recorder.until(lambda: recorder.problems)
        assert informer.condition.failing
        assert not informer.condition.open
    (error,) = recorder.problems
    assert error is not None
    assert error.status == 400
    assert "spec.nonsense" in str(error)


@pytest.mark.parametrize("refusal", [(400, "BadRequest"), (503, "ServiceUnavailable")])
async def test_a_problem_is_over_when_a_stream_is_open_again(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects, refusal: tuple[int, str]
) -> None:
    proxy = Faulty(client.access)
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, maps.scope, store, recorder) as informer,
    ):
        seen = [informer.condition.open]
        proxy.refusal = refusal
        proxy.reset()
        await recorder.until(lambda: recorder.problems)
        seen.append(informer.condition.open)
        proxy.refusal = None
        await recorder.until(lambda: recorder.problems[-1] is None)
        seen.append(informer.condition.open)
        assert seen == [True, False, True]
        assert not informer.condition.failing


async def test_a_sink_that_always_fails_is_told_although_the_stream_opens_each_time(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    def defect() -> None:
        raise RuntimeError("a defect")

    async with watching(client, maps.scope, store, recorder):
        recorder.before = defect
        await maps.create("a")
        await recorder.until(lambda: recorder.problems)
        assert recorder.problems[-1] is not None
        assert "RuntimeError" in str(recorder.problems[-1])
        recorder.before = lambda: None
        await recorder.until_named("a")
        await recorder.until(lambda: recorder.problems[-1] is None)
    assert len(recorder.problems) == 2
    assert recorder.told == [(CREATED, "a")]


async def test_an_error_that_nobody_foresaw_neither_ends_the_beginning_nor_the_completion_of_a_watch(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_twice(method: Callable[..., Any]) -> Callable[..., Any]:
        failures = iter((True, True))

        async def call(*args: Any) -> Any:
            if next(failures, False):
                raise RuntimeError("a defect")
            return await method(*args)

        return call

    monkeypatch.setattr(store, "checkpoint", failing_twice(store.checkpoint))
    async with watching(client, maps.scope, store, recorder, full=False) as informer:
        monkeypatch.setattr(store, "commit", failing_twice(store.commit))
        informer.require_full()
        await asyncio.wait_for(informer.position(), 30)
        assert informer.filled


async def test_an_audit_finds_an_object_whose_name_has_what_separates_the_terms_of_a_selector(
    client: KubeClient, store: SqliteStore, recorder: Recorder, namespace: str
) -> None:
    roles = Objects(client, namespace, Resource("rbac.authorization.k8s.io/v1", "Role", "roles", namespaced=True))
    name = "a,b=c\\d"
    proxy = Faulty(client.access, "roles")
    proxy.lines = lambda line: () if b'"name":"a,b' in line else (line,)
    async with (
        proxy.serving(),
        proxy.client() as through,
        watching(through, roles.scope, store, recorder, pace=replace(QUICK, audit=0.2)),
    ):
        await roles.create(name)
        for number in range(1000):  # so that the watch passes a list without waiting for a bookmark
            await roles.create(f"tick-{number}")
            await asyncio.sleep(0.05)  # the pace of the changes
            if recorder.repairs:
                break
    assert recorder.repairs == [CREATED]
    assert (CREATED, name) in recorder.told
    assert proxy.touched == 1


async def test_an_object_too_deep_to_decode_is_counted_and_skipped_and_the_stream_goes_on(
    client: KubeClient, store: SqliteStore, recorder: Recorder, namespace: str, kubectl: Kubectl
) -> None:
    things = Objects(client, namespace, await install(client))
    deep = "[" * 1500 + "]" * 1500
    body = '{"apiVersion":"%s","kind":"%s","metadata":{"name":"deep"},"spec":%s}'
    manifest = body % (things.kind["apiVersion"], things.kind["kind"], deep)
    proxy = Proxy(client.access)
    async with proxy.client() as through, watching(through, things.scope, store, recorder):
        before = proxy.watches
        await things.create("before")
        await asyncio.to_thread(kubectl, "create", "--raw", things.path, "-f", "-", input=manifest)
        with pytest.raises(ApiError, match="can't be decoded"):
            await things.patch("deep", metadata={"labels": {"a": "b"}})
        await things.create("after")
        await recorder.until_named("after")
        assert proxy.watches == before, "still the same stream"
    assert recorder.told == [(CREATED, "before"), (CREATED, "after")]
    assert recorder.drops == ["not_decodable"] * 2
    await expire(store, things.scope)
    async with watching(client, things.scope, store, recorder):
        await things.create("last")
        await recorder.until_named("last")
    assert recorder.told[2:] == [(CREATED, "last")], "and a list in which it is hurts nobody either"


async def test_when_whole_objects_become_necessary_they_are_fetched_without_an_event(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    await maps.create("a", data={"n": "1"})
    async with watching(client, maps.scope, store, recorder, full=False) as informer:
        await maps.create("b", data={"n": "1"})
        await recorder.until_named("b")
        informer.require_full()
        await asyncio.wait_for(informer.position(), 30)
        await maps.patch("a", data={"n": "2"})
        await maps.patch("b", data={"n": "2"})
        await recorder.until(lambda: len(recorder.changes) == 3)
    assert recorder.told == [(CREATED, "b"), (UPDATED, "a"), (UPDATED, "b")]
    assert [change.old["data"] for change in recorder.changes[1:] if change.old] == [{"n": "1"}, {"n": "1"}]
    assert not any(change.partial for change in recorder.changes)


async def test_the_need_for_whole_objects_may_come_and_go_over_restarts(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    await maps.create("a", data={"n": "1"})
    for number, full in enumerate((False, True, True, False, True), 2):
        async with watching(client, maps.scope, store, recorder, full=full) as informer:
            await asyncio.wait_for(informer.position(), 30)
            await maps.patch("a", data={"n": str(number)})
            await recorder.until_changes(number - 1)
    assert [change.partial for change in recorder.changes] == [True, False, False, False, False]
    for number, change in enumerate(recorder.changes, 1):
        assert change.old is not None
        assert change.partial or change.old["data"] == {"n": str(number)}


async def test_a_field_selector_narrows_the_watch_at_the_api_server(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects, namespace: str
) -> None:
    scope = Scope(CONFIG_MAPS, namespace, "metadata.name=wanted")
    async with watching(client, scope, store, recorder):
        await maps.create("other")
        await maps.create("wanted")
        await recorder.until_named("wanted")
    assert recorder.told == [(CREATED, "wanted")]


async def test_a_checkpoint_beyond_the_head_means_a_restored_cluster_and_is_compared(
    client: KubeClient, store: SqliteStore, recorder: Recorder, maps: Objects
) -> None:
    async with watching(client, maps.scope, store, recorder):
        pass
    await maps.create("a")
    await store.commit(WatchCommit(maps.scope.key, resource_version="999999999"))
    async with watching(client, maps.scope, store, recorder):
        await recorder.until_named("a")
    assert recorder.told == [(CREATED, "a")]
