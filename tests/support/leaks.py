"""Finds a secret in whatever text or bytes, also in the forms that code gives to it by accident.

In: named secrets. Out: the names of those that are there, and in which form.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus


def canary(what: str) -> str:
    """A secret that nothing else looks like, with characters that URLs, JSON and HTML each write differently."""
    return f"canary+{what.replace(' ', '-')}&{secrets.token_hex(16)}"


def forms(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """How a secret may appear: (name of the form, bytes)."""
    yield "raw", secret
    yield "hex", secret.hex().encode()
    yield "HEX", secret.hex().upper().encode()
    for start in range(3):  # base64 of a longer text that has it in the middle
        padded = bytes(start) + secret
        first, last = (start * 8 + 5) // 6, len(padded) * 8 // 6
        yield f"base64 at {start}", base64.b64encode(padded)[first:last]
        yield f"base64url at {start}", base64.urlsafe_b64encode(padded)[first:last]
    text = secret.decode("latin-1")
    yield "percent-encoded", quote(text, safe="", encoding="latin-1").encode()
    yield "form-encoded", quote_plus(text, encoding="latin-1").encode()
    yield "JSON", json.dumps(text)[1:-1].encode()
    yield "Python", repr(secret)[2:-1].encode()


def leaks(canaries: Mapping[str, bytes], places: Mapping[str, bytes]) -> list[str]:
    """``name of the secret in place (form)``, for each that is found."""
    return [
        f"{name} in {place} ({form})"
        for name, secret in canaries.items()
        for form, spelling in forms(secret)
        for place, content in places.items()
        if spelling in content
    ]
