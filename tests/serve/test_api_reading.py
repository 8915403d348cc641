"""What the API shows: pages, one delivery with its request, and what it says to requests that make no sense."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import socket

import pytest

from hookline.model import Outcome
from hookline.outbox import sqlite_browse
from hookline.outbox.sealing import Sealing
from hookline.serve import answers, asked, browse, listen, server
from support.outbox import EVER, A, B, add, attempt, finish, message
from support.served import BASE

SHOP = BASE.format("shop", "orders")


def names(listed):
    return [item["metadata"]["name"] for item in listed["items"]]


async def walk(served, token, query):
    """The names on each page, to the end."""
    found, position = [], None
    while position is None or position:
        more = f"&continue={position}" if position else ""
        code, listed = await served.get(token, f"{SHOP}?{query}{more}")
        assert code == 200
        assert len(listed["items"]) <= asked.MAX_PAGE
        found.append(names(listed))
        position = listed["metadata"].get("continue", "")
    return found


class TestLists:
    async def test_pages_go_from_the_newest_to_the_oldest(self, served, token):
        await add(served.store, *(message(n) for n in range(1, 6)), message(9, B))
        pages = await walk(served, token("reads"), "limit=2")
        assert pages == [["msg_0005", "msg_0004"], ["msg_0003", "msg_0002"], ["msg_0001"]]

    async def test_the_states_that_are_asked_for(self, served, token):
        await finish(served.store, Outcome.DEAD, message(1))
        await finish(served.store, Outcome.DELIVERED, message(2))
        await add(served.store, message(3), message(4))
        await served.store.claim({A: 1}, EVER)
        wanted = {
            "state=Dead": ["msg_0001"],
            "state=Pending": ["msg_0004", "msg_0003"],
            "state=InFlight": ["msg_0003"],
            "state=Delivered&state=Dead": ["msg_0002", "msg_0001"],
        }
        assert {query: (await walk(served, token("reads"), query))[0] for query in wanted} == wanted

    async def test_a_page_may_be_empty_and_lead_on_and_the_last_one_is_reached(self, served, token, monkeypatch):
        monkeypatch.setattr(browse, "CALLS", 2)
        await finish(served.store, Outcome.DEAD, message(1))
        await add(served.store, *(message(n) for n in range(2, 4 * sqlite_browse.SCAN + 2)))
        assert await walk(served, token("reads"), "state=Dead") == [[], [], ["msg_0001"]]

    @pytest.mark.parametrize(
        ("query", "sentence"),
        [
            ("limit=0", "limit: must be a number from 1 to 500"),
            ("limit=501", "limit: must be a number from 1 to 500"),
            ("limit=-1", "limit:"),
            ("limit=1e2", "limit:"),
            ("limit=%D9%A1", "limit:"),
            ("limit=1&limit=2", "limit: must not be given twice"),
            ("state=dead", "state: must be one of Pending, InFlight, Delivered, Dead"),
            ("uid=" + B, "no parameter of that name; it may have: limit, continue, state, watch"),
            ("watch=yes", "watch: must be true or false"),
            ("watch=true&limit=5", "the query of a watch has no parameter of that name"),
            ("watch=true&tail=501", "tail: must be a number from 0 to 500"),
            ("watch=true&timeoutSeconds=0", "timeoutSeconds: must be a number from 1 to 1800"),
        ],
    )
    async def test_a_query_that_makes_no_sense_is_refused_with_what_is_right(self, served, token, query, sentence):
        code, said = await served.get(token("reads"), f"{SHOP}?{query}")
        assert (code, said["reason"]) == (400, "BadRequest")
        assert sentence in said["message"]

    @pytest.mark.parametrize(
        "position",
        [
            "x",
            "!!!!",
            base64.urlsafe_b64encode(b"[]").decode(),
            base64.urlsafe_b64encode(b'["' + b"a" * 12 + b'", -1]').decode(),
            base64.urlsafe_b64encode(b'["' + b"a" * 12 + b'", 1e3]').decode(),
            base64.urlsafe_b64encode(b'["' + b"a" * 12 + b'", 99999999999999999999]').decode(),
            base64.urlsafe_b64encode(b'["' + b"a" * 12 + b'", true]').decode(),
            base64.urlsafe_b64encode(b"[" * 100).decode(),
            "A" * 4000,
            "%00%ff",
        ],
    )
    async def test_a_position_that_no_list_gave_is_refused(self, served, token, position):
        code, said = await served.get(token("reads"), f"{SHOP}?continue={position}")
        assert (code, said["reason"]) == (400, "BadRequest")
        assert "continue: must be what an earlier list gave" in said["message"]

    async def test_a_position_in_the_list_of_another_subscription_is_refused(self, served, token):
        await add(served.store, *(message(n, uid) for uid in (A, B) for n in range(1, 4)))
        _, listed = await served.get(token("wide"), BASE.format("bank", "orders") + "?limit=1")
        theirs = listed["metadata"]["continue"]
        code, said = await served.get(token("wide"), f"{SHOP}?continue={theirs}")
        assert (code, said["reason"]) == (410, "Expired")

    async def test_after_a_subscription_was_made_anew_its_predecessors_deliveries_are_not_its_own(self, served, token):
        await add(served.store, message(1, A))
        assert names((await served.get(token("reads"), SHOP))[1]) == ["msg_0001"]
        served.known["shop", "orders"] = "dddddddd-0000-4000-8000-000000000004"
        assert names((await served.get(token("reads"), SHOP))[1]) == []


class TestOne:
    async def test_it_shows_the_request_and_what_became_of_it(self, served, token):
        headers = (("content-type", "application/json"), ("ce-id", "7"))
        await add(served.store, message(7, headers=headers, body='{"a": "ü"}'.encode()))
        [claimed] = await served.store.claim({A: 1}, EVER)
        await served.store.record([attempt(claimed, Outcome.RETRY, retry_at=2_000_000_000.5)])
        code, shown = await served.get(token("reads"), SHOP + "/msg_0007")
        assert code == 200
        assert shown.pop("metadata").pop("creationTimestamp").endswith("Z")
        size = shown["spec"].pop("size")
        assert size > len('{"a": "ü"}')
        assert shown == {
            "apiVersion": "hookline.dev/v1alpha1",
            "kind": "Delivery",
            "spec": {
                "subscriptionName": "orders",
                "type": "dev.hookline.apps.deployment.updated",
                "objectUID": "11111111-2222-4333-8444-555555555555",
                "sequence": 7,
            },
            "status": {
                "state": "Pending",
                "attempts": 1,
                "reason": "HTTP503",
                "statusCode": 503,
                "observedTime": "2023-11-14T22:13:20.125Z",
                "dueTime": "2033-05-18T03:33:20.500Z",
            },
            "request": {
                "method": "POST",
                "headers": [{"name": name, "value": value} for name, value in headers],
                "body": '{"a": "ü"}',
                "bodyEncoding": "text",
            },
        }

    async def test_a_body_that_is_no_text_is_encoded(self, served, token):
        await add(served.store, message(1, body=b"\xff\x00\x01"))
        _, shown = await served.get(token("reads"), SHOP + "/msg_0001")
        assert shown["request"]["bodyEncoding"] == "base64"
        assert base64.b64decode(shown["request"]["body"]) == b"\xff\x00\x01"

    async def test_of_a_body_that_is_too_long_its_beginning_is_shown(self, served, token):
        await add(served.store, message(1, body=b"x" * (1 << 20)), message(2, body=b"x" + "ü".encode() * (1 << 19)))
        _, whole = await served.get(token("reads"), SHOP + "/msg_0001")
        _, cut = await served.get(token("reads"), SHOP + "/msg_0002")
        assert "bodyTruncated" not in whole["request"]
        assert len(whole["request"]["body"]) == 1 << 20
        assert cut["request"]["bodyTruncated"] is True
        assert cut["request"]["body"] == "x" + "ü" * ((1 << 19) - 1)

    @pytest.mark.parametrize("ident", ["msg_9999", "..", "a%2Fb", "msg_0001/", "a" * 129, "%00", "msg_0001/x"])
    async def test_what_is_not_there_is_not_found(self, served, token, ident):
        await add(served.store, message(1))
        assert (await served.get(token("reads"), f"{SHOP}/{ident}"))[0] == 404


class TestSealed:
    @pytest.fixture
    def sealing(self):
        return Sealing([bytes(32)])

    async def test_a_sealed_outbox_shows_its_bodies(self, served, token, tmp_path):
        await add(served.store, message(1, body=b"the words of the body"))
        _, shown = await served.get(token("reads"), SHOP + "/msg_0001")
        assert shown["request"]["body"] == "the words of the body"
        log = tmp_path / "outbox.db-wal"
        assert b"the words of the body" not in log.read_bytes(), "the control: it is sealed"


class TestForms:
    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
    async def test_nothing_can_be_done_but_reading(self, served, token, method):
        code, _ = await served.get(token("wide"), SHOP, method=method)
        assert code == 405

    async def test_a_request_with_a_body_is_refused(self, served, token):
        assert (await served.get(token("reads"), SHOP, body=b"{}"))[0] == 400

    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/healthz",
            "/apis/hookline.dev/v1alpha1/webhooksubscriptions",
            SHOP + "/",
            SHOP.replace("shop", "SHOP"),
            SHOP.replace("shop", "..%2Fbank"),
            SHOP.replace("orders", "x" * 64),
            SHOP.replace("orders", ".".join(["x" * 60] * 5)),
        ],
    )
    async def test_there_is_nothing_at_any_other_path(self, served, token, path):
        code, said = await served.get(token("wide"), path)
        assert (code, said["reason"]) == (404, "NotFound")

    async def test_an_answer_is_not_to_be_kept_by_anybody(self, served, token):
        def look():
            connection = http.client.HTTPConnection("127.0.0.1", served.port)
            connection.request("GET", SHOP, headers={"Authorization": f"Bearer {token('reads')}"})
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.headers

        headers = await served.do(look)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Type"] == "application/json"

    async def test_each_answer_is_counted_by_verb_and_code(self, served, token):
        await add(served.store, message(1))
        for path in (SHOP, SHOP + "/msg_0001", SHOP + "/msg_0002", "/"):
            await served.get(token("reads"), path)
        await served.get("", SHOP)
        assert served.answers == [("list", 200), ("get", 200), ("get", 404), ("other", 404), ("list", 401)]


class TestNotNow:
    async def test_a_pod_that_does_not_lead_says_so_before_anything_else(self, served):
        served.problem = ("NotLeader", "another pod has the outbox")
        code, said = await served.get("", SHOP)
        assert (code, said["reason"], said["details"]["retryAfterSeconds"]) == (503, "NotLeader", 2)

    async def test_while_the_outbox_can_not_be_read_the_answer_is_to_come_again(self, served, token):
        await served.store.close()
        code, said = await served.get(token("reads"), SHOP)
        assert (code, said["reason"]) == (503, "ServiceUnavailable")
        await served.store.open()
        assert (await served.get(token("reads"), SHOP))[0] == 200

    async def test_who_sends_too_much_at_once_is_told(self, served, token):
        await add(served.store, message(1))
        answers = await asyncio.gather(*(served.get(token("reads"), SHOP) for _ in range(120)))
        codes = {code for code, _ in answers}
        assert codes == {200, 429}
        [said] = [said for code, said in answers if code == 429][:1]
        assert said["reason"] == "TooManyRequests"


class TestClients:
    async def test_one_that_sends_its_headers_too_slowly_is_cut_off(self, served):
        options = served.server._listener._server._options
        assert options["keepalive_timeout"] == listen.HEADER_SECONDS
        options["keepalive_timeout"] = 0.5
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(f"GET {SHOP} HTTP/1.1\r\nHost: x\r\nAuthoriz".encode())
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()

    async def test_a_header_that_is_too_long_is_refused_without_a_word_of_it(self, served, caplog):
        secret = "s3cr3t" * 4000
        code, said = await served.get(secret, SHOP)
        assert code == 400
        assert "s3cr3t" not in str(said)
        assert "s3cr3t" not in caplog.text

    async def test_what_is_no_http_is_refused_without_a_word_of_it(self, served, caplog):
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET / HTTP/1.1\r\nAuthorization Bearer s3cr3t\r\n\r\n")
        async with asyncio.timeout(20):
            answer = await reader.read()
        writer.close()
        assert b" 400 " in answer.partition(b"\r\n")[0]
        assert b"s3cr3t" not in answer
        assert b"aiohttp" not in answer
        assert "s3cr3t" not in caplog.text

    @pytest.mark.parametrize("bound", ["MAX_PER_PEER", "MAX_CONNECTIONS"])
    async def test_of_more_connections_than_may_be_those_that_are_idle_go(self, served, token, monkeypatch, bound):
        monkeypatch.setattr(listen, bound, 3)
        held = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
        assert (await served.get(token("reads"), SHOP))[0] == 200
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await held[0][0].read() == b""
        assert not held[2][0].at_eof(), "the control: the youngest one stays"
        for _, writer in held:
            writer.close()

    async def test_when_none_is_idle_the_newcomer_is_refused_and_who_was_there_goes_on(
        self, served, token, monkeypatch, until
    ):
        monkeypatch.setattr(listen, "MAX_PER_PEER", 3)
        streams = [await served.stream(token(user), SHOP + "?watch=true") for user in ("reads", "reads", "wide")]
        with pytest.raises((ConnectionError, OSError)):
            await served.get(token("reads"), SHOP)
        await add(served.store, message(1))
        for stream in streams:
            await until(lambda stream=stream: stream.states("msg_0001"), "it is told on each stream")
            await served.do(stream.close)
        await until(lambda: not served.server._listener._server._open, "nothing is kept of them")


class TestWhoDoesNotRead:
    """A place is kept until the answer is read, so that what is under way is bounded."""

    @staticmethod
    async def ask(served, token, path):
        """Ask and read nothing."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, ("127.0.0.1", served.port))
        ask = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
        await loop.sock_sendall(sock, ask.encode())
        return sock

    async def test_of_a_content_keeps_its_place_and_little_of_it_waits(self, served, token, until):
        await add(served.store, message(1, body=b'"' * 1_000_000))
        path = SHOP + "/msg_0001"
        held = [await self.ask(served, token("reads"), path) for _ in range(server.CONTENTS_EACH)]
        await until(lambda: served.server._contents.taken == server.CONTENTS_EACH, "they are under way")
        assert (await served.get(token("wide"), path))[0] == 429, "of this namespace no more are"
        open_ones = served.server._listener._server._open
        waiting = [transport.get_write_buffer_size() for transport in open_ones.values()]
        assert 0 < max(waiting) < 10 * answers.PIECE
        for sock in held:
            sock.close()
        await until(lambda: served.server._contents.taken == 0, "the places are free")
        code, found = await served.get(token("wide"), path)
        assert (code, found["request"]["body"]) == (200, '"' * 1_000_000)

    async def test_of_a_list_keeps_its_place_and_is_cut_off(self, served, token, until, monkeypatch):
        monkeypatch.setattr(answers, "STUCK_SECONDS", 1.0)
        await add(served.store, *(message(number, event_type="t" * 20_000) for number in range(500)))
        held = await self.ask(served, token("reads"), SHOP + "?limit=500")
        await until(lambda: served.server._requests.taken == 1, "it is under way")
        await until(lambda: served.server._requests.taken == 0, "it is cut off")
        assert await served.do(lambda: self.rest(held)) < 5_000_000, "the control: it was not sent"

    @staticmethod
    def rest(sock):
        """How much of an answer there was."""
        sock.setblocking(True)
        read = 0
        with contextlib.suppress(OSError):
            while part := sock.recv(65536):
                read += len(part)
        sock.close()
        return read


async def test_no_token_is_logged(served, token, caplog):
    caplog.set_level("DEBUG")
    good, bad = token("reads"), "made.up.token-of-nobody"
    await served.get(good, SHOP)
    await served.get(bad, SHOP)
    await served.store.close()
    await served.get(good, SHOP)
    assert "deliveries can't be read" in caplog.text, "the control: something is logged"
    assert good not in caplog.text
    assert good.rpartition(".")[2] not in caplog.text
    assert bad not in caplog.text
    await served.store.open()
