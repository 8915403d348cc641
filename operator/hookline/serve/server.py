"""The API from request to answer: who asks, what of, whether that is allowed, and only then what there is.

In: HTTP. Out: JSON. The subscription is looked up among those that the operator knows, by namespace and name; its uid,
by which the outbox keeps messages, never comes from a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web

from hookline.errors import StoreError
from hookline.serve import answers, asked, shapes
from hookline.serve.asked import Asked
from hookline.serve.browse import Outbox, Reader
from hookline.serve.follow import Follower, ending
from hookline.serve.limits import Buckets, Clock, Places
from hookline.serve.listen import Certificate, Listener
from hookline.serve.refusals import Refused, bad_request, not_found, too_many, unavailable
from hookline.serve.rights import Rights, Wish
from hookline.serve.tokens import Api, Identity, Tokens
from hookline.settings import Settings

log = logging.getLogger(__name__)

WATCHERS, WATCHERS_EACH, WATCHERS_THERE = 64, 8, 16
REQUESTS, REQUESTS_EACH, REQUESTS_THERE = 32, 4, 8
CONTENTS, CONTENTS_EACH, CONTENTS_THERE = 6, 2, 2
"""In all, of one user, and of one namespace. A list is half a MiB at most, and a content the size of its body."""
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
        self._requests = Places(REQUESTS, _busy, user=REQUESTS_EACH, namespace=REQUESTS_THERE)
        self._contents = Places(CONTENTS, _busy, user=CONTENTS_EACH, namespace=CONTENTS_THERE)
        self._watchers = Places(WATCHERS, _crowded, user=WATCHERS_EACH, namespace=WATCHERS_THERE)
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
            return await self._refuse(request, verb, refused)
        except StoreError as error:
            log.warning("deliveries can't be read: %s", error)
            return await self._refuse(request, verb, unavailable("the outbox can't be read now"))
        except TimeoutError:
            return await self._refuse(request, verb, unavailable("that takes too long now"))
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("a request failed unexpectedly", extra={"verb": verb})
            text = f"an unexpected error ({type(error).__name__}): see the operator's log"
            return await self._refuse(request, verb, Refused(500, "InternalError", text))

    async def _answer(self, request: web.BaseRequest, verb: str) -> web.StreamResponse:
        if (problem := self._behind.unready()) is not None:
            raise unavailable(problem[1], problem[0])
        who = await self._who(request)
        if not self._each.take(who.name):
            raise too_many("you ask too often")
        namespace, name, _ = asked.read_path(request.rel_url.raw_path)
        await self._rights.check(who, Wish(verb, namespace, name))
        wanted = asked.read(request.rel_url.raw_path, request.query.items())
        uid = self._uid(namespace, name)
        kind = self._watchers if verb == "watch" else self._requests
        # A place is kept until all is sent: what is under way is what the operator has in memory.
        with kind.one(user=who.name, namespace=namespace):
            if verb == "watch":
                return await self._watch(request, wanted, uid)
            if verb == "list":
                return await self._list(request, wanted, uid)
            with self._contents.one(user=who.name, namespace=namespace):
                return await self._get(request, wanted, uid)

    async def _who(self, request: web.BaseRequest) -> Identity:
        return await self._tokens.owner(request.headers.get("Authorization"), request.remote or "")

    def _uid(self, namespace: str, name: str) -> str:
        uid = self._behind.uid_of(namespace, name)
        if uid is None:
            raise not_found(f'the operator serves no subscription "{name}" in the namespace "{namespace}"')
        return uid

    async def _list(self, request: web.BaseRequest, wanted: Asked, uid: str) -> web.StreamResponse:
        before = asked.read_position(wanted.position, uid)
        async with asyncio.timeout(ANSWER_SECONDS):
            page = await self._reader.page(uid, wanted.states, wanted.limit, before)
        position = "" if page.before is None else asked.position(uid, page.before)
        body = orjson.dumps(shapes.page(_owner(wanted), page.items, position))
        del page
        self._behind.on_answer("list", 200)
        return await answers.send(request, [body])

    async def _get(self, request: web.BaseRequest, wanted: Asked, uid: str) -> web.StreamResponse:
        async with asyncio.timeout(ANSWER_SECONDS):
            found = await self._reader.one(uid, wanted.ident)
        if found is None:
            raise not_found(f'there is no delivery "{wanted.ident}"; finished ones are kept for a time only')
        self._behind.on_answer("get", 200)
        return await answers.send(request, shapes.content(_owner(wanted), *found, self._max_body))

    async def _watch(self, request: web.BaseRequest, wanted: Asked, uid: str) -> web.StreamResponse:
        follower = Follower(self._reader, _owner(wanted), uid, wanted.states, self._clock)

        async def check() -> None:
            await self._rights.check(await self._who(request), Wish("watch", wanted.namespace, wanted.name))
            if self._behind.uid_of(wanted.namespace, wanted.name) != uid:
                raise Refused(410, "Gone", "the subscription was deleted")

        self._followers.add(follower)
        try:
            response = await answers.begin(request)
            self._behind.on_answer("watch", 200)
            try:
                lines = follower.lines(wanted.tail, wanted.seconds, check)
                async with contextlib.aclosing(lines):
                    async for line in lines:
                        await answers.write(request, response, line)
            except Refused as refused:
                await answers.write(request, response, ending(refused))
            except StoreError as error:
                log.warning("deliveries can't be read: %s", error)
                await answers.write(request, response, ending(unavailable("the outbox can't be read now")))
            return await answers.end(request, response)
        finally:
            self._followers.discard(follower)

    async def _refuse(self, request: web.BaseRequest, verb: str, refused: Refused) -> web.StreamResponse:
        self._behind.on_answer(verb, refused.code)
        return await answers.refuse(request, refused)


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


def _check_form(request: web.BaseRequest) -> None:
    if request.method != "GET":
        raise Refused(405, "MethodNotAllowed", "deliveries can only be read; send GET")
    if request.body_exists:
        raise bad_request("a request has no body")


def _owner(wanted: Asked) -> shapes.Owner:
    return shapes.Owner(wanted.namespace, wanted.name)


def _busy() -> Refused:
    return too_many("too many requests are under way; send fewer at once")


def _crowded() -> Refused:
    return too_many("too many streams are open; end one of them")
