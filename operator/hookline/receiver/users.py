"""Who may send to an endpoint, beside the signature: a bearer token or an API key for each user.

In: the headers of a request. Out: the user's name, or None. Tokens are kept as SHA-256 digests only; they are random,
so a slow hash would add nothing. Every user is compared with, in constant time, whoever matches.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from hookline.receiver.fields import Field

AUTHORIZATION = "authorization"
_LEAST_CHARACTERS = 22  # 128 bits in base64url
_TOKEN_HEADER = r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}"  # noqa: S105 -- RFC 9110, "token": the form of a header's name


@dataclass(frozen=True)
class User:
    """``header`` in lower case; ``digest`` is SHA-256 of the token, without ``Bearer`` before it."""

    name: str
    header: str
    digest: bytes


def parse_user(field: Field) -> User:
    """``{name, bearer: {file | env | sha256}}`` or ``{name, apiKey: {header, file | env | sha256}}``."""
    found = field.fields(("name",), ("bearer", "apiKey"))
    if ("bearer" in found) == ("apiKey" in found):
        raise field.wrong("write exactly one of bearer, apiKey")
    name = found["name"].text(r"[\w.@-]{1,64}", "up to 64 letters, digits or any of . @ _ -")
    if "bearer" in found:
        return User(name, AUTHORIZATION, _digest(found["bearer"], ()))
    key = found["apiKey"]
    header = key.fields(("header",), ("file", "env", "sha256"))["header"]
    spelled = header.text(_TOKEN_HEADER, "the name of a header, such as X-API-Key").lower()
    if spelled == AUTHORIZATION or spelled.startswith("webhook-"):
        raise header.wrong("it must be a header of its own; for Authorization write bearer")
    return User(name, spelled, _digest(key, ("header",)))


def identify(users: Sequence[User], headers: CIMultiDictProxy[str]) -> str | None:
    """The name of the user whose token the request carries; None when there is none, or a header is there twice."""
    name = None
    for user in users:
        values = headers.getall(user.header, [])
        given = values[0] if len(values) == 1 else ""
        if user.header == AUTHORIZATION:
            scheme, _, given = given.partition(" ")
            given = given.strip() if scheme.lower() == "bearer" else ""
        digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
        if hmac.compare_digest(digest, user.digest) and given:
            name = name or user.name
    return name


def _digest(field: Field, beside: tuple[str, ...]) -> bytes:
    found = field.fields(optional=("file", "env", "sha256", *beside))
    sources = [key for key in found if key not in beside]
    if len(sources) != 1:
        raise field.wrong("write exactly one of file, env, sha256")
    if sources[0] == "sha256":
        return bytes.fromhex(found["sha256"].text("[0-9a-fA-F]{64}", "the 64 hexadecimal digits of SHA-256"))
    token = Field({sources[0]: found[sources[0]].value}, field.path, field.place).secret()
    if len(token) < _LEAST_CHARACTERS:
        raise field.wrong(f"the token is guessable; it must be random and have at least {_LEAST_CHARACTERS} characters")
    return hashlib.sha256(token.encode()).digest()
