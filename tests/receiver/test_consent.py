"""The receiver's part of the validation handshake: in the server, in the middleware, and what it never does."""

from __future__ import annotations

import asyncio

import aiohttp
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from hookline import keys
from hookline.errors import SettingsError
from hookline.receiver.asgi import SignatureMiddleware
from hookline.receiver.config import parse
from hookline.receiver.consent import Consent
from hookline.receiver.server import Server
from hookline.receiver.verifier import Verifier

WHSEC = keys.encode_hmac(bytes(range(32)))
PATH = "/" + "p" * 43
ASK = {"WebHook-Request-Origin": "prod.example.com", "WebHook-Request-Rate": "6000"}
SAYS = ("Allow", "WebHook-Allowed-Origin", "WebHook-Allowed-Rate")
GRANTED = ("OPTIONS, POST", "prod.example.com", "60")


def document(**endpoint: object) -> dict[str, object]:
    actions = [{"script": {"command": ["/bin/true"]}}]
    plain = {"name": "orders", "path": PATH, "keys": [{"env": "KEY"}], "actions": actions}
    listen = {"host": "127.0.0.1", "port": 0}
    return {"listen": listen, "plainHttp": True, "once": "sqlite:ids.db", "endpoints": [plain | endpoint]}


async def options(tmp_path, headers: dict[str, str], path: str = PATH, **endpoint: object):
    server = Server(parse(document(**endpoint), tmp_path, {"KEY": WHSEC}))
    await server.start()
    try:
        url = f"http://127.0.0.1:{server.address[1]}{path}"
        async with aiohttp.ClientSession() as client, client.options(url, headers=headers) as answer:
            return answer.status, tuple(answer.headers.get(name) for name in SAYS)
    finally:
        await server.stop()


@pytest.mark.parametrize("origins", [["prod.example.com"], ["*"], ["a.example", "PROD.example.com"]], ids=str)
async def test_an_allowed_origin_gets_the_three_headers(tmp_path, origins):
    assert await options(tmp_path, ASK, allowedOrigins=origins, allowedRate=60) == (200, GRANTED)


async def test_without_a_rate_any_rate_will_do(tmp_path):
    assert (await options(tmp_path, ASK, allowedOrigins=["*"]))[1][2] == "*"


@pytest.mark.parametrize("headers", [{}, {"WebHook-Request-Origin": "evil.example.com"}], ids=["nobody", "another"])
async def test_who_is_not_named_gets_no_consent(tmp_path, headers):
    status, says = await options(tmp_path, headers, allowedOrigins=["prod.example.com"])
    assert (status, says[1:]) == (403, (None, None))


BAD = [
    [(b"WebHook-Request-Origin", b"\xff")],
    [(b"WebHook-Request-Origin", "é.example.com".encode())],
    [(b"WebHook-Request-Origin", b"a b")],
    [(b"WebHook-Request-Origin", b"a" * 254)],
    [(b"WebHook-Request-Origin", b"a.example.com"), (b"webhook-request-origin", b"b.example.com")],
]


@pytest.mark.parametrize("headers", BAD, ids=["byte", "letter", "space", "long", "twice"])
async def test_an_origin_that_is_no_name_is_refused_and_not_repeated(tmp_path, headers):
    """Even where anybody may send: the answer would hold what nobody can read."""
    server = Server(parse(document(allowedOrigins=["*"]), tmp_path, {"KEY": WHSEC}))
    await server.start()
    try:
        lines = b"".join(b"%s: %s\r\n" % header for header in headers)
        head = b"OPTIONS %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" % PATH.encode()
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(head + lines + b"\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    finally:
        await server.stop()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"webhook-allowed" not in answer.lower()

    sent = []

    async def send(message):
        sent.append(message)

    async def nobody(*_: object) -> None:
        raise AssertionError("somebody reads")

    guard = SignatureMiddleware(nobody, Verifier([WHSEC]), consent=Consent(("*",)))
    await guard({"type": "http", "method": "OPTIONS", "headers": headers}, nobody, send)  # type: ignore[arg-type]
    assert sent[0]["status"] == 400
    assert b"webhook-allowed-origin" not in dict(sent[0]["headers"])


async def test_the_control_an_endpoint_that_names_nobody_does_not_know_options(tmp_path):
    assert await options(tmp_path, ASK) == (405, ("POST", None, None))


async def test_a_path_that_does_not_exist_says_nothing_of_consent(tmp_path):
    assert (await options(tmp_path, ASK, "/" + "q" * 43, allowedOrigins=["*"]))[0] == 404


@pytest.mark.parametrize(
    ("endpoint", "complaint"),
    [
        ({"allowedRate": 60}, "says nothing without allowedOrigins"),
        ({"allowedOrigins": ["a b"]}, "the name of a sender"),
        ({"allowedOrigins": []}, "at least one entry"),
        ({"allowedOrigins": ["*"], "allowedRate": 0}, "whole number from 1"),
    ],
)
def test_what_can_not_be_meant_is_refused(tmp_path, endpoint, complaint):
    with pytest.raises(SettingsError, match=complaint):
        parse(document(**endpoint), tmp_path, {"KEY": WHSEC})


async def ask_middleware(consent: Consent | None) -> httpx.Response:
    async def hook(_: object) -> PlainTextResponse:
        raise AssertionError("nothing unsigned comes through")

    guard = Middleware(SignatureMiddleware, verifier=Verifier([WHSEC]), consent=consent)
    app = Starlette(routes=[Route("/hooks", hook, methods=["POST", "OPTIONS"])], middleware=[guard])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.options("/hooks", headers=ASK)


async def test_the_middleware_consents_alike():
    answer = await ask_middleware(Consent(("prod.example.com",), 60))
    assert (answer.status_code, tuple(answer.headers.get(name) for name in SAYS)) == (200, GRANTED)
    assert (await ask_middleware(Consent(("other.example.com",)))).status_code == 403


async def test_the_control_without_it_the_request_is_one_that_is_not_signed():
    assert (await ask_middleware(None)).status_code == 401
