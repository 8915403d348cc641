"""Lets only verified requests through to an ASGI application (Starlette, FastAPI, any ASGI 3), under asyncio.

    app = SignatureMiddleware(app, Verifier([key]), once=SqliteOnce("ids.db"))

In: http requests. Out: to the application the exact body, and ``Verified`` in ``scope["state"]["hookline"]``, which is
``request.state.hookline`` in Starlette; to the sender 401 (not verified), 413 (too large), or with ``once`` 200 for
what was processed before and 503 for what is being processed; with ``consent`` 200, 400 or 403 to OPTIONS. Websockets
are refused: nothing in them is signed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from hookline.errors import HooklineError, VerificationError
from hookline.receiver.consent import Consent
from hookline.receiver.errors import AlreadyProcessed, InProgress, OnceUnavailable, OriginMalformed
from hookline.receiver.once import LEASE_SECONDS, Claim, OnceStore
from hookline.receiver.verifier import LARGE, Verified, Verifier

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_LIMIT = 2 << 20
"""Bytes of a body that are read before its signature is known: the most that Hookline sends by default."""

log = logging.getLogger(__name__)


class SignatureMiddleware:
    """``once`` remembers ids: an id counts as done when the application answered 2xx, else its claim is given back.

    That is once, except after a crash within a request (again after ``lease`` seconds). Who needs it in the same
    transaction as his own rows leaves ``once`` out here, and calls ``store.once(request.state.hookline.id)`` himself.
    ``scope_of_ids`` keeps the ids of several endpoints apart in one store. ``limit`` is in bytes. ``consent`` answers
    senders that ask before they send (OPTIONS); without it such a request is one more that is not signed.
    """

    def __init__(
        self,
        app: Application,
        verifier: Verifier,
        *,
        once: OnceStore[Any] | None = None,
        limit: int = BODY_LIMIT,
        scope_of_ids: str = "",
        lease: float = LEASE_SECONDS,
        consent: Consent | None = None,
    ) -> None:
        self._app = app
        self._verifier = verifier
        self._once = once
        self._limit = limit
        self._ids = scope_of_ids
        self._lease = lease
        self._consent = consent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's entry."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "not signed"})
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if self._consent is not None and scope["method"] == "OPTIONS":
            await _consent(self._consent, headers, send)
            return
        try:
            body = await _read(receive, self._limit)
            if len(body) < LARGE:
                verified = self._verifier.verify(headers, body)
            else:
                verified = await asyncio.to_thread(self._verifier.verify, headers, body)
        except _Gone:
            return
        except _TooLarge:
            await _answer(send, 413, f"the body is larger than {self._limit} bytes")
            return
        except VerificationError as error:
            await _answer(send, 401, str(error))
            return
        inner = {**scope, "state": {**scope.get("state", {}), "hookline": verified}}
        replay = _replayed(body, receive)
        if self._once is None:
            await self._app(inner, replay, send)
        else:
            await self._only_once(self._once, verified, (inner, replay, send))

    async def _only_once(self, store: OnceStore[Any], verified: Verified, call: tuple[Scope, Receive, Send]) -> None:
        scope, receive, send = call
        try:
            claim = await asyncio.to_thread(store.begin, verified.id, self._ids, self._lease)
        except AlreadyProcessed:
            await _answer(send, 200, "processed before")
            return
        except (InProgress, OnceUnavailable) as error:
            await _answer(send, 503, str(error), (b"retry-after", b"5"))
            return
        outcome = _Outcome(send, lambda: _finish(store, claim))
        try:
            await self._app(scope, receive, outcome.send)
        finally:
            if not outcome.done:
                await _release(store, claim)


class _Outcome:
    """Passes the answer on. A 2xx is recorded before its last bytes leave, so that no retry can overtake the record."""

    def __init__(self, send: Send, finish: Callable[[], Awaitable[None]]) -> None:
        self.done = False
        self._send = send
        self._finish = finish
        self._good = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._good = 200 <= message["status"] < 300
        last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if last and self._good and not self.done:
            self.done = True
            await self._finish()
        await self._send(message)


async def _consent(consent: Consent, headers: list[tuple[str, str]], send: Send) -> None:
    try:
        granted = consent.grant(headers)
    except OriginMalformed as error:
        await _answer(send, 400, str(error))
        return
    more = [(name.encode(), value.encode("ascii")) for name, value in (granted or {}).items()]
    status, text = (403, "this origin may not send here") if granted is None else (200, "may send")
    await _answer(send, status, text, *more)


async def _finish(store: OnceStore[Any], claim: Claim) -> None:
    try:
        if not await asyncio.to_thread(store.finish, claim):
            log.warning("the lease ran out before the message was done: it may be processed twice")
    except HooklineError:  # the work is done: to answer 503 now would surely repeat it
        log.exception("a processed message could not be recorded: it may be processed twice")


async def _release(store: OnceStore[Any], claim: Claim) -> None:
    try:
        await asyncio.to_thread(store.release, claim)
    except HooklineError:
        log.exception("a claim could not be given back: the message waits for the lease")


class _TooLarge(Exception):
    pass


class _Gone(Exception):
    pass


async def _read(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body += message.get("body", b"")
        if len(body) > limit:
            raise _TooLarge
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    first = True

    async def replay() -> Message:
        nonlocal first
        if first:
            first = False
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return replay


async def _answer(send: Send, status: int, reason: str, *more: tuple[bytes, bytes]) -> None:
    text = f"{reason}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text})
