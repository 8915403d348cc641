"""Read the outline of JSON that the parser refuses: nested too deep, a lone surrogate, a number out of range.

In: the raw bytes of one value, structurally sound. Out: the raw bytes of its members or elements, one level down.
So one hostile object costs neither the rest of its page nor the position in the stream. Without recursion, and only
used for what could not be decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import orjson

_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]', re.DOTALL)


def members(raw: bytes) -> dict[str, bytes]:
    """The members of a JSON object, values undecoded. Raises ValueError when ``raw`` is no complete object."""
    found: dict[str, bytes] = {}
    for part in _parts(raw, b"{", b"}"):
        match = _TOKEN.match(part)
        if match is None:
            raise ValueError("a member has no key")
        found[str(orjson.loads(match.group()))] = part[match.end() :].lstrip().removeprefix(b":").strip()
    return found


def elements(raw: bytes) -> list[bytes]:
    """The elements of a JSON array, undecoded. Raises ValueError when ``raw`` is no complete array."""
    return list(_parts(raw, b"[", b"]"))


def _parts(raw: bytes, opening: bytes, closing: bytes) -> Iterator[bytes]:
    """The comma-separated parts of the outermost container."""
    depth, start = 0, 0
    for match in _TOKEN.finditer(raw):
        token = match.group()
        if token in (b"{", b"["):
            depth += 1
            if depth == 1:
                if token != opening or raw[: match.start()].strip():
                    raise ValueError("another kind of value was expected")
                start = match.end()
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                last = raw[start : match.start()].strip()
                if last:
                    yield last
                if token != closing or raw[match.end() :].strip():
                    raise ValueError("the value ends in an unexpected way")
                return
        elif token == b"," and depth == 1:
            yield raw[start : match.start()].strip()
            start = match.end()
    raise ValueError("the value is not complete")
