"""A stream tells what changes, within its bounds, and ends when it should."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from hookline.model import Outcome
from hookline.serve import answers, follow, server
from hookline.serve.shapes import Owner
from hookline.stored import DeliveryState
from support.outbox import EVER, A, B, add, attempt, finish, message, prune
from support.served import AUDIENCE, BASE, Stream, token_of

SHOP = BASE.format("shop", "orders")


@pytest.fixture
async def open_stream(served, token):
    """Opens a stream with this query, closed after the test."""
    opened: list[Stream] = []

    async def open_one(query: str = "", user: str = "reads") -> Stream:
        opened.append(await served.stream(token(user), f"{SHOP}?watch=true&{query}".rstrip("&")))
        return opened[-1]

    yield open_one
    for stream in opened:
        await served.do(stream.close)


async def test_it_tells_from_now_on_what_is_stored_sent_and_ended(served, open_stream, until):
    await add(served.store, message(1), message(7, B))
    stream = await open_stream()
    await add(served.store, message(2))
    await until(lambda: stream.states("msg_0002") == ["Pending"], "it is told that it waits")
    claimed = {item.message.id: item for item in await served.store.claim({A: 2}, EVER)}
    await until(lambda: stream.states("msg_0002") == ["Pending", "InFlight"], "it is told that it is sent")
    await served.store.record([attempt(claimed["msg_0002"], Outcome.DEAD)])
    await until(lambda: stream.states("msg_0002")[-1] == "Dead", "it is told that it is given up")
    kinds = [event["type"] for event in stream.events if event["object"]["metadata"]["name"] == "msg_0002"]
    assert kinds == ["ADDED", "MODIFIED", "MODIFIED"]
    assert stream.states("msg_0001") == ["InFlight"], "an older one is told when it changes"
    assert stream.states("msg_0007") == [], "that of another subscription never"


async def test_the_last_ones_come_first_in_the_order_of_storing(served, open_stream, until):
    await add(served.store, *(message(n) for n in range(1, 6)))
    stream = await open_stream("tail=3")
    await until(lambda: len(stream.events) == 3, "the last three are told")
    assert [obj["metadata"]["name"] for obj in stream.of("ADDED")] == ["msg_0003", "msg_0004", "msg_0005"]


async def test_of_some_states_it_tells_who_comes_into_them_and_who_leaves(served, open_stream, until, monkeypatch):
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.5)
    stream = await open_stream("state=Dead")
    await finish(served.store, Outcome.DELIVERED, message(1))
    await finish(served.store, Outcome.DEAD, message(2), message(3))
    await until(lambda: len(stream.of("ADDED")) == 2, "the dead ones are told")
    assert await prune(served.store, 0.0, 1000.0, 1) == 1
    await until(lambda: stream.of("DELETED"), "one that was pruned is told, though nobody announces it")
    names = {obj["metadata"]["name"] for kind in ("ADDED", "DELETED") for obj in stream.of(kind)}
    assert names == {"msg_0002", "msg_0003"}


async def test_what_was_handed_out_and_given_back_is_told_in_time(served, open_stream, until, monkeypatch):
    monkeypatch.setattr(follow, "LOOK_SECONDS", 0.5)
    stream = await open_stream()
    await add(served.store, message(1))
    [claimed] = await served.store.claim({A: 1}, EVER)
    await until(lambda: stream.states("msg_0001")[-1:] == ["InFlight"], "it is in flight")
    await served.store.release([claimed.row])
    await until(lambda: stream.states("msg_0001")[-1] == "Pending", "it waits again")


async def test_where_more_changes_than_can_be_told_the_number_of_the_others_is_told(served, open_stream, until):
    stream = await open_stream()
    await add(served.store, *(message(n) for n in range(2 * follow.BUFFER)))
    [bookmark] = await until(lambda: stream.of("BOOKMARK"), "it is told that some were skipped")
    skipped = int(bookmark["metadata"]["annotations"]["hookline.dev/skipped"])
    await until(lambda: len(stream.of("ADDED")) + skipped == 2 * follow.BUFFER, "the others are told")
    assert len(stream.of("ADDED")) >= follow.BUFFER


async def test_a_quiet_stream_says_now_and_then_that_it_is_alive(open_stream, until, monkeypatch):
    monkeypatch.setattr(follow, "BOOKMARK_SECONDS", 0.5)
    stream = await open_stream()
    await until(lambda: len(stream.of("BOOKMARK")) > 1, "it says so")
    assert "annotations" not in stream.of("BOOKMARK")[0]["metadata"]


class TestEnds:
    async def test_after_the_time_that_was_asked_for_it_ends_cleanly(self, open_stream, until):
        stream = await open_stream("timeoutSeconds=1")
        await until(stream.ended.is_set, "it ends")
        assert stream.of("ERROR") == []

    async def test_when_the_api_stops(self, served, open_stream, until):
        stream = await open_stream()
        await served.server.stop()
        await until(stream.ended.is_set, "it ends")
        assert stream.of("ERROR") == []

    async def test_when_its_subscription_is_deleted_or_made_anew(self, served, open_stream, until, monkeypatch):
        monkeypatch.setattr(follow, "CHECK_SECONDS", 0.5)
        stream = await open_stream()
        served.known["shop", "orders"] = "dddddddd-0000-4000-8000-000000000004"
        await until(stream.ended.is_set, "it ends")
        [error] = stream.of("ERROR")
        assert (error["code"], error["reason"]) == (410, "Gone")

    async def test_when_the_outbox_can_not_be_read(self, served, open_stream, until, caplog):
        stream = await open_stream()
        await add(served.store, message(1))
        await served.store.close()
        await until(stream.ended.is_set, "it ends")
        [error] = stream.of("ERROR")
        assert (error["code"], error["reason"]) == (503, "ServiceUnavailable")
        await served.store.open()

    async def test_when_its_client_hangs_up_its_place_is_free_and_nobody_follows_any_more(
        self, served, open_stream, until
    ):
        stream = await open_stream()
        assert served.server._watchers.taken == 1
        await served.do(stream.close)
        await until(lambda: served.server._watchers.taken == 0, "its place is free")
        assert served.store._followers._told == {}


class TestBounds:
    async def test_each_user_has_so_many_streams_and_another_user_has_its_own(self, open_stream):
        codes = [(await open_stream()).code for _ in range(server.WATCHERS_EACH + 1)]
        assert codes == [200] * server.WATCHERS_EACH + [429]
        assert (await open_stream(user="wide")).code == 200

    async def test_another_token_of_the_same_user_has_no_streams_of_its_own(self, served, open_stream, plane):
        assert [(await open_stream()).code for _ in range(server.WATCHERS_EACH)] == [200] * server.WATCHERS_EACH
        another = await served.stream(token_of(plane, "shop", "reads", AUDIENCE), f"{SHOP}?watch=true")
        await served.do(another.close)
        assert another.code == 429

    async def test_those_of_one_namespace_leave_room_for_others(self, served, open_stream, token):
        served.server._watchers._each["namespace"] = 2
        codes = [(await open_stream(user=user)).code for user in ("reads", "wide", "one")]
        assert codes == [200, 200, 429]
        elsewhere = await served.stream(token("wide"), BASE.format("bank", "orders") + "?watch=true")
        await served.do(elsewhere.close)
        assert elsewhere.code == 200

    async def test_there_are_so_many_in_all(self, served, open_stream, monkeypatch):
        served.server._watchers._total = 2
        codes = [(await open_stream(user=user)).code for user in ("reads", "wide", "one")]
        assert codes == [200, 200, 429]

    async def test_what_is_kept_of_what_changes_and_of_what_was_told_is_bounded(self):
        class Nothing:
            async def some(self, uid, ids):
                return {}

        reader: Any = Nothing()
        follower = follow.Follower(reader, Owner("shop", "orders"), A, frozenset(DeliveryState), lambda: 0.0)
        for number in range(10 * follow.BUFFER):
            follower.told(f"msg_{number}")
        assert len(follower._changed) == follow.BUFFER
        assert follower._skipped == 9 * follow.BUFFER


async def test_a_client_that_does_not_read_is_cut_off(served, token, monkeypatch, until):
    monkeypatch.setattr(answers, "STUCK_SECONDS", 0.5)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that little is enough to fill what lies between
    sock.connect(("127.0.0.1", served.port))
    _, writer = await asyncio.open_connection(sock=sock, limit=1024)
    writer.write(
        f"GET {SHOP}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token('reads')}\r\n\r\n".encode()
    )
    await until(lambda: served.server._watchers.taken == 1, "it follows")

    async def fill() -> None:
        number = 0
        while served.server._watchers.taken:
            await add(served.store, *(message(number + n) for n in range(200)))
            number += 200
            await asyncio.sleep(0.05)  # the pace of the changes: it is time that must pass, not many of them

    async with asyncio.timeout(60):
        await fill()
    writer.close()
