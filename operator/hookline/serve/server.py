"""The API from request to answer: who asks, what of, whether that is allowed, and only then what there is.

In: HTTP. Out: JSON. The subscription is looked up among those that the operator knows, by namespace and name; its uid,
by which the outbox keeps messages, never comes from a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from hookline.errors import StoreError
from hookline.serve import asked, shapes
from hookline.serve.asked import Asked
from hookline.serve.browse import Outbox, Reader
from hookline.serve.follow import Follower, ending
from hookline.serve.limits import Buckets, Clock, Places
from hookline.serve.listen import HEADERS, STUCK_SECONDS, Certificate, Listener
from hookline.serve.refusals import Refused, bad_request, not_found, too_many, unavailable
from hookline.serve.rights import Rights, Wish
from hookline.serve.tokens import Api, Identity, Tokens
from hookline.settings import Settings

log = logging.getLogger(__name__)

WATCHERS, WATCHERS_EACH = 64, 8
REQUESTS, REQUESTS_EACH = 32, 4
CONTENTS, CONTENTS_EACH = 4, 2
PER_SECOND, AT_ONCE = 20.0, 60
ANSWER_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Behind:
    """What the API reads from: the operator.

    ``unready()`` says why nothing can be read now, as (reason, message), None when all is well. ``uid_of(namespace,
    name)`` is the uid of a subscription that the operator knows, or None. ``on_answer(verb, code)`` is told of each.
    """

    api: Api
    outbox: Outbox
    uid_of: Callable[[str, str], str | None]
    unready: Callable[[], tuple[str, str] | None]
    on_answer: Callable[[str, int], None] = lambda _, __: None


class ApiServer:
    """The server. ``max_body`` is how many bytes of a message's body are shown; ``clock`` is monotonic seconds."""

    def __init__(
        self, host: str, port: int, behind: Behind, max_body: int, clock: Clock, certificate: Certificate | None = None
    ) -> None:
        self._behind = behind
        self._max_body = max_body
        self._clock = clock
        self._tokens = Tokens(behind.api, clock)
        self._rights = Rights(behind.api, clock)
        self._reader = Reader(behind.outbox, clock)
        self._each = Buckets(PER_SECOND, AT_ONCE, clock)
        self._requests = Places(REQUESTS, REQUESTS_EACH, _busy)
        self._contents = Places(CONTENTS, CONTENTS_EACH, _busy)
        self._watchers = Places(WATCHERS, WATCHERS_EACH, lambda: too_many("too many streams are open; end one of them"))
        self._followers: set[Follower] = set()
        self._listener = Listener(host, port, self._handle, certificate)
        self._reload: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises SettingsError when the address can't be had."""
        port = await self._listener.start()
        self._reload = asyncio.create_task(self._listener.follow_files())
        return port

    async def stop(self) -> None:
        """End all streams, and listen no more."""
        for follower in self._followers:
            follower.stop()
        await self._listener.stop()
        await self._tokens.close()
        if self._reload is not None:
            self._reload.cancel()
            await asyncio.gather(self._reload, return_exceptions=True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        verb = "other"
        try:
            _, __, ident = asked.read_path(request.rel_url.raw_path)
            verb = asked.verb_of(request.query.items(), ident)
            _check_form(request)
            return await self._answer(request, verb)
        except Refused as refused:
            return await self._say(request, verb, refused)
        except StoreError as error:
            log.warning("deliveries can't be read: %s", error)
            return await self._say(request, verb, unavailable("the outbox can't be read now"))
        except TimeoutError:
            return await self._say(request, verb, unavailable("that takes too long now"))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("a request failed unexpectedly", extra={"verb": verb})
            text = f"an unexpected error ({type(error).__name__}): see the operator's log"
            return await self._say(request, verb, Refused(500, "InternalError", text))

    async def _answer(self, request: web.BaseRequest, verb: str) -> web.StreamResponse:
        if (problem := self._behind.unready()) is not None:
            raise unavailable(problem[1], problem[0])
        who = await self._check(request, verb)
        if not self._each.take(who.key):
            raise too_many("you ask too often")
        wanted = asked.read(request.rel_url.raw_path, request.query.items())
        uid = self._uid(wanted.namespace, wanted.name)
        owner = shapes.Owner(wanted.namespace, wanted.name)
        if verb == "watch":
            with self._watchers.one(who.key):
                return await self._watch(request, wanted, owner, uid)
        async with asyncio.timeout(ANSWER_SECONDS):
            with self._requests.one(who.key):
                body = await (self._get if verb == "get" else self._list)(wanted, owner, uid, who)
        return await self._send(request, verb, 200, body)

    async def _check(self, request: web.BaseRequest, verb: str) -> Identity:
        """Who asks, when it may have what it asks for. Raises Refused."""
        who = await self._tokens.owner(request.headers.get("Authorization"), request.remote or "")
        namespace, name, _ = asked.read_path(request.rel_url.raw_path)
        await self._rights.check(who, Wish(verb, namespace, name))
        return who

    def _uid(self, namespace: str, name: str) -> str:
        uid = self._behind.uid_of(namespace, name)
        if uid is None:
            raise not_found(f'the operator serves no subscription "{name}" in the namespace "{namespace}"')
        return uid

    async def _list(self, wanted: Asked, owner: shapes.Owner, uid: str, _: Identity) -> bytes:
        before = asked.read_position(wanted.position, uid)
        page = await self._reader.page(uid, wanted.states, wanted.limit, before)
        position = "" if page.before is None else asked.position(uid, page.before)
        return orjson.dumps(shapes.page(owner, page.items, position))

    async def _get(self, wanted: Asked, owner: shapes.Owner, uid: str, who: Identity) -> bytes:
        with self._contents.one(who.key):
            found = await self._reader.one(uid, wanted.ident)
            if found is None:
                raise not_found(f'there is no delivery "{wanted.ident}"; finished ones are kept for a time only')
            delivery, message = found
            shown = {**shapes.delivery(owner, delivery), "request": shapes.request(message, self._max_body)}
            return await asyncio.to_thread(orjson.dumps, shown)

    async def _watch(
        self, request: web.BaseRequest, wanted: Asked, owner: shapes.Owner, uid: str
    ) -> web.StreamResponse:
        follower = Follower(self._reader, owner, uid, wanted.states, self._clock)
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "application/json"})
        response.enable_chunked_encoding()

        async def check() -> None:
            await self._check(request, "watch")
            if self._behind.uid_of(wanted.namespace, wanted.name) != uid:
                raise Refused(410, "Gone", "the subscription was deleted")

        self._followers.add(follower)
        try:
            await _patiently(request, response.prepare(request))
            self._behind.on_answer("watch", 200)
            try:
                lines = follower.lines(wanted.tail, wanted.seconds, check)
                async with contextlib.aclosing(lines):
                    async for line in lines:
                        await _patiently(request, response.write(line))
            except Refused as refused:
                await _patiently(request, response.write(ending(refused)))
            except StoreError as error:
                log.warning("deliveries can't be read: %s", error)
                await _patiently(request, response.write(ending(unavailable("the outbox can't be read now"))))
            await _patiently(request, response.write_eof())
        finally:
            self._followers.discard(follower)
        return response

    async def _say(self, request: web.BaseRequest, verb: str, refused: Refused) -> web.StreamResponse:
        headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after else {}
        if refused.code == 401:
            headers["WWW-Authenticate"] = "Bearer"
        if refused.code == 405:
            headers["Allow"] = "GET"
        return await self._send(request, verb, refused.code, orjson.dumps(shapes.status(refused)), headers)

    async def _send(
        self, request: web.BaseRequest, verb: str, code: int, body: bytes, headers: dict[str, str] | None = None
    ) -> web.StreamResponse:
        self._behind.on_answer(verb, code)
        response = web.Response(
            body=body, status=code, headers={**HEADERS, "Content-Type": "application/json", **(headers or {})}
        )
        if request.body_exists:
            response.force_close()
        await _patiently(request, response.prepare(request))
        await _patiently(request, response.write_eof())
        return response


async def make_api(settings: Settings, behind: Behind, clock: Clock) -> ApiServer | None:
    """The API as the settings have it, listening; None when they want none. Raises SettingsError."""
    if not settings.api_port:
        return None
    certificate = None
    if settings.api_tls_cert_file:
        certificate = await asyncio.to_thread(Certificate, settings.api_tls_cert_file, settings.api_tls_key_file)
    host = settings.api_host or ("127.0.0.1" if certificate is None else "0.0.0.0")  # noqa: S104 (inside a pod)
    api = ApiServer(host, settings.api_port, behind, settings.api_max_body_bytes, clock, certificate)
    port = await api.start()
    log.info("serving deliveries", extra={"api_port": port, "tls": certificate is not None})
    return api


async def _patiently(request: web.BaseRequest, sending: Awaitable[Any]) -> None:
    """Send, unless the client does not read: then it is cut off, and ConnectionResetError raised."""
    try:
        async with asyncio.timeout(STUCK_SECONDS):
            await sending
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the client does not read") from None


def _check_form(request: web.BaseRequest) -> None:
    if request.method != "GET":
        raise Refused(405, "MethodNotAllowed", "deliveries can only be read; send GET")
    if request.body_exists:
        raise bad_request("a request has no body")


def _busy() -> Refused:
    return too_many("too many requests are under way; send fewer at once")
