"""Claims about the middleware, in front of Starlette and of bare ASGI applications."""

from __future__ import annotations

import asyncio
import datetime
import threading
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from hookline import keys
from hookline.receiver.asgi import SignatureMiddleware
from hookline.receiver.once import LEASE_SECONDS
from hookline.receiver.once_sqlite import SqliteOnce
from hookline.receiver.verifier import LARGE, Verified, Verifier

WHSEC = keys.encode_hmac(bytes(range(32)))
BODY = b'{ "name" : "x" }\n'


def signed(clock, message_id: str = "msg_1", body: bytes = BODY) -> dict[str, str]:
    moment = datetime.datetime.fromtimestamp(clock.now, tz=datetime.UTC)
    signature = Webhook(WHSEC).sign(message_id, moment, body.decode())
    return {"webhook-id": message_id, "webhook-timestamp": str(int(clock.now)), "webhook-signature": signature}


async def nobody(*_: Any) -> None:
    raise AssertionError("the application is reached")


async def nothing() -> Any:
    raise AssertionError("somebody reads")


class Shop:
    """A Starlette application that keeps what it saw, and answers as told."""

    def __init__(self, clock, **options) -> None:
        self.seen: list[tuple[bytes, Verified]] = []
        self.status = 200
        self.hold: asyncio.Event | None = None
        self.entered = asyncio.Event()
        guard = Middleware(SignatureMiddleware, verifier=Verifier([WHSEC], clock=clock), **options)
        routes = [Route("/hooks", self.hook, methods=["POST"]), Route("/stream", self.stream, methods=["POST"])]
        self.app = Starlette(routes=routes, middleware=[guard])

    async def hook(self, request: Request) -> PlainTextResponse:
        self.seen.append((await request.body(), request.state.hookline))
        self.entered.set()
        if self.hold:
            await self.hold.wait()
        if self.status == 0:
            raise ZeroDivisionError
        return PlainTextResponse("thanks", status_code=self.status)

    async def stream(self, request: Request) -> StreamingResponse:
        self.seen.append((await request.body(), request.state.hookline))

        async def broken():
            yield "half"
            raise ZeroDivisionError

        return StreamingResponse(broken())

    async def post(self, headers, content=BODY, path: str = "/hooks") -> httpx.Response:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return await client.post(path, content=content, headers=headers)


@pytest.fixture
def store(tmp_path, clock):
    return SqliteOnce(tmp_path / "ids.db", clock=clock)


async def test_the_application_gets_the_exact_body_and_who_was_verified(clock):
    shop = Shop(clock)
    response = await shop.post(signed(clock))
    assert (response.status_code, response.text) == (200, "thanks")
    assert shop.seen == [(BODY, Verified("msg_1", int(clock.now)))]


async def test_a_body_in_pieces_is_verified_as_a_whole(clock):
    async def pieces():
        for byte in BODY:
            yield bytes([byte])

    shop = Shop(clock)
    assert (await shop.post(signed(clock), pieces())).status_code == 200
    assert shop.seen[0][0] == BODY


@pytest.mark.parametrize("change", ["body", "unsigned", "old", "twice"])
async def test_what_is_not_verified_does_not_reach_the_application(clock, change):
    shop = Shop(clock)
    headers = signed(clock)
    good = headers["webhook-signature"].split(",")[1]
    sent: object = headers
    if change == "old":
        clock.now += 301
    elif change == "unsigned":
        sent = {}
    elif change == "twice":
        sent = [*headers.items(), ("Webhook-Id", "msg_2")]
    response = await shop.post(sent, BODY + b" " if change == "body" else BODY)
    assert response.status_code == 401
    assert response.text.startswith("webhook-")
    assert good not in response.text
    assert shop.seen == []


async def test_a_body_beyond_the_limit_is_refused_before_all_of_it_is_read(clock):
    read = 0

    sent: list[dict[str, Any]] = []
    app = SignatureMiddleware(nobody, Verifier([WHSEC]), limit=1000)

    async def receive():
        nonlocal read
        read += 1
        return {"type": "http.request", "body": b"x" * 100, "more_body": True}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "headers": []}, receive, send)
    assert sent[0]["status"] == 413
    assert read == 11


async def test_a_client_that_goes_away_in_the_middle_gets_no_answer(clock):
    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        raise AssertionError(message)

    await SignatureMiddleware(nobody, Verifier([WHSEC]))({"type": "http", "headers": []}, receive, send)


async def test_websockets_are_closed_and_lifespan_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    sent = []

    async def send(message):
        sent.append(message["type"])

    guard = SignatureMiddleware(app, Verifier([WHSEC]))
    await guard({"type": "websocket", "headers": []}, nothing, send)
    await guard({"type": "lifespan"}, nothing, send)
    assert sent == ["websocket.close"]
    assert seen == ["lifespan"]


async def test_a_message_that_comes_again_is_answered_without_the_application(clock, store):
    shop = Shop(clock, once=store)
    for _ in range(3):
        assert (await shop.post(signed(clock))).status_code == 200
        clock.now += 60
    assert len(shop.seen) == 1
    assert (await shop.post(signed(clock, "msg_2"))).text == "thanks"
    assert len(shop.seen) == 2


async def test_without_a_store_the_application_sees_it_again(clock):
    """The control."""
    shop = Shop(clock)
    for _ in range(3):
        await shop.post(signed(clock))
    assert len(shop.seen) == 3


@pytest.mark.parametrize("status", [0, 302, 400, 500])
async def test_what_the_application_did_not_take_it_gets_again(clock, store, status):
    shop = Shop(clock, once=store)
    shop.status = status
    assert (await shop.post(signed(clock))).status_code == (status or 500)
    shop.status = 204
    assert (await shop.post(signed(clock))).status_code == 204
    assert len(shop.seen) == 2


async def test_an_answer_that_breaks_off_does_not_count(clock, store):
    shop = Shop(clock, once=store)
    for _ in range(2):
        await shop.post(signed(clock), path="/stream")
    assert len(shop.seen) == 2


async def test_a_forged_request_cannot_use_up_an_id(clock, store):
    shop = Shop(clock, once=store)
    forged = {**signed(clock), "webhook-signature": "v1,AAAA"}
    assert (await shop.post(forged)).status_code == 401
    assert (await shop.post(signed(clock))).text == "thanks"


async def test_while_a_message_is_being_processed_the_same_one_is_told_to_come_again(clock, store):
    shop = Shop(clock, once=store)
    shop.hold = asyncio.Event()
    first = asyncio.create_task(shop.post(signed(clock)))
    async with asyncio.timeout(60):
        await shop.entered.wait()
        second = await shop.post(signed(clock))
        assert second.status_code == 503
        assert second.headers["retry-after"] == "5"
        shop.hold.set()
        assert (await first).status_code == 200
    assert (await shop.post(signed(clock))).text == "processed before\n"
    assert len(shop.seen) == 1


async def test_a_message_whose_process_died_is_processed_after_the_lease(clock, store):
    store.begin("msg_1")  # and then nothing more, as after a kill
    shop = Shop(clock, once=store)
    assert (await shop.post(signed(clock))).status_code == 503
    clock.now += LEASE_SECONDS + 1
    assert (await shop.post(signed(clock))).text == "thanks"


async def test_a_store_that_is_away_means_come_again(clock, tmp_path):
    shop = Shop(clock, once=SqliteOnce(tmp_path / "absent" / "ids.db"))
    assert (await shop.post(signed(clock))).status_code == 503
    assert shop.seen == []


async def test_a_large_body_is_verified_outside_of_the_event_loop(clock, monkeypatch):
    threads: list[str] = []
    verify = Verifier.verify

    def watched(self: Verifier, headers: Any, body: bytes) -> Verified:
        threads.append(threading.current_thread().name)
        return verify(self, headers, body)

    monkeypatch.setattr(Verifier, "verify", watched)
    shop = Shop(clock)
    large = b"x" * LARGE
    assert (await shop.post(signed(clock))).status_code == 200
    assert (await shop.post(signed(clock, "msg_2", large), large)).status_code == 200
    assert (await shop.post(signed(clock, "msg_3", large), large + b"x")).status_code == 401
    main = threading.main_thread().name
    assert [name == main for name in threads] == [True, False, False]
