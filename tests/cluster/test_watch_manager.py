"""Shared informers, what is served, and the labels of namespaces, against a real API server."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hookline.errors import NotServed
from hookline.kube import KubeClient
from hookline.model import Scope
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import Operation
from hookline.watch import wire
from hookline.watch.discovery import Discovery
from hookline.watch.manager import WatchManager
from hookline.watch.namespaces import NamespaceIndex
from support.watching import CONFIG_MAPS, QUICK, Objects, Proxy, Recorder, install

CREATED, UPDATED = Operation.CREATED, Operation.UPDATED


class Life:
    """One life of the operator, as far as watches are concerned."""

    def __init__(self, client: KubeClient, store: SqliteStore) -> None:
        self.recorder = Recorder()
        self.attached: list[tuple[str, str, str]] = []
        self.on_attached: Callable[[], object] = lambda: None
        self.gaps: list[tuple[str, str]] = []
        self.manager = WatchManager(
            client,
            store,
            self.recorder.hooks,
            clock=time.time,
            random=random.random,
            on_attached=self._attached,
            on_gap=lambda uid, scope: self.gaps.append((uid, scope.key)),
            pace=QUICK,
        )

    def _attached(self, uid: str, scope: Scope, since: str) -> None:
        self.attached.append((uid, scope.key, since))
        self.on_attached()

    async def until_attached(self, count: int) -> None:
        await self.recorder.until(lambda: len(self.attached) >= count)

    async def until_watching(self, *scopes: Scope) -> None:
        """Wait until just these are watched."""
        keys = {scope.key for scope in scopes}
        await self.recorder.until(lambda: self.manager.informers.keys() == keys)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Life]:
        await self.manager.start()
        try:
            yield self
        finally:
            await self.manager.close()


async def until_noted(store: SqliteStore, *pairs: tuple[str, str]) -> None:
    """Wait until just these listen, as the store has it."""
    async with asyncio.timeout(30):
        while set(await store.attachments()) != set(pairs):  # noqa: ASYNC110 (no event stands for it)
            await asyncio.sleep(0.01)


async def test_subscriptions_to_one_scope_share_one_watch_until_the_last_one_goes(
    client: KubeClient, store: SqliteStore, maps: Objects
) -> None:
    proxy = Proxy(client.access)
    async with proxy.client() as through:
        life = Life(through, store)
        for uid in ("one", "two", "three"):
            life.manager.set_wanted(uid, {maps.scope})
        async with life.running():
            await life.until_attached(3)
            await life.recorder.until(lambda: proxy.watches)
            await maps.create("a")
            await life.recorder.until_named("a")
            assert proxy.watches == 1
            assert list(life.manager.informers) == [maps.scope.key]
            life.manager.drop("one")
            life.manager.drop("two")
            await until_noted(store, ("three", maps.scope.key))
            await maps.create("b")
            await life.recorder.until_named("b")
            assert proxy.watches == 1
            life.manager.drop("three")
            await life.until_watching()
            await until_noted(store)
    assert life.recorder.told == [(CREATED, "a"), (CREATED, "b")]
    assert await store.checkpoint(maps.scope.key) is None
    assert await store.attachments() == {}


async def test_a_subscription_listens_from_its_own_beginning_also_over_restarts(
    client: KubeClient, store: SqliteStore, maps: Objects
) -> None:
    life = Life(client, store)
    life.manager.set_wanted("old", {maps.scope})
    async with life.running():
        await life.until_attached(1)
        since = (await store.attachments())["old", maps.scope.key]
        assert life.attached == [("old", maps.scope.key, since)]
    missed = await maps.create("missed")
    life = Life(client, store)
    life.manager.set_wanted("old", {maps.scope})
    life.manager.set_wanted("new", {maps.scope})
    async with life.running():
        await life.until_attached(2)
        await life.recorder.until_named("missed")
    version = int(missed["metadata"]["resourceVersion"])
    told = {uid: since for uid, _, since in life.attached}
    assert told["old"] == since
    assert int(since) < version <= int(told["new"])
    assert life.attached[0][0] == "old", "who listened before is there before the first change"


async def test_a_changed_subscription_is_told_again_where_it_listens(
    client: KubeClient, store: SqliteStore, maps: Objects, namespace: str
) -> None:
    other = Scope(CONFIG_MAPS, namespace, "metadata.name=other")
    life = Life(client, store)
    life.manager.set_wanted("one", {maps.scope})
    async with life.running():
        await life.until_attached(1)
        life.manager.set_wanted("one", {maps.scope, other})
        await life.until_attached(3)
        life.manager.set_wanted("one", {other})
        await life.until_watching(other)
        await until_noted(store, ("one", other.key))
    assert [key for _, key, _ in life.attached[:2]] == [maps.scope.key] * 2
    assert life.attached[0] == life.attached[1]
    assert set(await store.attachments()) == {("one", other.key)}


async def test_what_a_subscription_left_that_went_while_nobody_looked_is_swept(
    client: KubeClient, store: SqliteStore, maps: Objects, namespace: str
) -> None:
    other = Scope(CONFIG_MAPS, namespace, "metadata.name=other")
    life = Life(client, store)
    life.manager.set_wanted("gone", {other})
    life.manager.set_wanted("stays", {maps.scope})
    async with life.running():
        await life.until_attached(2)
    life = Life(client, store)
    life.manager.set_wanted("stays", {maps.scope})
    async with life.running():
        await life.until_attached(1)
        assert await store.checkpoint(other.key) is not None, "not before all that exist are known"
        life.manager.sweep({"stays"})
        await until_noted(store, ("stays", maps.scope.key))
        assert await store.checkpoint(other.key) is None
        assert await store.checkpoint(maps.scope.key) is not None


async def test_what_a_shared_watch_told_while_a_listener_of_an_earlier_life_was_not_in_force_is_told_as_a_gap(
    client: KubeClient, store: SqliteStore, maps: Objects
) -> None:
    life = Life(client, store)
    for uid in ("broken", "well"):
        life.manager.set_wanted(uid, {maps.scope})
    async with life.running():
        await life.until_attached(2)
    life = Life(client, store)
    life.manager.set_wanted("well", {maps.scope})
    async with life.running():
        await maps.create("missed")
        await life.recorder.until_named("missed")
        assert life.gaps == []
    # It heals in yet another life: nothing in that one knows what the one before passed over, but the store.
    life = Life(client, store)
    for uid in ("broken", "well"):
        life.manager.set_wanted(uid, {maps.scope})
    async with life.running():
        await life.until_attached(2)
        assert life.gaps == [("broken", maps.scope.key)]
        await until_noted(store, ("broken", maps.scope.key), ("well", maps.scope.key))
    life = Life(client, store)
    for uid in ("broken", "well"):
        life.manager.set_wanted(uid, {maps.scope})
    async with life.running():
        await life.until_attached(2)
    assert life.gaps == [], "it is told once"


async def test_a_listener_that_heals_while_its_watch_runs_is_told_of_the_gap_at_once(
    client: KubeClient, store: SqliteStore, maps: Objects
) -> None:
    life = Life(client, store)
    for uid in ("broken", "well"):
        life.manager.set_wanted(uid, {maps.scope})
    async with life.running():
        await life.until_attached(2)
    life = Life(client, store)
    life.manager.set_wanted("well", {maps.scope})
    async with life.running():
        await life.until_attached(1)
        life.manager.set_wanted("broken", {maps.scope})
        await life.until_attached(2)
        assert life.gaps == [("broken", maps.scope.key)]
        life.manager.set_wanted("broken", {maps.scope})
        await life.until_attached(3)
        assert life.gaps == [("broken", maps.scope.key)], "it is told once"


async def test_a_listener_that_alone_wants_a_scope_has_no_gap_when_it_comes_back_late(
    client: KubeClient, store: SqliteStore, maps: Objects, namespace: str
) -> None:
    other = Scope(CONFIG_MAPS, namespace, "metadata.name=other")
    life = Life(client, store)
    life.manager.set_wanted("late", {maps.scope})
    life.manager.set_wanted("well", {other})
    async with life.running():
        await life.until_attached(2)
    life = Life(client, store)
    life.manager.set_wanted("well", {other})
    async with life.running():
        await life.until_attached(1)
        await maps.create("waits")
        life.manager.set_wanted("late", {maps.scope})
        await life.recorder.until_named("waits")
    assert life.gaps == []


async def test_a_changed_spec_that_needs_whole_objects_is_in_force_when_they_are_there(
    client: KubeClient, store: SqliteStore, maps: Objects
) -> None:
    await maps.create("a", data={"n": "1"})
    life = Life(client, store)
    life.manager.set_wanted("one", {maps.scope})
    async with life.running():
        await life.until_attached(1)
        (informer,) = life.manager.informers.values()
        filled: list[bool] = []
        life.on_attached = lambda: filled.append(informer.filled)
        life.manager.set_wanted("one", {maps.scope}, needs_full=True)
        await life.until_attached(2)
        assert filled == [True]
        await maps.patch("a", data={"n": "2"})
        await life.recorder.until_named("a")
    (change,) = life.recorder.changes
    assert change.old is not None
    assert change.old["data"] == {"n": "1"}


async def test_an_error_that_nobody_foresaw_in_one_subscription_or_the_store_does_not_end_the_care_for_all(
    client: KubeClient, store: SqliteStore, maps: Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Life(client, store)
    forget, failures = store.forget_scope, iter((True, True, False))

    async def defect(scope_key: str) -> None:
        if next(failures, False):
            raise RuntimeError("a defect")
        await forget(scope_key)

    life.manager.set_wanted("one", {maps.scope})
    life.manager.set_wanted("poison", {maps.scope})
    async with life.running():
        await life.until_attached(2)
        monkeypatch.setattr(store, "forget_scope", defect)
        life.on_attached = lambda: (_ for _ in ()).throw(RuntimeError("a defect"))
        life.manager.set_wanted("poison", {maps.scope})
        await life.until_attached(3)
        life.manager.drop("poison")
        life.manager.drop("one")
        await until_noted(store)
        life.on_attached = lambda: None
        life.manager.set_wanted("later", {maps.scope})
        await life.until_attached(4)


async def test_a_subscription_that_looks_at_old_objects_gets_them_from_its_beginning(
    client: KubeClient, store: SqliteStore, maps: Objects
) -> None:
    await maps.create("a", data={"n": "1"})
    life = Life(client, store)
    life.manager.set_wanted("plain", {maps.scope})
    async with life.running():
        await life.until_attached(1)
        life.manager.set_wanted("curious", {maps.scope}, needs_full=True)
        await life.until_attached(2)
        await maps.patch("a", data={"n": "2"})
        await life.recorder.until_named("a")
    (change,) = life.recorder.changes
    assert not change.partial
    assert change.old is not None
    assert change.old["data"] == {"n": "1"}


async def test_objects_of_a_kind_that_was_served_after_the_subscription_are_events(
    client: KubeClient, store: SqliteStore, namespace: str
) -> None:
    things = Objects(client, namespace, await install(client))
    await things.create("first")
    life = Life(client, store)
    life.manager.set_wanted("early", {things.scope}, newly_served={things.scope})
    async with life.running():
        await life.until_attached(1)
        await life.recorder.until_named("first")
    assert life.attached == [("early", things.scope.key, "0")]
    assert life.recorder.told == [(CREATED, "first")]


async def test_one_watch_in_trouble_does_not_touch_another(
    client: KubeClient, store: SqliteStore, maps: Objects, namespace: str
) -> None:
    broken = Scope(CONFIG_MAPS, namespace, "spec.nonsense=1")
    life = Life(client, store)
    life.manager.set_wanted("one", {broken, maps.scope})
    async with life.running():
        await life.until_attached(1)
        await maps.create("a")
        await life.recorder.until_named("a")
        assert [key for _, key, _ in life.attached] == [maps.scope.key]


async def test_discovery_tells_what_can_be_watched_and_what_is_missing(client: KubeClient) -> None:
    discovery = Discovery(client, clock=time.monotonic)
    deployment = await discovery.resource("apps/v1", "Deployment")
    assert (deployment.plural, deployment.namespaced, deployment.path("x")) == (
        "deployments",
        True,
        "/apis/apps/v1/namespaces/x/deployments",
    )
    assert not (await discovery.resource("v1", "Node")).namespaced
    for api_version, kind, words in (
        ("apps/v1", "Scale", "does not serve a kind Scale in apps/v1"),  # a subresource is no resource
        ("apps/v1", "Deploymint", "does not serve a kind Deploymint in apps/v1"),
        ("nothing.example.com/v1", "Thing", "does not serve nothing.example.com/v1"),
        ("authorization.k8s.io/v1", "SubjectAccessReview", "can't be listed and watched"),
        ("../../version", "x", "is no apiVersion"),
        ("v1/../v1", "Pod", "is no apiVersion"),
    ):
        with pytest.raises(NotServed, match=words):
            await discovery.resource(api_version, kind)


async def test_discovery_remembers_for_a_while_and_forgets_on_demand(client: KubeClient) -> None:
    now = 0.0
    discovery = Discovery(client, clock=lambda: now, ttl=10.0)
    before = await discovery.resource("v1", "Pod")
    assert await discovery.resource("v1", "Pod") is before
    discovery.invalidate("v1")
    after = await discovery.resource("v1", "Pod")
    assert after is not before
    assert after == before
    now = 10.0
    assert await discovery.resource("v1", "Pod") is not after


async def test_the_labels_of_namespaces_follow_every_change(client: KubeClient, namespace: str) -> None:
    index = NamespaceIndex(client, random=random.random, pace=QUICK)
    assert index.labels(namespace) is None

    async def label(value: str | None) -> None:
        body = {"metadata": {"labels": {"team": value}}}
        await client.request(
            "PATCH", f"/api/v1/namespaces/{namespace}", body=body, content_type="application/merge-patch+json"
        )

    async def until(condition: Callable[[], object]) -> None:
        await Recorder().until(condition)

    index.start()
    await asyncio.wait_for(index.synced.wait(), 30)
    labels = index.labels(namespace)
    assert labels is not None
    assert "team" not in labels
    await label("shop")
    await until(lambda: (index.labels(namespace) or {}).get("team") == "shop")
    await label(None)
    await until(lambda: "team" not in (index.labels(namespace) or {"team": ""}))
    await index.close()


async def make_namespace(client: KubeClient, **labels: str) -> str:
    name = f"test-{uuid.uuid4().hex[:12]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    await client.request("POST", "/api/v1/namespaces", body=body)
    return name


async def end_namespace(client: KubeClient, name: str) -> None:
    await client.request("DELETE", f"/api/v1/namespaces/{name}")
    with contextlib.suppress(NotServed):
        async with asyncio.timeout(30):
            while await client.request("GET", f"/api/v1/namespaces/{name}"):  # noqa: ASYNC110 (no event stands for it)
                await asyncio.sleep(0.02)


async def test_the_labels_of_a_deleted_namespace_are_remembered(client: KubeClient) -> None:
    index = NamespaceIndex(client, random=random.random, pace=QUICK)
    name = await make_namespace(client, team="shop")
    index.start()
    await asyncio.wait_for(index.synced.wait(), 30)
    await end_namespace(client, name)
    last = await make_namespace(client)
    await Recorder().until(lambda: index.labels(last) is not None)
    assert (index.labels(name) or {}).get("team") == "shop"
    await index.learn([name])
    assert (index.labels(name) or {}).get("team") == "shop", "it is gone, and still known"
    await index.close()


async def test_a_namespace_that_the_watch_has_not_told_of_is_learned_by_its_name(client: KubeClient) -> None:
    index = NamespaceIndex(client, random=random.random, pace=QUICK)  # and never started: no watch tells it anything
    name = await make_namespace(client, team="shop")
    assert index.labels(name) is None
    await index.learn([name, "never-was"])
    assert (index.labels(name) or {}).get("team") == "shop"
    assert index.labels("never-was") is None


async def test_the_watch_of_namespaces_survives_an_error_that_nobody_foresaw_and_shows_when_it_hears_nothing(
    client: KubeClient, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    index = NamespaceIndex(client, clock=lambda: now, random=random.random, pace=QUICK)
    assert index.staleness(1e9) == 0.0, "nobody waits for it"
    decode, failures = wire.decode_page, iter((True, True))

    def defect(*args: Any) -> wire.Page:
        if next(failures, False):
            raise RuntimeError("a defect")
        return decode(*args)

    monkeypatch.setattr(wire, "decode_page", defect)
    index.start()
    await asyncio.wait_for(index.synced.wait(), 30)
    assert index.labels(namespace) is not None
    assert index.staleness(170.0) == 70.0
    await index.close()
