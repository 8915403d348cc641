"""Claims about ``hookline receive``: real sockets and TLS, requests signed by the official library, every action."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import json
import logging
import os
import sqlite3
import ssl
import stat
import time
import zlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult
from standardwebhooks import Webhook

from hookline import keys
from hookline.receiver.config import parse
from hookline.receiver.server import Limits, Server
from support import once_child
from support.receiver import Answer, Receiver

PATH = "/in/" + "p" * 43
WHSEC = keys.encode_hmac(bytes(range(32)))
TOKENS = {"alice": "a" * 32, "bob": "b" * 32}
EVENT = {"type": "orders.failed", "data": {"name": "Zoë", "count": 3, "labels": {"a": "b"}}}
BODY = json.dumps(EVENT, ensure_ascii=False).encode()


def signed(message_id: str = "msg_1", body: bytes = BODY, key: str = WHSEC) -> dict[str, str]:
    now = datetime.datetime.now(tz=datetime.UTC)
    signature = Webhook(key).sign(message_id, now, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}


class House:
    """A receiving server on a port of its own, and a client that trusts it."""

    def __init__(self, folder: Path, authority: trustme.CA) -> None:
        self.folder = folder
        self.authority = authority
        self.limits = Limits()
        self.tls = {"tls": {"certificate": "tls.crt", "key": "tls.key"}}
        self.write("orders.key", WHSEC)
        self.renew()

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path

    def script(self, text: str, name: str = "script") -> dict[str, Any]:
        path = self.write(name, f"#!/bin/sh\n{text}\n", stat.S_IRWXU)
        return {"script": {"command": [str(path)], "environment": ["PATH"]}}

    def renew(self) -> None:
        """Issue another certificate in the same files."""
        certificate = self.authority.issue_cert("127.0.0.1")
        certificate.private_key_pem.write_to_path(self.folder / "tls.key")
        certificate.cert_chain_pems[0].write_to_path(self.folder / "tls.crt")

    @contextlib.asynccontextmanager
    async def open(self, *actions: dict[str, Any], **endpoint: object):
        document = {
            "listen": {"host": "127.0.0.1", "port": 0},
            "health": {"port": 0},
            **self.tls,
            "once": "sqlite:ids.db",
            "endpoints": [
                {"name": "orders", "path": PATH, "keys": [{"file": "orders.key"}], "actions": list(actions), **endpoint}
            ],
        }
        self.server = Server(parse(document, self.folder, {**os.environ, **TOKENS}), self.limits)
        await self.server.start()
        context = ssl.create_default_context(cadata=self.authority.cert_pem.bytes().decode())
        try:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as self.client:
                yield self
        finally:
            await self.server.stop()

    @property
    def url(self) -> str:
        return f"{'https' if 'tls' in self.tls else 'http'}://127.0.0.1:{self.server.address[1]}"

    async def post(self, headers=None, body=BODY, path: str = PATH, method: str = "POST") -> tuple[int, str]:
        headers = signed() if headers is None else headers
        async with self.client.request(method, self.url + path, data=body, headers=headers) as response:
            return response.status, await response.text()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def house(tmp_path, authority) -> House:
    return House(tmp_path, authority)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def test_a_row_is_inserted_once_in_either_database(house, database):
    once_child.execute(
        database, "CREATE TABLE orders (id TEXT, at INTEGER, name TEXT, n INTEGER, labels TEXT, no TEXT)"
    )
    columns = {
        "id": "@id",
        "at": "@timestamp",
        "name": "$.data.name",
        "n": "$.data.count",
        "labels": "$.data.labels",
        "no": "$.data.absent",
    }
    action = {"insert": {"database": database, "table": "orders", "columns": columns}}
    async with house.open(action):
        assert await house.post() == (200, "ok\n")
        assert await house.post() == (200, "processed before\n")
        assert (await house.post(signed("msg_2")))[0] == 200
    rows = once_child.execute(database, "SELECT id, name, n, labels, no FROM orders ORDER BY id")
    assert rows == [(f"msg_{n}", "Zoë", 3, '{"a": "b"}', None) for n in (1, 2)]
    ((at,),) = once_child.execute(database, "SELECT max(at) FROM orders")
    assert abs(at - time.time()) < 300


async def test_a_value_in_an_event_is_never_read_as_sql(house):
    path = house.folder / "shop.db"
    once_child.execute(f"sqlite:{path}", "CREATE TABLE orders (name TEXT)")
    hostile = "x'); DROP TABLE orders; --"
    body = json.dumps({"name": hostile}).encode()
    action = {"insert": {"database": f"sqlite:{path}", "table": "orders", "columns": {"name": "$.name"}}}
    async with house.open(action):
        assert (await house.post(signed(body=body), body))[0] == 200
    assert once_child.execute(f"sqlite:{path}", "SELECT name FROM orders") == [(hostile,)]


async def test_a_row_that_can_not_be_inserted_is_tried_again_by_the_sender(house, database):
    action = {"insert": {"database": database, "table": "orders", "columns": {"id": "@id"}}}
    async with house.open(action):
        assert (await house.post())[0] == 503
        once_child.execute(database, "CREATE TABLE orders (id TEXT)")
        assert await house.post() == (200, "ok\n")
    assert once_child.execute(database, "SELECT id FROM orders") == [("msg_1",)]


async def test_a_script_gets_the_exact_event_and_only_the_allowed_environment(house, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "s")
    out = house.folder / "out"
    async with house.open(house.script(f"cat > {out}.body; env > {out}.env; echo said so")):
        assert await house.post() == (200, "ok\n")
    assert (house.folder / "out.body").read_bytes() == BODY
    names = {line.partition("=")[0] for line in lines(house.folder / "out.env")}
    assert {"PATH", "HOOKLINE_ENDPOINT", "HOOKLINE_ID", "HOOKLINE_TIMESTAMP"} <= names
    assert names <= {"PATH", "HOOKLINE_ENDPOINT", "HOOKLINE_ID", "HOOKLINE_TIMESTAMP", "PWD", "SHLVL", "_", "OLDPWD"}


async def test_a_script_that_fails_is_run_again_and_then_no_more(house):
    out = house.folder / "out"
    async with house.open(house.script(f"echo ran >> {out}; test -e {out}.ready")):
        assert (await house.post())[0] == 503
        house.write("out.ready", "")
        assert await house.post() == (200, "ok\n")
        assert await house.post() == (200, "processed before\n")
    assert lines(out) == ["ran", "ran"]


async def test_a_script_that_takes_too_long_is_ended_with_its_children(house):
    out = house.folder / "out"
    action = house.script(f"sleep 1000 & echo $! > {out}; sleep 1000")
    action["script"]["timeoutSeconds"] = 1
    async with house.open(action):
        assert (await house.post())[0] == 503
    await ended(lines(out)[0])


async def ended(pid: str) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        handle = os.pidfd_open(int(pid))
    except ProcessLookupError:
        return
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, over.set)
    try:
        async with asyncio.timeout(60):
            await over.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def test_a_child_that_outlives_its_script_neither_delays_nor_survives(house):
    out = house.folder / "out"
    async with house.open(house.script(f"sleep 1000 & echo $! > {out}")):
        assert (await house.post())[0] == 200
    await ended(lines(out)[0])


async def test_a_script_that_floods_its_output_or_ignores_its_input_is_not_held_up(house, caplog):
    caplog.set_level(logging.INFO)
    body = json.dumps({"pad": "x" * 500_000}).encode()
    async with house.open(house.script("head -c 5000000 /dev/zero | tr '\\0' y")):
        assert (await house.post(signed(body=body), body))[0] == 200
    (record,) = [record for record in caplog.records if record.message == "script ended"]
    assert record.output == "y" * 8192


async def test_a_script_that_is_absent_is_a_failed_action(house):
    async with house.open({"script": {"command": ["/absent/program"]}}):
        assert (await house.post())[0] == 503


class Mailbox:
    """An SMTP server of our own with STARTTLS and a user."""

    def __init__(self, house: House, *, tls: bool = True) -> None:
        self.mails: list[tuple[list[str], str]] = []
        self.status = "250 OK"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(house.folder / "tls.crt", house.folder / "tls.key")
        self._options: dict[str, Any] = (
            {"tls_context": context, "require_starttls": True, "auth_required": True} if tls else {}
        )
        self.logins: list[bytes] = []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 -- aiosmtpd's name
        if self.status.startswith("250"):
            self.mails.append((envelope.rcpt_tos, envelope.content.decode()))
        return self.status

    def _login(self, server, session, envelope, mechanism, data) -> AuthResult:
        self.logins.append(data.password)
        return AuthResult(success=data.password == b"hidden")

    @contextlib.asynccontextmanager
    async def open(self):
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: SMTP(self, authenticator=self._login, loop=loop, hostname="127.0.0.1", **self._options),
            "127.0.0.1",
            0,
        )
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            await listener.wait_closed()


def email(house: House, port: int, **smtp: object) -> dict[str, Any]:
    house.write("smtp.password", "hidden")
    house.write("ca.pem", house.authority.cert_pem.bytes().decode())
    server = {"host": "127.0.0.1", "port": port, "caFile": "ca.pem", "username": "hooks"}
    return {
        "email": {
            "smtp": {**server, "password": {"file": "smtp.password"}, **smtp},
            "from": "hooks@example.com",
            "to": ["team@example.com"],
            "subject": "{$.type}",
            "text": "{$.data.count} of them",
        }
    }


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
async def test_a_mail_is_sent_once_over_starttls_with_a_login(house):
    box = Mailbox(house)
    async with box.open() as port, house.open(email(house, port)):
        assert await house.post() == (200, "ok\n")
        assert await house.post() == (200, "processed before\n")
    ((recipients, text),) = box.mails
    assert recipients == ["team@example.com"]
    assert "Subject: orders.failed" in text
    assert "3 of them" in text
    assert box.logins == [b"hidden"]


async def test_a_mail_that_is_not_taken_is_sent_again(house):
    box = Mailbox(house)
    async with box.open() as port, house.open(email(house, port)):
        box.status = "451 later"
        assert (await house.post())[0] == 503
        box.status = "250 OK"
        assert (await house.post())[0] == 200
    assert len(box.mails) == 1


async def test_no_password_goes_to_a_server_that_does_not_prove_itself(house):
    """No STARTTLS offered (as a man in the middle would have it), and a certificate of another authority."""
    plain = Mailbox(house, tls=False)
    async with plain.open() as port, house.open(email(house, port)):
        assert (await house.post())[0] == 503
    assert (plain.logins, plain.mails) == ([], [])
    box = Mailbox(house)
    action = email(house, 0)
    house.write("ca.pem", trustme.CA().cert_pem.bytes().decode())
    async with box.open() as port:
        action["email"]["smtp"]["port"] = port
        async with house.open(action):
            assert (await house.post())[0] == 503
    assert (box.logins, box.mails) == ([], [])


def forward(house: House, chat: Receiver, style: str, **more: object) -> dict[str, Any]:
    house.write("chat.url", chat.url("/T000/hidden"))
    house.write("chat.pem", chat.ca_pem)
    text = "{$.type}: {$.data.name}"
    return {"forward": {"url": {"file": "chat.url"}, "style": style, "text": text, "caFile": "chat.pem", **more}}


@pytest.mark.parametrize(
    ("style", "more", "text_of"),
    [
        ("slack", {}, lambda message: message["text"]),
        ("telegram", {"chatId": -100}, lambda message: {"-100": message["text"]}[message["chat_id"]]),
        ("teams", {}, lambda m: m["attachments"][0]["content"]["body"][0]["inlines"][0]["text"]),
    ],
)
async def test_a_message_is_forwarded_once_in_the_form_of_the_chat(house, style, more, text_of):
    async with Receiver() as chat, house.open(forward(house, chat, style, **more)):
        assert await house.post() == (200, "ok\n")
        assert await house.post() == (200, "processed before\n")
        (request,) = chat.requests
    assert request.target == "/T000/hidden"
    assert text_of(json.loads(request.body)) == "orders.failed: Zoë"


async def test_a_value_cannot_mention_everybody_in_slack(house):
    body = json.dumps({"type": "<!channel>", "data": {"name": "<https://evil|click> &"}}).encode()
    async with Receiver() as chat, house.open(forward(house, chat, "slack")):
        assert (await house.post(signed(body=body), body))[0] == 200
        text = json.loads(chat.requests[0].body)["text"]
    assert text == "&lt;!channel&gt;: &lt;https://evil|click&gt; &amp;"


async def test_a_chat_that_refuses_redirects_or_is_not_trusted_is_a_failed_action(house):
    async with Receiver() as chat:
        action = forward(house, chat, "slack")
        chat.answers(Answer(500), Answer(302, {"location": chat.url("/elsewhere")}))
        async with house.open(action):
            assert (await house.post())[0] == 503
            assert (await house.post())[0] == 503
            assert (await house.post())[0] == 200
        assert [request.target for request in chat.requests] == ["/T000/hidden"] * 3
        house.write("chat.pem", trustme.CA().cert_pem.bytes().decode())
        async with house.open(action):
            assert (await house.post(signed("msg_2")))[0] == 503
        assert len(chat.requests) == 3


async def test_an_action_that_failed_holds_up_no_other_and_repeats_no_other(house):
    out = house.folder / "out"
    bad = {"name": "bad", **house.script(f"test -e {out}.ready", "bad")}
    async with house.open(bad, house.script(f"echo ran >> {out}", "good")):
        assert (await house.post())[0] == 503
        assert lines(out) == ["ran"]
        assert (await house.post())[0] == 503
        house.write("out.ready", "")
        assert (await house.post())[0] == 200
    assert lines(out) == ["ran"]


async def test_of_simultaneous_requests_with_the_same_id_one_acts(house):
    out = house.folder / "out"
    async with house.open(house.script(f"echo ran >> {out}")):
        answers = await asyncio.gather(*(house.post() for _ in range(8)))
        assert {status for status, _ in answers} <= {200, 503}
        assert answers.count((200, "ok\n")) == 1
        assert await house.post() == (200, "processed before\n")
    assert lines(out) == ["ran"]


async def test_what_is_not_verified_does_nothing(house):
    out = house.folder / "out"
    async with house.open(house.script(f"echo ran >> {out}"), bodyLimit=1024):
        wrong_key = signed(key=keys.encode_hmac(b"w" * 32))
        assert (await house.post({}))[0] == 401
        status, text = await house.post(wrong_key)
        assert status == 401
        assert signed()["webhook-signature"].split(",")[1] not in text
        assert (await house.post(signed(), BODY + b" "))[0] == 401
        assert (await house.post(signed(), b"x" * 1025))[0] == 413
        assert (await house.post(method="GET", body=None))[0] == 405

        async def endless():
            while True:
                yield b"x" * 512

        with contextlib.suppress(aiohttp.ClientError):  # the server need not read on
            assert (await house.post(signed(), endless()))[0] == 413
        assert lines(out) == []
        assert (await house.post())[0] == 200, "the control"
    assert lines(out) == ["ran"]


async def dribble(gate: asyncio.Event):
    """A body that begins, and ends when the gate opens."""
    yield BODY[:5]
    await gate.wait()
    yield BODY[5:]


async def test_a_body_that_does_not_end_is_given_up(house):
    house.limits = Limits(read_seconds=0.2)
    never = asyncio.Event()
    async with house.open(house.script("true")):
        assert (await house.post(body=dribble(never)))[0] == 408
        assert (await house.post())[0] == 200


async def test_more_requests_at_once_than_the_limit_are_told_to_come_again(house):
    house.limits = Limits(at_once=1)
    gate = asyncio.Event()
    async with Receiver() as chat:
        chat.answers(Answer(200, hold=gate))
        async with house.open(forward(house, chat, "slack")):
            first = asyncio.create_task(house.post())
            await chat.wait_for(1)
            assert (await house.post(signed("msg_2")))[0] == 503
            gate.set()
            assert (await first)[0] == 200
            assert (await house.post(signed("msg_2")))[0] == 200


async def test_plain_http_is_spoken_only_when_asked_for(house):
    house.tls = {"plainHttp": True}
    async with house.open(house.script("true")):
        assert house.url.startswith("http://")
        assert (await house.post())[0] == 200


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "OPTIONS"])
async def test_every_unknown_path_is_answered_the_same(house, method):
    async with house.open(house.script("true")):
        answers = set()
        for path in ("/", "/in/", PATH[:-1], PATH + "/", PATH + "?x=1", PATH.upper(), "/healthz", "/metrics"):
            async with house.client.request(method, house.url + path) as response:
                headers = {k: v for k, v in response.headers.items() if k not in ("Date",)}
                answers.add((response.status, await response.text(), str(headers)))
        assert len(answers) == 1
        assert answers.pop()[:2] == (404, "not found\n")


async def test_a_user_is_known_by_bearer_token_or_api_key_beside_the_signature(house, caplog):
    caplog.set_level(logging.INFO)
    digest = hashlib.sha256(TOKENS["bob"].encode()).hexdigest()
    users = [
        {"name": "alice", "bearer": {"env": "alice"}},
        {"name": "bob", "apiKey": {"header": "X-API-Key", "sha256": digest}},
    ]
    alice, bob = f"Bearer {TOKENS['alice']}", TOKENS["bob"]
    async with house.open(house.script("true"), users=users):
        refused = [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": TOKENS["alice"]},
            {"Authorization": f"Bearer {bob}"},
            {"Authorization": f"Basic {TOKENS['alice']}"},
            {"X-API-Key": TOKENS["alice"]},
            {"X-API-Key": digest},
        ]
        for more in refused:
            assert (await house.post({**signed(), **more}))[0] == 401, more
        doubled = [*signed().items(), ("X-API-Key", bob), ("X-API-Key", "x")]
        assert (await house.post(doubled))[0] == 401
        assert (await house.post({"Authorization": alice}))[0] == 401, "a token is no signature"
        assert (await house.post({**signed(), "Authorization": alice}))[0] == 200
        assert (await house.post({**signed("msg_2"), "x-api-key": bob}))[0] == 200
    users_seen = [record.user for record in caplog.records if getattr(record, "status", 0) == 200]
    assert users_seen == ["alice", "bob"]


async def test_a_compressed_body_is_verified_and_passed_on_as_it_came(house):
    """The signature covers what was sent; and nobody can send a bomb."""
    out = house.folder / "out"
    packed = zlib.compress(b"0" * 5_000_000)
    now = int(time.time())
    from hookline.deliver.sign import Signer
    from hookline.model import SigningKeys

    signature = Signer(SigningKeys((bytes(range(32)),), ()), ("v1",)).sign("msg_1", now, packed)
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(now), "webhook-signature": signature}
    async with house.open(house.script(f"cat > {out}"), bodyLimit=10_000):
        assert (await house.post({**headers, "content-encoding": "deflate"}, packed))[0] == 200
    assert out.read_bytes() == packed


async def test_stopping_lets_the_request_that_is_going_on_end(house):
    gate = asyncio.Event()
    async with Receiver() as chat:
        chat.answers(Answer(200, hold=gate))
        async with house.open(forward(house, chat, "slack")):
            going_on = asyncio.create_task(house.post())
            await chat.wait_for(1)
            stopping = asyncio.create_task(house.server.stop())
            gate.set()
            assert await going_on == (200, "ok\n")
            await stopping


async def test_health_is_on_a_port_of_its_own(house):
    async with house.open(house.script("true")):
        host, port = house.server.health_address
        async with house.client.get(f"http://{host}:{port}/healthz") as response:
            assert (response.status, await response.text()) == (200, "ok\n")
        async with house.client.get(f"http://{host}:{port}{PATH}") as response:
            assert response.status == 404


async def test_a_renewed_certificate_is_served_after_maintenance_and_old_ids_are_forgotten(house):
    async with house.open(house.script("true")):
        first = await served_certificate(house)
        house.renew()
        assert await served_certificate(house) == first, "the control"
        with contextlib.closing(sqlite3.connect(house.folder / "ids.db")) as ids, ids:
            ids.execute("CREATE TABLE IF NOT EXISTS hookline_once (scope, id, token, done, until)")
            ids.execute("INSERT INTO hookline_once VALUES ('', 'old', '', 1, 5)")
        await house.server.maintain()
        assert await served_certificate(house) != first
        with contextlib.closing(sqlite3.connect(house.folder / "ids.db")) as ids:
            assert ids.execute("SELECT count(*) FROM hookline_once").fetchone() == (0,)


async def served_certificate(house: House) -> Any:
    context = ssl.create_default_context(cadata=house.authority.cert_pem.bytes().decode())
    _, writer = await asyncio.open_connection("127.0.0.1", house.server.address[1], ssl=context)
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def test_nothing_secret_is_logged(house, caplog):
    caplog.set_level(logging.DEBUG)
    async with Receiver() as chat:
        action = forward(house, chat, "slack")
        chat.answer(500, body=b"body of the chat")
        async with house.open(action, users=[{"name": "alice", "bearer": {"env": "alice"}}]):
            for headers in ({}, signed(), {**signed(), "Authorization": f"Bearer {TOKENS['alice']}"}):
                await house.post(headers)
                await house.post(headers, path=PATH + "x")
    logged = "\n".join(str(vars(record)) for record in caplog.records if record.name.startswith("hookline"))
    assert "the chat answered 500" in logged, "the control"
    for secret in (PATH, WHSEC, TOKENS["alice"], "T000", "body of the chat", signed()["webhook-signature"]):
        assert secret not in logged
