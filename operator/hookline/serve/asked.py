"""What a request asks for: its method, path and query, read strictly. Pure.

In: text from anybody. Out: ``Asked``, or Refused. Positions in a list are tokens, which are meaningless to people and
hold nothing that their owner may not know.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

import orjson

from hookline import reasons
from hookline.serve.refusals import Refused, bad_request, not_found
from hookline.stored import DeliveryState

MAX_PAGE = 500
DEFAULT_PAGE = 100
MAX_TAIL = 500
MAX_WATCH_SECONDS = 1800
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*"
# Nothing that has a place in these paths needs percent-encoding: what is encoded is not found.
_PATH = re.compile(
    rf"/apis/{re.escape(reasons.GROUP)}/{reasons.VERSION}/namespaces/({_LABEL})/{reasons.PLURAL}/({_NAME})/deliveries"
    r"(?:/([A-Za-z0-9_-]{1,128}))?"
)
_MAX_NAME = 253
_MAX_TOKEN = 200
_MAX_NUMBER = 2**62


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: whose deliveries, or which one (``ident``), and how.

    ``position`` is the text of a continuation token, see ``read_position``.
    """

    verb: str
    namespace: str
    name: str
    ident: str = ""
    states: frozenset[DeliveryState] = frozenset(DeliveryState)
    limit: int = DEFAULT_PAGE
    position: str = ""
    tail: int = 0
    seconds: int = MAX_WATCH_SECONDS


def verb_of(query: Iterable[tuple[str, str]], ident: str) -> str:
    """``get``, ``watch`` or ``list``; what of the query is wrong is told later."""
    if ident:
        return "get"
    return "watch" if any(name == "watch" and value in ("true", "1") for name, value in query) else "list"


def read_path(raw_path: str) -> tuple[str, str, str]:
    """Namespace, name and webhook-id (or empty). Raises Refused."""
    found = _PATH.fullmatch(raw_path)
    if found is None or len(found[2]) > _MAX_NAME:
        raise not_found("there is nothing at this path")
    return found[1], found[2], found[3] or ""


def read(raw_path: str, query: Iterable[tuple[str, str]]) -> Asked:
    """The whole request. Raises Refused."""
    pairs = list(query)
    namespace, name, ident = read_path(raw_path)
    verb = verb_of(pairs, ident)
    known = {"get": (), "list": ("limit", "continue", "state", "watch"), "watch": _WATCH}[verb]
    values: dict[str, str] = {}
    states: set[DeliveryState] = set()
    for key, value in pairs:
        if key not in known:
            raise bad_request(f"the query of a {verb} has no parameter of that name; it may have: {_listed(known)}")
        if key == "state":
            states |= _states(value)
        elif key in values:
            raise bad_request(f"{key}: must not be given twice")
        else:
            values[key] = value
    if values.get("watch", "false") not in ("true", "1", "false", "0"):
        raise bad_request("watch: must be true or false")
    return Asked(
        verb,
        namespace,
        name,
        ident,
        frozenset(states) or frozenset(DeliveryState),
        _number(values, "limit", DEFAULT_PAGE, 1, MAX_PAGE),
        values.get("continue", ""),
        _number(values, "tail", 0, 0, MAX_TAIL),
        _number(values, "timeoutSeconds", MAX_WATCH_SECONDS, 1, MAX_WATCH_SECONDS),
    )


_WATCH = ("watch", "state", "tail", "timeoutSeconds")


def position(uid: str, before: int) -> str:
    """A continuation token: the number before which to go on in the list of this subscription."""
    return base64.urlsafe_b64encode(orjson.dumps([_mark(uid), before])).decode().rstrip("=")


def read_position(token: str, uid: str) -> int | None:
    """The number in a token, None for an empty one.

    Raises Refused: 410 when it is of another subscription, such as an earlier one of this name.
    """
    if not token:
        return None
    try:
        mark, before = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError):
        mark, before = None, None
    if len(token) > _MAX_TOKEN or type(mark) is not str or type(before) is not int or not 0 <= before < _MAX_NUMBER:
        raise bad_request("continue: must be what an earlier list gave as metadata.continue")
    if mark != _mark(uid):
        raise Refused(410, "Expired", "continue: the list was of another subscription; begin a new one")
    return before


def _mark(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


def _states(text: str) -> set[DeliveryState]:
    try:
        state = DeliveryState(text)
    except ValueError:
        raise bad_request(f"state: must be one of {_listed(DeliveryState)}") from None
    # Whoever asks for what waits means what is under way at this moment, too.
    return {state, DeliveryState.IN_FLIGHT} if state is DeliveryState.PENDING else {state}


def _number(values: dict[str, str], key: str, default: int, least: int, most: int) -> int:
    text = values.get(key)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise bad_request(f"{key}: must be a number from {least} to {most}")
    return int(text)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
