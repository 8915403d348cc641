"""What the probes and the scrape say while something around the operator fails; the operator is not started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from hookline import vitals
from hookline.app import LAST_STATUS_SECONDS, App
from hookline.controller.lease import Lease
from hookline.deliver.worker import FLUSH_SECONDS
from hookline.errors import Forbidden, StoreError
from hookline.observe.server import STOP_SECONDS
from hookline.rooms import Rooms
from hookline.settings import Settings
from support.turns import turns

IDLE = 10.0
LISTENER_SECONDS = 10.0


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    app = App(Settings(data_dir=tmp_path, watch_idle_seconds=IDLE))
    yield app
    if app.vitals.rooms is not None:
        await app.rooms.client.close()


class LeaseServer:
    """Answers as the API server does: with the Lease of another, or with a refusal."""

    def __init__(self, holder: str = "") -> None:
        self.holder = holder

    async def request(self, method: str, *_: Any, **__: Any) -> Any:
        if not self.holder:
            raise Forbidden(403, "leases.coordination.k8s.io is forbidden")
        return {"metadata": {"uid": "u"}, "spec": {"holderIdentity": self.holder, "renewTime": "t"}}


async def stand_by(app: App, server: LeaseServer) -> None:
    lease = app.lease = app.vitals.lease = Lease(server, "hookline", "hookline", "me")
    app.vitals.standby = True
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await lease.acquire()
    looking = asyncio.create_task(lease.acquire())
    await turns()
    looking.cancel()


async def test_a_standby_that_sees_the_leader_is_ready(app: App):
    await stand_by(app, LeaseServer("leader"))
    assert app.vitals.unready() == ""


async def test_a_standby_that_may_not_read_the_lease_is_not_ready_and_says_why(app: App):
    await stand_by(app, LeaseServer())
    assert app.vitals.unready() == "the Lease can't be read or written: 403: leases.coordination.k8s.io is forbidden"


def test_a_standby_is_not_ready_before_it_looked_at_the_lease(app: App):
    app.vitals.lease, app.vitals.standby = Lease(LeaseServer("leader"), "hookline", "hookline", "me"), True
    assert app.vitals.unready() == "the Lease was not read yet"


async def test_a_process_that_leads_is_not_ready_until_it_works_and_says_what_it_waits_for_once(
    app: App, caplog: pytest.LogCaptureFixture
):
    def scraped(name: str) -> str:
        (line,) = [line for line in app.metrics.render().decode().splitlines() if line.startswith(name)]
        return line.rpartition(" ")[2]

    app.store = app.health.watched(cast(Any, Store()))
    await app.vitals.refresh_metrics(app.store)
    assert app.vitals.unready() == "the operator is starting"
    assert (scraped("hookline_leading "), scraped("hookline_ready ")) == ("1.0", "0.0")
    for reason in ("no kind", "no kind", "forbidden", "no kind", ""):
        app.vitals.waits(reason)
        assert app.vitals.unready() == "the operator is starting" + (f": {reason}" if reason else "")
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == ["no kind", "forbidden", "no kind"]
    app.vitals.started, app.vitals.rooms = True, cast(Any, SimpleNamespace(listener=SimpleNamespace(alive=True)))
    assert app.vitals.unready() == ""
    app.vitals.rooms = None


async def test_what_takes_more_than_a_moment_at_the_start_is_said_and_what_is_quick_is_not(
    app: App, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    with app.vitals.unless_soon("waiting for the API server"):
        await turns()
    assert not caplog.records
    monkeypatch.setattr(vitals, "SLOW_SECONDS", 0.0)
    with app.vitals.unless_soon("waiting for the API server"):
        await turns()
        assert app.vitals.unready() == "the operator is starting: waiting for the API server"
    assert [record.getMessage() for record in caplog.records] == ["not started yet: waiting for the API server"]
    assert app.vitals.unready() == "the operator is starting"


class Store:
    """An outbox whose every call fails with ``error``, or never ends."""

    def __init__(self, error: StoreError | None = None) -> None:
        self.error = error

    def __getattr__(self, name: str) -> Any:
        async def call(*_: Any) -> None:
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()

        return call


def wire(app: App, monkeypatch: pytest.MonkeyPatch, staleness: float, store: Store) -> None:
    """Make all parts of the operator, with a watch that was last heard of so long ago."""
    app.store = app.health.watched(cast(Any, store))
    app.kube = cast(Any, SimpleNamespace(access=None, server="https://192.0.2.1:6443"))
    app.rooms = app.vitals.rooms = Rooms(app.settings, app.kube, app.store, app.metrics, {})
    monkeypatch.setattr(vitals, "_staleness", lambda _: staleness)


async def test_a_watch_that_is_not_heard_of_for_too_long_makes_the_process_unhealthy(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    wire(app, monkeypatch, 3 * IDLE - 1, Store())
    assert app.vitals.unhealthy() == ""
    monkeypatch.setattr(vitals, "_staleness", lambda _: 3 * IDLE + 1)
    await app._look_at_store()
    assert "a watch has not been heard of" in app.vitals.unhealthy()


async def test_a_watch_that_stands_still_because_the_outbox_fails_does_not(app: App, monkeypatch: pytest.MonkeyPatch):
    wire(app, monkeypatch, 3 * IDLE + 1, Store(StoreError("the volume is full")))
    with pytest.raises(StoreError):
        await app.store.counts()
    await app._look_at_store()
    assert app.vitals.unhealthy() == ""


async def test_a_scrape_is_answered_with_the_last_numbers_while_the_disk_hangs(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(vitals, "SCRAPE_SECONDS", 0.0)
    wire(app, monkeypatch, 7.0, Store())
    app.metrics.outbox({}, 4096, 0, None)
    app.rooms.listener.restarts = 3
    async with asyncio.timeout(30):
        for _ in range(2):
            await app.vitals.refresh_metrics(app.store)
    text = app.metrics.render().decode()
    assert "hookline_outbox_bytes 4096.0" in text
    assert "hookline_watch_staleness_seconds 7.0" in text
    assert "hookline_controller_restarts_total 3.0" in text


async def test_the_controllers_thread_ends_beside_the_attempts_in_flight_not_before_them(
    app: App, monkeypatch: pytest.MonkeyPatch
):
    wire(app, monkeypatch, 0.0, Store())
    told = asyncio.Event()

    async def slow_listener() -> None:
        await told.wait()

    async def stop(grace: float) -> None:
        told.set()

    app.rooms.listener.stop = slow_listener  # type: ignore[method-assign]
    app.rooms.dispatcher.stop = stop  # type: ignore[method-assign]
    app._may_write = lambda: False  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        await app._stop_working()


def test_a_stop_takes_less_than_25_seconds_with_the_default_settings():
    settings = Settings()
    sending = settings.shutdown_grace_seconds + FLUSH_SECONDS
    release = settings.lease_renew_deadline_seconds / 3
    assert max(sending, LISTENER_SECONDS) + LAST_STATUS_SECONDS + release + STOP_SECONDS < 25.0
