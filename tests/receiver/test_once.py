"""Claims about the store of ids: the same for every backend."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from hookline import keys
from hookline.errors import SettingsError
from hookline.receiver.config import parse
from hookline.receiver.errors import AlreadyProcessed, InProgress, OnceUnavailable
from hookline.receiver.once import KEEP_SECONDS, LEASE_SECONDS
from support import once_child

ROOT = Path(__file__).parents[2]


class Broken(Exception):
    pass


@pytest.fixture
def orders(database):
    """How many rows the handler has written."""
    once_child.execute(database, once_child.ORDERS)
    return lambda: once_child.execute(database, "SELECT count(*) FROM orders")[0][0]


def insert(store, message_id="msg_1", **options):
    with store.once(message_id, **options) as transaction:
        transaction.execute(once_child.INSERT)


def insert_and_break(store, before=lambda: None):
    with store.once("msg_1") as transaction:
        transaction.execute(once_child.INSERT)
        before()
        raise Broken


def test_a_message_is_processed_once(open_store, orders):
    store = open_store()
    insert(store)
    with pytest.raises(AlreadyProcessed):
        insert(store)
    assert orders() == 1


def test_a_store_opened_anew_still_knows_the_message(open_store, orders):
    insert(open_store())
    with pytest.raises(AlreadyProcessed):
        insert(open_store())
    assert orders() == 1


def test_a_handler_that_raises_leaves_neither_row_nor_id(open_store, orders):
    store = open_store()
    with pytest.raises(Broken):
        insert_and_break(store)
    assert orders() == 0
    insert(store)
    assert orders() == 1


def test_an_error_of_the_database_in_the_handler_passes_as_it_is(open_store):
    store = open_store()
    with pytest.raises(Exception, match="no_such_table") as raised, store.once("msg_1") as transaction:
        transaction.execute("INSERT INTO no_such_table VALUES (1)")
    assert not isinstance(raised.value, OnceUnavailable)
    with store.once("msg_1"):
        pass


def test_the_same_id_in_another_scope_is_another_message(open_store, orders):
    """Else the owner of one endpoint could make another endpoint's messages look processed."""
    store = open_store()
    insert(store, scope="a")
    insert(store, scope="b")
    assert orders() == 2


def longest_retries() -> float:
    """Seconds for which a subscription may ask for retries at most, by the CRD."""
    crd = yaml.safe_load((ROOT / "crds" / "hookline.dev_webhooksubscriptions.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    delivery = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["delivery"]
    return float(delivery["properties"]["retry"]["properties"]["maxAgeSeconds"]["maximum"])


def test_an_id_is_remembered_for_longer_than_any_subscription_may_retry(open_store, clock):
    """And a day more, for a pause that the receiver asked for, and clocks that differ."""
    assert longest_retries() >= 86400, "the control"
    assert longest_retries() + 86400 <= KEEP_SECONDS
    store = open_store()
    with store.once("msg_1"):
        pass
    clock.now += longest_retries()
    store.purge()
    with pytest.raises(AlreadyProcessed):
        store.begin("msg_1")


def test_receive_yaml_says_for_how_many_days_ids_are_kept(tmp_path, clock):
    """For the store that actions share, and for that of an insert."""
    actions: list[dict[str, object]] = [
        {"script": {"command": ["/bin/true"]}},
        {"insert": {"database": "sqlite:orders.db", "table": "orders", "columns": {"id": "@id"}}},
    ]
    endpoint = {"name": "orders", "path": "/" + "p" * 43, "keys": [{"env": "KEY"}], "actions": actions}
    document = {"listen": {"port": 0}, "plainHttp": True, "once": "sqlite:ids.db", "endpoints": [endpoint]}
    environment = {"KEY": keys.encode_hmac(bytes(32))}
    for more, days in (({}, KEEP_SECONDS / 86400), ({"keepDays": 100}, 100)):
        stores = parse({**document, **more}, tmp_path, environment, clock).stores
        assert len(stores) == 2
        for store in stores:
            assert store.finish(store.begin(f"msg_{days}"))
        clock.now += days * 86400 - 1
        for store in stores:
            with pytest.raises(AlreadyProcessed):
                store.begin(f"msg_{days}")
        clock.now += 2
        for store in stores:
            assert store.begin(f"msg_{days}")
    with pytest.raises(SettingsError, match="keepDays: it must be a whole number from 1 to 3650"):
        parse({**document, "keepDays": 0}, tmp_path, environment, clock)


def test_an_id_is_forgotten_after_its_time_and_no_sooner(open_store, clock):
    store = open_store()
    with store.once("msg_1"):
        pass
    clock.now += KEEP_SECONDS - 1
    assert store.purge() == 0
    with pytest.raises(AlreadyProcessed), store.once("msg_1"):
        pass
    clock.now += 2
    assert store.purge() == 1
    with store.once("msg_1"):
        pass


def test_of_eight_simultaneous_requests_one_processes_and_the_others_wait_for_it(open_store, orders):
    store = open_store(wait=120)
    together = threading.Barrier(8)

    def request(_: int) -> str:
        together.wait(60)
        try:
            insert(store)
        except AlreadyProcessed:
            return "before"
        return "processed"

    with ThreadPoolExecutor(8) as pool:
        outcomes = sorted(pool.map(request, range(8)))
    assert outcomes == ["before"] * 7 + ["processed"]
    assert orders() == 1


def test_when_the_first_of_two_requests_fails_the_waiting_one_processes(open_store, orders):
    store = open_store(wait=120)
    inside = threading.Event()
    asked = threading.Event()

    def first() -> None:
        def wait() -> None:
            inside.set()
            assert asked.wait(60)

        with pytest.raises(Broken):
            insert_and_break(store, wait)

    def second() -> None:
        assert inside.wait(60)
        asked.set()
        insert(store)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(first), pool.submit(second)]:
            done.result()
    assert orders() == 1


def test_who_waits_in_vain_is_told_to_come_again(open_store):
    impatient = open_store(wait=0.05)
    with impatient.once("msg_1"), pytest.raises(InProgress), impatient.once("msg_1"):
        pass


def test_a_claim_holds_off_others_until_it_is_done(open_store):
    store = open_store()
    claim = store.begin("msg_1")
    with pytest.raises(InProgress):
        store.begin("msg_1")
    with pytest.raises(InProgress), store.once("msg_1"):
        pass
    assert store.finish(claim)
    with pytest.raises(AlreadyProcessed):
        store.begin("msg_1")


def test_a_released_claim_can_be_taken_at_once(open_store):
    store = open_store()
    store.release(store.begin("msg_1"))
    assert store.finish(store.begin("msg_1"))


def test_a_claim_that_nobody_finished_can_be_taken_after_its_lease(open_store, clock):
    store = open_store()
    lost = store.begin("msg_1")
    clock.now += LEASE_SECONDS - 1
    with pytest.raises(InProgress):
        store.begin("msg_1")
    clock.now += 2
    taken = store.begin("msg_1")
    assert not store.finish(lost), "who lost the claim is told"
    store.release(lost)
    with pytest.raises(InProgress):
        store.begin("msg_1")
    assert store.finish(taken)


def test_a_late_finish_counts_when_nobody_took_the_claim(open_store, clock):
    store = open_store()
    claim = store.begin("msg_1")
    clock.now += LEASE_SECONDS + 1
    assert store.finish(claim)
    with pytest.raises(AlreadyProcessed):
        store.begin("msg_1")


def test_sixteen_first_uses_at_once_make_one_table(open_store):
    """Each with a store of its own, as many processes would."""
    together = threading.Barrier(16)

    def use(number: int) -> None:
        together.wait(60)
        open_store(wait=120).begin(f"msg_{number}")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(use, range(16)))


def test_sqlite_that_cannot_be_opened_is_unavailable(tmp_path):
    store = once_child.store_at(f"sqlite:{tmp_path / 'absent' / 'ids.db'}")
    with pytest.raises(OnceUnavailable):
        store.begin("msg_1")


def test_postgres_that_cannot_be_reached_is_unavailable(tmp_path):
    pytest.importorskip("psycopg")
    store = once_child.store_at(f"postgresql:///x?host={tmp_path}")
    with pytest.raises(OnceUnavailable):
        store.begin("msg_1")


def test_in_postgres_another_message_waits_for_nothing(postgres, clock):
    store = once_child.store_at(postgres, clock=clock, wait=0.05)
    with store.once("msg_a"), store.once("msg_b"):
        pass


def test_in_postgres_the_body_cannot_cut_its_transaction_in_two(postgres, clock):
    import psycopg

    store = once_child.store_at(postgres, clock=clock)
    with pytest.raises(psycopg.ProgrammingError), store.once("msg_cut") as transaction:
        transaction.commit()


def run(database: str, way: str, moment: str = "never") -> int:
    """The handler in a process of its own. Returns its exit code."""
    command = [sys.executable, str(Path(once_child.__file__)), database, way, moment]
    return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode


@pytest.mark.parametrize("moment", ["claimed", "written", "committed"])
def test_a_kill_at_any_moment_neither_loses_nor_repeats(database, orders, moment):
    assert run(database, "together", moment) == -9
    assert run(database, "together") == 0, "the sender's retry"
    assert run(database, "together") == 0, "and another"
    assert orders() == 1


def test_without_one_transaction_a_kill_loses_or_repeats(database, orders):
    """The control: the same kill, between the id and the write."""
    assert run(database, "id first", "between") == -9
    assert run(database, "id first") == 0
    assert orders() == 0, "lost"
    once_child.execute(database, "DELETE FROM hookline_once")
    assert run(database, "write first", "between") == -9
    assert run(database, "write first") == 0
    assert orders() == 2, "repeated"


def test_a_kill_under_a_lease_repeats_after_it_and_not_before(database, orders, open_store, clock):
    assert run(database, "lease", "performed") == -9
    clock.now = time.time()
    with pytest.raises(InProgress):
        open_store().begin("msg_1")
    clock.now += LEASE_SECONDS + 1
    assert open_store().begin("msg_1"), "at least once: it will be performed again"
    assert orders() == 1


def test_a_kill_after_a_lease_is_finished_does_not_repeat(database, orders):
    assert run(database, "lease", "finished") == -9
    assert run(database, "lease") == 0
    assert orders() == 1
