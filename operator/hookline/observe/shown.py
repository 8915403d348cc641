"""What of a text may go into a log line: bounded, valid Unicode, and of others' texts no address, no URL, no value.

In: log records, exceptions. Out: texts for the formatters of ``logs``. Our own messages hold nothing secret by rule
(``hookline.errors``); what a library says, or an exception that is not ours, may hold anything.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import traceback
from collections.abc import Iterator

from hookline.errors import HooklineError

MAX_TEXT = 4096
MAX_EXCEPTION = 16_384
MAX_CHAIN = 8
FRAMES = 30

_URL = re.compile(r"\b[a-z][a-z0-9+.\-]*://[^\s'\"<>]+", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)")
_IPV6 = re.compile(r"(?<![\w:])[0-9a-f]{0,4}:[0-9a-f:.]*:[0-9a-f:.]*", re.IGNORECASE)


def message(record: logging.LogRecord, *, ours: bool) -> str:
    """A record's message. Of a library's, only the first line, without what tells where something is."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001 (arguments that don't fit, or whose text can't be made)
        text = str(record.msg)
    return cut(text if ours else masked(text.partition("\n")[0]))


def cut(text: str, most: int = MAX_TEXT) -> str:
    """The text with no more than so many characters, as Unicode that every reader takes."""
    if len(text) > most:
        text = text[:most] + "…"
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def masked(text: str) -> str:
    """The text without URLs and IP addresses."""
    text = _IPV4.sub("<address>", _URL.sub("<url>", text))
    return _IPV6.sub(_mask_address, text) if ":" in text else text


def _mask_address(match: re.Match[str]) -> str:
    found = match[0].rstrip(".:") if not match[0].endswith("::") else match[0]
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return match[0]
    return "<address>" + match[0][len(found) :]


def printable(text: str) -> str:
    """The text with everything escaped that could move a cursor, colour a terminal, or begin a line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def exception(error: BaseException) -> str:
    """Where an error came from: its chain, each with its frames, type and, where that is safe, text.

    Only our own errors and plain operating system errors say what they say; any other text may hold a secret's value.
    """
    parts = [part for link in _chain(error, MAX_CHAIN) for part in _shown(link)]
    return cut("\n".join(parts), MAX_EXCEPTION)


def _chain(error: BaseException, left: int) -> Iterator[BaseException]:
    """Causes first, as in a traceback; the members of a group before the group."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if left and before is not None:
        yield from _chain(before, left - 1)
    if left and isinstance(error, BaseExceptionGroup):
        for member in error.exceptions[:MAX_CHAIN]:
            yield from _chain(member, left - 1)
    yield error


def _shown(error: BaseException) -> Iterator[str]:
    for frame in traceback.extract_tb(error.__traceback__, limit=-FRAMES):
        yield f'  File "{frame.filename}", line {frame.lineno}, in {frame.name}'
        if frame.line:
            yield f"    {frame.line}"
    yield type(error).__name__ + _text(error)


def _text(error: BaseException) -> str:
    plain = isinstance(error, OSError) and type(error).__module__ == "builtins"
    return f": {masked(str(error))}" if isinstance(error, HooklineError) or plain else ""
