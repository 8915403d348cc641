"""A volume that is full, breaks or holds a damaged file: it is told, nothing is acknowledged, and nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.cluster import eventually
from support.live import LiveOperator, LiveReceiver
from support.load import create_config_maps
from support.scale import note, scale
from support.volumes import Volume, ext4, tmpfs

EVENTS = scale(40, 400)
FAILING, WORKING = 1.0, 0.0


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Volume]:
    with tmpfs(tmp_path / "small", "4m") as volume:
        yield volume


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[Volume]:
    with ext4(tmp_path / "breakable", 24) as volume:
        yield volume


def told(receiver: LiveReceiver) -> set[str]:
    """The names of the objects whose creation arrived."""
    return {body["data"]["object"]["metadata"]["name"] for body in receiver.bodies}


def wait_until_it_fails(operator: LiveOperator, subscriptions: Any) -> None:
    """Ready, readiness and metrics say that the outbox fails."""
    subscriptions.wait("StoreFailing")
    assert operator.metric("hookline_store_failing") == FAILING
    assert operator.metric('hookline_store_errors_total{operation="commit"}') > 0
    code, text = operator.get("/readyz")
    assert code == 503
    assert "outbox" in text


def names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{number}" for number in range(count)]


def test_a_full_volume_stops_the_watch_not_the_delivery_and_when_there_is_room_nothing_is_lost(
    small: Volume,
    make_operator: Callable[..., LiveOperator],
    subscriptions: Any,
    receiver: LiveReceiver,
    control_plane: Any,
    namespace: str,
):
    operator = make_operator("--data-dir", str(small.path), "--watch-idle-seconds", "1").start()
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(delivery={"retry": {"schedule": [1] * 30}})
    early, late = names("early", 8), names("late", EVENTS)
    create_config_maps(control_plane.kubeconfig, namespace, early)
    eventually(lambda: operator.metric('hookline_outbox_messages{state="pending"}') == len(early), "they wait")

    small.fill()
    create_config_maps(control_plane.kubeconfig, namespace, late)
    wait_until_it_fails(operator, subscriptions)
    eventually(lambda: operator.metric("hookline_watch_staleness_seconds") > 3, "the watch stands still for long")
    assert operator.get("/healthz")[0] == 200  # a new process would find the same volume
    receiver.do(lambda live: live.answer(200))
    eventually(lambda: told(receiver) >= set(early), "what is stored is sent all the same")
    durable = stored(operator, small)
    assert told(receiver) <= durable, "nothing is sent that is not durable"
    assert not durable >= set(late), "the volume was not full enough for this test to say anything"

    small.make_room()
    eventually(lambda: told(receiver) == {*early, *late}, "the rest arrives when there is room", 90)
    subscriptions.wait("Watching")
    eventually(lambda: operator.metric("hookline_store_failing") == WORKING, "the metric says so")
    eventually(lambda: operator.get("/readyz")[0] == 200, "and readiness")
    eventually(lambda: operator.metric('hookline_outbox_messages{state="pending"}') == 0, "all verdicts are recorded")
    ids = receiver.ids
    note(f"{len(late)} events during a full volume: 0 lost, {len(ids) - len(set(ids))} attempts more than events")


def stored(operator: LiveOperator, volume: Volume) -> set[str]:
    """The names in the messages of the outbox, read from a copy of what is on the volume."""
    import apsw

    copy = operator.home / "copy.db"
    for suffix in ("", "-wal"):
        source = volume.path / f"outbox.db{suffix}"
        copy.with_name(copy.name + suffix).write_bytes(source.read_bytes() if source.exists() else b"")
    connection = apsw.Connection(str(copy))
    try:
        bodies = [json.loads(body) for (body,) in connection.execute("SELECT body FROM contents")]
    finally:
        connection.close()
    return {body["data"]["object"]["metadata"]["name"] for body in bodies}


def test_a_volume_that_becomes_read_only_is_told_and_after_its_repair_and_a_restart_nothing_is_lost(
    breakable: Volume,
    make_operator: Callable[..., LiveOperator],
    subscriptions: Any,
    receiver: LiveReceiver,
    control_plane: Any,
    namespace: str,
):
    operator = make_operator("--data-dir", str(breakable.path)).start()
    subscriptions.ready()
    early, late = names("early", 8), names("late", EVENTS)
    create_config_maps(control_plane.kubeconfig, namespace, early)
    eventually(lambda: told(receiver) == set(early), "they arrive")

    breakable.break_down()
    create_config_maps(control_plane.kubeconfig, namespace, late)
    wait_until_it_fails(operator, subscriptions)
    assert told(receiver) == set(early), "nothing is sent that is not durable"

    operator.kill()
    breakable.detach()
    breakable.attach()
    operator.start()
    eventually(lambda: told(receiver) == {*early, *late}, "the rest arrives after the repair", 90)
    subscriptions.wait("Watching")
    bodies: dict[str, set[bytes]] = {}
    for request in receiver.requests:
        bodies.setdefault(request.id, set()).add(request.body)
    assert len(bodies) == len(early) + len(late), "each has one id, whatever happened"
    assert all(len(variants) == 1 for variants in bodies.values())


def test_a_damaged_file_is_refused_at_the_start_with_what_where_and_what_to_do(
    make_operator: Callable[..., LiveOperator], subscriptions: Any, config_map: Callable[..., None]
):
    operator = make_operator().start()
    subscriptions.ready()
    config_map("web", a="1")
    assert operator.stop() == 0
    file = operator.home / "data" / "outbox.db"
    content = bytearray(file.read_bytes())
    content[100:4096] = os.urandom(3996)  # the page with the schema
    file.write_bytes(content)
    operator.launch()
    assert operator.process is not None
    assert operator.process.wait(60) == 1
    last = operator.log.read_text().splitlines()[-1]
    assert str(file) in last
    assert "damaged" in last
    assert "hookline outbox check" in last
    assert "Traceback" not in operator.log.read_text()


def test_damage_that_is_found_while_running_ends_the_process_with_the_same_words(
    make_operator: Callable[..., LiveOperator],
    subscriptions: Any,
    receiver: LiveReceiver,
    control_plane: Any,
    namespace: str,
):
    operator = make_operator().start()
    receiver.do(lambda live: live.answer(503))
    subscriptions.ready(delivery={"retry": {"schedule": [3600]}})
    create_config_maps(control_plane.kubeconfig, namespace, names("first", 20))
    eventually(lambda: operator.metric('hookline_outbox_messages{state="pending"}') == 20, "they are stored")
    assert operator.stop() == 0
    operator.start()  # nothing but the schema is in its cache now
    file = operator.home / "data" / "outbox.db"
    with file.open("r+b") as damaged:
        size = file.stat().st_size
        for page in range(2, size // 4096):
            damaged.seek(page * 4096)
            damaged.write(b"\xff" * 4096)
    create_config_maps(control_plane.kubeconfig, namespace, names("second", 20))
    assert operator.process is not None
    assert operator.process.wait(90) == 1
    last = operator.log.read_text().splitlines()[-1]
    assert "damaged" in last
    assert "hookline outbox check" in last
    subscriptions.wait("StoreFailing")
