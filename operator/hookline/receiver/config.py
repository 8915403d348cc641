"""``receive.yaml``: what ``hookline receive`` listens on, whom it believes, and what it does then.

In: the parsed document, the folder of the file, the environment. Out: a ``Config``, or a SettingsError that names the
field. ``docs/receiving.md`` describes every field. ``hookline.receiver.server`` runs it.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hookline.receiver.asgi import BODY_LIMIT
from hookline.receiver.consent import Consent
from hookline.receiver.database import open_store
from hookline.receiver.fields import Field, Place
from hookline.receiver.forward import parse_forward
from hookline.receiver.insert import Insert, parse_insert
from hookline.receiver.jwks import keys_from_jwks
from hookline.receiver.leased import Leased
from hookline.receiver.mail import parse_email
from hookline.receiver.once import KEEP_SECONDS, OnceStore
from hookline.receiver.script import parse_script
from hookline.receiver.template import Event
from hookline.receiver.users import User, parse_user
from hookline.receiver.verifier import TOLERANCE_SECONDS, Verifier

Clock = Callable[[], float]

_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME_HINT = "up to 63 lower-case letters, digits and -"
_PATH = r"/([A-Za-z0-9._~-]+/)*[A-Za-z0-9_-]{43,128}"
_PATH_HINT = (
    "a path whose last part is 43 or more random letters, digits, - or _; get one by hookline receive new-endpoint"
)


_ORIGIN = r"\*|[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
_ORIGIN_HINT = "the name of a sender, such as production.example.com, or *"
_DAY = 86400
_MOST_DAYS = 3650
_ENDPOINT_OPTIONS = ("keys", "jwks", "toleranceSeconds", "bodyLimit", "users", "allowedOrigins", "allowedRate")


class Action(Protocol):
    """Something to do once for a message; ``scope`` keeps its ids apart from those of other actions."""

    async def run(self, event: Event, scope: str) -> None:
        """Raises AlreadyProcessed when it was done before; anything else means that it is not done."""


@dataclass(frozen=True)
class Endpoint:
    """One path, the keys that are believed there, and the actions by name. ``limit`` of a body is in bytes.

    ``consent`` says who may send, to those who ask before; None: nobody is told.
    """

    name: str
    path: str
    verifier: Verifier
    limit: int
    users: tuple[User, ...]
    actions: Mapping[str, Action]
    consent: Consent | None = None


@dataclass(frozen=True)
class Config:
    """``certificate`` holds the files of certificate and key; None: plain http. ``health`` None: no such port."""

    listen: tuple[str, int]
    certificate: tuple[Path, Path] | None
    health: tuple[str, int] | None
    endpoints: tuple[Endpoint, ...]
    stores: tuple[OnceStore[Any], ...]


@dataclass(frozen=True)
class _Memory:
    """What actions are made with: the store of those that need one, the time, and how long ids are remembered."""

    shared: OnceStore[Any] | None
    clock: Clock
    keep: float


class _Performer(Protocol):
    async def perform(self, event: Event) -> None: ...


_PERFORMERS: Mapping[str, Callable[[Field], _Performer]] = {
    "script": parse_script,
    "email": parse_email,
    "forward": parse_forward,
}


def parse(document: object, base: Path, environment: Mapping[str, str], clock: Clock = time.time) -> Config:
    """Everything checked that can be checked without touching network or database. Raises SettingsError."""
    top = Field(document, "", Place(base, environment))
    found = top.fields(("listen", "endpoints"), ("tls", "plainHttp", "health", "once", "keepDays"))
    keep = found["keepDays"].number(1, _MOST_DAYS) * _DAY if "keepDays" in found else KEEP_SECONDS
    shared = open_store(found["once"], clock, keep)[0] if "once" in found else None
    memory = _Memory(shared, clock, keep)
    endpoints = tuple(_endpoint(item, memory) for item in found["endpoints"].items())
    for unique in ("name", "path"):
        values = [getattr(endpoint, unique) for endpoint in endpoints]
        if len(set(values)) < len(values):
            raise found["endpoints"].wrong(f"two endpoints have the same {unique}; give each its own")
    inserts = [
        action.store for endpoint in endpoints for action in endpoint.actions.values() if isinstance(action, Insert)
    ]
    return Config(
        listen=_address(found["listen"], "0.0.0.0"),  # noqa: S104 -- a server that others shall reach
        certificate=_certificate(top, found),
        health=_address(found["health"], "127.0.0.1") if "health" in found else None,
        endpoints=endpoints,
        stores=(*([shared] if shared else []), *inserts),
    )


def _address(field: Field, host: str) -> tuple[str, int]:
    found = field.fields(("port",), ("host",))
    return found["host"].text() if "host" in found else host, found["port"].number(0, 65535)


def _certificate(top: Field, found: dict[str, Field]) -> tuple[Path, Path] | None:
    plain = "plainHttp" in found and found["plainHttp"].flag()
    if plain == ("tls" in found):
        raise top.wrong("write tls: {certificate, key}, or plainHttp: true when a proxy in front speaks TLS")
    if plain:
        return None
    files = found["tls"].fields(("certificate", "key"))
    for file in files.values():
        file.content()
    return files["certificate"].file(), files["key"].file()


def _endpoint(field: Field, memory: _Memory) -> Endpoint:
    found = field.fields(("name", "path", "actions"), _ENDPOINT_OPTIONS)
    tolerance = found["toleranceSeconds"].number(1, 3600) if "toleranceSeconds" in found else TOLERANCE_SECONDS
    keys = _keys(field, found)
    users = tuple(parse_user(item) for item in found["users"].items()) if "users" in found else ()
    actions: dict[str, Action] = {}
    for item in found["actions"].items():
        name, action = _action(item, memory)
        if name in actions:
            raise item.wrong(f"two actions are called {name!r}; give one a name of its own")
        actions[name] = action
    return Endpoint(
        name=found["name"].text(_NAME, _NAME_HINT),
        path=_path(found["path"]),
        verifier=field.made(lambda: Verifier(keys, tolerance, memory.clock)),
        limit=found["bodyLimit"].number(1024, 64 << 20) if "bodyLimit" in found else BODY_LIMIT,
        users=users,
        actions=actions,
        consent=_consent(found),
    )


def _consent(found: dict[str, Field]) -> Consent | None:
    if "allowedOrigins" not in found:
        if "allowedRate" in found:
            raise found["allowedRate"].wrong("it says nothing without allowedOrigins; write who may send, too")
        return None
    origins = tuple(item.text(_ORIGIN, _ORIGIN_HINT) for item in found["allowedOrigins"].items())
    return Consent(origins, found["allowedRate"].number(1, 999_999_999) if "allowedRate" in found else None)


def _path(field: Field) -> str:
    if isinstance(field.value, dict):
        return Field(field.secret(), field.path, field.place).text(_PATH, _PATH_HINT)
    return field.text(_PATH, _PATH_HINT)


def _keys(field: Field, found: dict[str, Field]) -> list[str]:
    keys = [item.secret() for item in found["keys"].items()] if "keys" in found else []
    for item in found["jwks"].items() if "jwks" in found else []:
        keys += item.made(functools.partial(keys_from_jwks, _json(item.content())))
    if not keys:
        raise field.wrong("it has no keys; write keys: [{file: <path>}] with a whsec_ or whpk_ key, or jwks: [<path>]")
    return keys


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None  # keys_from_jwks says what it should be


def _action(field: Field, memory: _Memory) -> tuple[str, Action]:
    kinds = ("insert", *_PERFORMERS)
    found = field.fields(optional=("name", *kinds))
    kind, details = Field({key: found[key].value for key in kinds if key in found}, field.path, field.place).only(
        *kinds
    )
    name = found["name"].text(_NAME, _NAME_HINT) if "name" in found else kind
    if kind == "insert":
        return name, parse_insert(details, memory.clock, memory.keep)
    if memory.shared is None:
        raise details.wrong(
            "it needs a place to remember what was done; write once: sqlite:<path> at the top of the file"
        )
    return name, Leased(memory.shared, _PERFORMERS[kind](details).perform)
