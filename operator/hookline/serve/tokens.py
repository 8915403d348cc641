"""Who asks: bearer tokens, reviewed by the API server (TokenReview), which alone can tell.

In: the ``Authorization`` header. Out: an ``Identity``, or Refused. A token is never logged, kept or shown: what is
known of it is kept for some seconds under a keyed hash. Reviews are bounded: a flood of made-up tokens ends here.
https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from hookline import reasons
from hookline.errors import ApiError
from hookline.serve.limits import Buckets, Clock, Memory, Reviews
from hookline.serve.refusals import too_many, unauthorized, unavailable

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
AUDIENCE = reasons.AUDIENCE
MAX_TOKEN = 12 * 1024
KNOWN_SECONDS = 5.0
KNOWN_TOKENS = 4096
BAD_PER_SECOND, BAD_AT_ONCE = 2.0, 20
"""Tokens of one client address that turn out to be bad: more are refused without a review."""
PARALLEL = 8
TIMEOUT_SECONDS = 5.0
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 §2.1
_ACCOUNT = "system:serviceaccount:"
_WHO = f"send 'Authorization: Bearer' and a token of this cluster, best one for the audience {AUDIENCE}"


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(self, method: str, path: str, *, body: Any = None, timeout: float = 30.0) -> Any:  # noqa: ASYNC109
        """One request; raises ApiError."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as the API server names it. ``key`` stands for all of it: tokens of one user may have different ones."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: Mapping[str, Sequence[str]]
    key: bytes

    @property
    def tenant(self) -> str:
        """Who shares this user's bounds, see ``tenant_of``."""
        return tenant_of(self.name)


def tenant_of(user: str) -> str:
    """All ServiceAccounts of a namespace, for whoever may act there makes as many as they like; else the user alone."""
    return user.rpartition(":")[0] if user.startswith(_ACCOUNT) and user.count(":") == _ACCOUNT.count(":") + 1 else user


class Tokens:
    """The reviews. ``clock`` is monotonic seconds."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._salt = os.urandom(32)
        self._good: Memory[Identity] = Memory(KNOWN_TOKENS, KNOWN_SECONDS, clock)
        self._bad: Memory[bool] = Memory(KNOWN_TOKENS, KNOWN_SECONDS, clock)
        self._asking: dict[bytes, asyncio.Task[Identity | None]] = {}
        self._reviews = Reviews(clock)
        self._failures = Buckets(BAD_PER_SECOND, BAD_AT_ONCE, clock)
        self._places = asyncio.Semaphore(PARALLEL)

    async def owner(self, authorization: str | None, peer: str) -> Identity:
        """Whose token this is. Raises Refused: 401, 429 or 503."""
        token = _bearer(authorization)
        key = hashlib.blake2b(token.encode(), key=self._salt, digest_size=32).digest()
        if (known := self._good.get(key)) is not None:
            return known
        if self._bad.get(key):
            raise unauthorized("the token is not valid; " + _WHO)
        found = await asyncio.shield(self._asked(key, token, peer))
        if found is None:
            raise unauthorized("the token is not valid; " + _WHO)
        return found

    async def close(self) -> None:
        """Ask nothing any more."""
        tasks = [*self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _asked(self, key: bytes, token: str, peer: str) -> asyncio.Task[Identity | None]:
        """The review of this token, which all share who ask for it at the same time."""
        task = self._asking.get(key)
        if task is None:
            suspect = None if self._reviews.knows(key) else peer
            if suspect is not None and not self._failures.take(suspect):
                raise too_many("too many tokens that are not valid came from there")
            if not self._reviews.take(key, _claimed(token) or f"from {peer}"):
                self._clear(suspect)
                raise too_many("too many tokens are to be reviewed")
            task = self._asking[key] = asyncio.create_task(self._review(key, token, suspect))
            task.add_done_callback(lambda ended: self._end(key, ended))
        return task

    def _end(self, key: bytes, task: asyncio.Task[Identity | None]) -> None:
        del self._asking[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody may be left who does

    async def _review(self, key: bytes, token: str, peer: str | None) -> Identity | None:
        """Ask. ``peer`` is whose failure it is until it is known to be none; None: nobody's."""
        asked = self._clock()
        # Which question is asked, the token may say; the answer is the API server's.
        audiences = [AUDIENCE] if AUDIENCE in _audiences(token) else []
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, **({"audiences": audiences} if audiences else {})},
        }
        try:
            async with self._places:
                answer = await self._api.request("POST", PATH, body=review, timeout=TIMEOUT_SECONDS)
        except ApiError:
            self._clear(peer)
            raise unavailable("the API server can't be asked whose token this is") from None
        found = _identity(answer, audiences)
        if found is None:
            self._bad.put(key, value=True, asked=asked)
        else:
            self._clear(peer)
            self._good.put(key, found, asked)
            self._reviews.good(key, found.tenant, asked)
        return found

    def _clear(self, peer: str | None) -> None:
        if peer is not None:
            self._failures.give_back(peer)


def _bearer(authorization: str | None) -> str:
    """The token in the header. Raises Refused."""
    if not authorization:
        raise unauthorized("there is no token; " + _WHO)
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or len(token) > MAX_TOKEN or not _TOKEN.fullmatch(token):
        raise unauthorized("that is no bearer token; " + _WHO)
    return token


def _claimed(token: str) -> str:
    """Whose token it says that it is: true of each that is valid, and those that are not are bounded by themselves."""
    said = _claims(token).get("sub")
    return tenant_of(said) if isinstance(said, str) else ""


def _audiences(token: str) -> Sequence[str]:
    """For whom a JSON Web Token says that it is; empty for any other."""
    said = _claims(token).get("aud", ())
    return said if isinstance(said, list | tuple) else [said]


def _claims(token: str) -> Mapping[str, Any]:
    """What a JSON Web Token says, unverified; empty for any other."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        said = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _identity(answer: Any, audiences: Sequence[str]) -> Identity | None:
    """The user of a TokenReview, None when the token is not valid. Raises Refused when the answer makes no sense."""
    try:
        status = answer["status"]
        if status.get("authenticated") is not True:
            return None
        # Who is not asked for an audience may not know it: then the token is for the API server itself.
        valid_for = status.get("audiences") or audiences
        if audiences and not set(audiences) & set(valid_for):
            return None
        user = status["user"]
        name, uid = user["username"], user.get("uid") or ""
        groups = tuple(user.get("groups") or ())
        extra = {str(kind): tuple(values) for kind, values in (user.get("extra") or {}).items()}
    except (KeyError, TypeError, AttributeError):
        raise unavailable("the API server's review of the token makes no sense") from None
    if not name:
        return None
    fact = orjson.dumps([name, uid, sorted(groups), sorted(extra.items())])
    return Identity(name, uid, groups, extra, hashlib.sha256(fact).digest())
