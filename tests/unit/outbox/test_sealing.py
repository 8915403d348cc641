"""Claims about the sealed outbox: nothing readable in its files, nothing lost with its keys, nothing moved unseen."""

from __future__ import annotations

import base64
import json

import apsw
import pytest

from hookline.cli.main import main
from hookline.errors import SealBroken, SettingsError, StoreDamaged, StoreError, StoreKeyMissing
from hookline.model import Seen, WatchCommit
from hookline.outbox.sealing import SEAL_BYTES, Identity, Sealing, last_seen_of, message_of, read_keys
from hookline.outbox.sqlite import SqliteStore
from hookline.outbox.sqlite_file import prepare
from hookline.outbox.sqlite_messages import Messages
from hookline.outbox.sqlite_schema import MIGRATIONS
from hookline.stored import DeliveryState, Replay
from support.outbox import EVER, PODS, A, B, add, message

FIRST, SECOND, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
SECRET = b'{"canary":"a-body-that-nobody-else-may-read"}'
PROJECTION = b'j{"canary":"an-object-that-nobody-else-may-read"}'
ROW = message_of(A, "msg_1", 1, "object", "type", "", b"[]")
HEADER = 100  # of the file, where SQLite counts how often it was opened for writing


def encoded(*keys):
    return "".join(base64.b64encode(key).decode() + "\n" for key in keys)


@pytest.fixture
def opened(tmp_path):
    """Open the same outbox with these keys."""

    async def make(*keys):
        store = SqliteStore(tmp_path / "outbox.db", sealing=Sealing(keys))
        await store.open()
        return store

    return make


@pytest.fixture
def on_disk(tmp_path):
    return lambda: b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())


def seen(uid="u", version="1"):
    return Seen(uid, version, PROJECTION, full=True)


async def fill(store, number=1):
    await store.commit(WatchCommit(PODS, [message(number, body=SECRET)], [seen(f"u{number}")], (), "7"))


async def read(store):
    bodies = {claimed.message.body for claimed in await store.claim({A: 9}, EVER)}
    objects = {one.projection for one in (await store.seen(PODS, ["u1", "u2"])).values()}
    return bodies, objects


ALL = ({SECRET}, {PROJECTION})


async def test_neither_bodies_nor_last_seen_objects_are_readable_in_any_file(opened, on_disk):
    store = await opened(FIRST)
    await fill(store)
    assert b"that-nobody-else-may-read" not in on_disk(), "in the log"
    assert await read(store) == ALL
    await store.close()
    assert b"that-nobody-else-may-read" not in on_disk(), "in the file"


async def test_the_control_without_a_key_they_are(opened, on_disk):
    store = await opened()
    await fill(store)
    await store.close()
    assert SECRET in on_disk()
    assert PROJECTION in on_disk()


async def test_a_clear_outbox_can_be_sealed_from_now_on_and_nothing_of_it_is_lost(opened):
    store = await opened()
    await fill(store)
    await store.close()
    store = await opened(FIRST)
    await fill(store, 2)
    assert await read(store) == ALL
    assert (await store.counts())[A].pending == 2
    await store.close()


async def test_last_seen_objects_are_sealed_anew_at_the_start_so_that_old_keys_can_go(opened, tmp_path):
    for keys in ((), (FIRST,), (SECOND, FIRST)):
        store = await opened(*keys)
        await store.commit(WatchCommit(PODS, seen=[seen(f"u{len(keys)}")]))
        await store.close()
    for keys in ((SECOND,), (SECOND,)):
        store = await opened(*keys)
        found = await store.seen(PODS, ["u0", "u1", "u2"])
        assert {one.projection for one in found.values()} == {PROJECTION}
        assert len(found) == 3
        await store.close()


async def test_keys_are_changed_by_adding_one_in_front(opened):
    store = await opened(FIRST)
    await fill(store)
    await store.close()
    store = await opened(SECOND, FIRST)
    await fill(store, 2)
    assert await read(store) == ALL
    await store.close()
    with pytest.raises(StoreKeyMissing):
        await opened(SECOND)


@pytest.mark.parametrize("keys", [(), (OTHER,)], ids=["no key", "another key"])
async def test_without_the_right_key_it_does_not_start_says_so_and_changes_nothing(opened, tmp_path, keys):
    store = await opened(FIRST)
    await fill(store)
    await store.close()
    before = (tmp_path / "outbox.db").read_bytes()[HEADER:]
    with pytest.raises(StoreKeyMissing, match="outbox_key_file") as caught:
        await opened(*keys)
    assert base64.b64encode(FIRST).decode() not in str(caught.value)
    assert (tmp_path / "outbox.db").read_bytes()[HEADER:] == before
    store = await opened(FIRST)
    assert await read(store) == ALL
    await store.close()


@pytest.mark.parametrize(
    "swap",
    [
        "UPDATE contents SET body = (SELECT body FROM contents AS other WHERE other.row <> contents.row)",
        "UPDATE contents SET body = zeroblob(length(body))",
        "UPDATE contents SET body = x''",
        'UPDATE contents SET headers = CAST(\'[["x-user","admin"]]\' AS BLOB)',
        "UPDATE contents SET headers = x'ff'",
        "UPDATE contents SET ground = 'of another spec'",
        "UPDATE contents SET whole = 0",
        "UPDATE messages SET sequence = sequence + 7",
        "UPDATE messages SET object_uid = 'another'",
        "UPDATE messages SET event_type = 'another'",
    ],
    ids=[
        "body of another row",
        "body",
        "no body",
        "headers",
        "no headers",
        "ground",
        "form",
        "sequence",
        "object",
        "type",
    ],
)
async def test_a_message_of_which_anything_was_changed_is_never_sent(opened, tmp_path, swap):
    store = await opened(FIRST)
    await add(store, message(1, body=SECRET), message(1, subscription=B, body=SECRET))
    await store.close()
    connection = apsw.Connection(str(tmp_path / "outbox.db"))
    connection.execute(swap)
    connection.close()
    store = await opened(FIRST)
    await add(store, message(2, body=SECRET))
    assert [claimed.message.id for claimed in await store.claim({A: 9}, EVER)] == ["msg_0002"], "the control"
    assert await store.claim({A: 9}, EVER) == []
    counts = (await store.counts())[A]
    assert (counts.pending, counts.dead) == (1, 1), "it is a dead letter, in nobody's way"
    delivery, *_ = (await store.deliveries_of(A, ["msg_0001"])).values()
    assert (delivery.state, delivery.reason, delivery.attempts) == (DeliveryState.DEAD, "Damaged", 0)
    with pytest.raises(SealBroken):
        await store.delivery(A, "msg_0001")
    assert (await store.replay(Replay("again", A))).total == 1
    assert await store.claim({A: 9}, EVER) == []
    assert (await store.replay_counts())["again"].failed == 1
    await store.close()


async def test_an_outbox_of_the_first_schema_is_brought_up_to_date_and_nothing_of_it_is_lost(opened, tmp_path):
    path = tmp_path / "outbox.db"
    connection = apsw.Connection(str(path))
    prepare(connection, path, MIGRATIONS[:1])
    connection.execute("INSERT INTO subscriptions (uid, sequence, pending, pending_bytes) VALUES (?, 3, 3, 6)", (A,))
    for row, keys in enumerate(((FIRST,), (), (FIRST,)), 1):
        known = (A, f"msg_{row:04d}", row, "object", "type", "", b"[]")
        connection.execute(
            """INSERT INTO messages
                (row, subscription, id, sequence, object_uid, event_type, size, observed, stored, due)
            VALUES (?, 1, ?, ?, ?, ?, 2, 1, 1, 0)""",
            (row, *known[1:5]),
        )
        sealed = Sealing(keys).seal(message_of(*known, whole=False), SECRET)
        connection.execute("INSERT INTO contents (row, headers, seal, body) VALUES (?, ?, ?, ?)", (row, b"[]", *sealed))
    connection.execute("UPDATE contents SET body = zeroblob(60) WHERE row = 3")
    connection.close()
    store = await opened(FIRST)
    await add(store, message(4, body=SECRET))
    found = {claimed.message.id: claimed.message.body for claimed in await store.claim({A: 9}, EVER)}
    assert found == dict.fromkeys(("msg_0001", "msg_0002", "msg_0004"), SECRET)
    assert (await store.counts())[A].dead == 1, "the one that was changed"
    await store.close()


async def test_a_last_seen_object_that_was_changed_can_not_be_left_out(opened, tmp_path):
    store = await opened(FIRST)
    await fill(store)
    await store.close()
    connection = apsw.Connection(str(tmp_path / "outbox.db"))
    connection.execute("UPDATE seen SET projection = zeroblob(length(projection))")
    connection.close()
    store = await opened(FIRST)
    with pytest.raises(StoreDamaged):
        await store.seen(PODS, ["u1"])
    await store.close()


async def test_an_ordered_queue_goes_on_behind_a_body_that_was_changed(opened, tmp_path):
    store = await opened(FIRST)
    await add(store, message(1, body=SECRET), message(2, body=SECRET))
    await store.close()
    connection = apsw.Connection(str(tmp_path / "outbox.db"))
    connection.execute("UPDATE contents SET body = x'' WHERE row = 1")
    connection.close()
    store = await opened(FIRST)
    assert [claimed.message.id for claimed in await store.claim({A: 9}, EVER, ordered={A})] == ["msg_0002"]
    await store.close()


async def test_the_control_clear_bodies_can_be_swapped(opened, tmp_path):
    store = await opened()
    await add(store, message(1, body=b"mine"), message(1, subscription=B, body=b"yours"))
    await store.close()
    connection = apsw.Connection(str(tmp_path / "outbox.db"))
    connection.execute("UPDATE contents SET body = x'796f757273'")
    connection.close()
    store = await opened()
    assert [claimed.message.body for claimed in await store.claim({A: 1}, EVER)] == [b"yours"]
    await store.close()


def test_each_row_has_a_nonce_of_its_own():
    sealing = Sealing([FIRST])
    assert len({sealing.seal(ROW, SECRET)[1] for _ in range(100)}) == 100
    assert len(sealing.seal(ROW, SECRET)[1]) == len(SECRET) + SEAL_BYTES


def test_identities_that_join_to_the_same_text_are_not_the_same():
    sealing = Sealing([FIRST])
    number, sealed = sealing.seal(last_seen_of("ab", "c", "1"), SECRET)
    assert sealing.open(last_seen_of("ab", "c", "1"), number, sealed) == SECRET
    for other in (last_seen_of("a", "bc", "1"), last_seen_of("ab", "c1", ""), Identity("", ("se", "ena", "bc", "1"))):
        with pytest.raises(SealBroken):
            sealing.open(other, number, sealed)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no key"),
        ("canary\n", "key 1 of"),
        (encoded(FIRST) + encoded(FIRST[:31]), "key 2 of"),
        (encoded(FIRST, FIRST), "a key twice"),
        ("é", "can't be read"),
    ],
)
def test_a_key_file_that_can_not_be_used_is_refused_without_showing_it(tmp_path, text, says):
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(SettingsError, match=says) as caught:
        read_keys(str(path))
    for line in text.split():
        assert line not in str(caught.value)


def test_an_absent_key_file_is_refused_and_none_at_all_means_no_sealing(tmp_path):
    with pytest.raises(SettingsError, match="can't be read"):
        read_keys(str(tmp_path / "absent"))
    assert read_keys("") == ()
    assert Sealing(read_keys("")).seal(ROW, SECRET) == (None, SECRET)


async def test_the_outbox_command_opens_bodies_with_the_key_file_and_lists_and_checks_without(opened, tmp_path, capsys):
    store = await opened(FIRST)
    await fill(store)
    await store.close()
    (tmp_path / "keys").write_text(encoded(FIRST))
    (tmp_path / "wrong").write_text(encoded(OTHER))
    place, key = ("--data-dir", str(tmp_path)), ("--outbox-key-file", str(tmp_path / "keys"))
    assert main(["outbox", "export", *place, *key]) == 0
    assert json.loads(capsys.readouterr().out)["body"] == SECRET.decode()
    assert main(["outbox", "list", *place]) == main(["outbox", "check", *place]) == 0
    assert main(["outbox", "check", *place, *key]) == 0
    assert main(["outbox", "export", *place]) == 1
    assert "outbox_key_file" in capsys.readouterr().err
    assert main(["outbox", "check", *place, "--outbox-key-file", str(tmp_path / "wrong")]) == 1
    assert "msg_0001" in capsys.readouterr().out


async def test_what_could_not_be_given_up_on_a_full_disk_holds_nothing_of_the_others(opened, tmp_path, monkeypatch):
    store = await opened(FIRST)
    await add(store, *(message(number, body=SECRET) for number in range(1, 4)))
    await store.claim({A: 0}, EVER)
    await store.close()
    connection = apsw.Connection(str(tmp_path / "outbox.db"))
    connection.execute("UPDATE contents SET body = x'' WHERE row = 1")
    connection.close()
    store = await opened(FIRST)

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Messages, "bury", full)
    claimed = await store.claim({A: 9}, EVER)
    assert [one.message.id for one in claimed] == ["msg_0002", "msg_0003"]
    monkeypatch.undo()
    assert await store.claim({A: 9}, EVER) == []
    assert (await store.counts())[A].dead == 1, "the next claim gives it up"
    await store.close()
