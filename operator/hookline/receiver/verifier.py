"""Checks that a request was signed by one of the keys that a receiver trusts, and not too long ago.

In: the headers and the exact bytes of the body as they arrived. Out: ``Verified``, or a ``VerificationError``.
Standard Webhooks 1.0.0, ``v1`` (HMAC-SHA256) and ``v1a`` (ed25519). Each message only once: ``hookline.receiver.once``.
Public keys from a JSON Web Key Set: ``hookline.receiver.jwks``. In front of an application: ``hookline.receiver.asgi``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hookline.errors import InvalidKey, MissingHeader, SettingsError, SignatureMismatch, TimestampOutOfTolerance
from hookline.keys import PUBLIC_PREFIX, parse_ed25519_public, parse_hmac

TOLERANCE_SECONDS = 300.0
"""As in all libraries of Standard Webhooks."""

_MAX_SIGNATURES = 16  # more than any rotation needs; each may cost an ed25519 verification
_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,256}")  # no dot: it separates what is signed
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""The headers of a request: any mapping, or pairs. Names in any case."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A request that can be trusted: ``id`` names the event (the same on every attempt), ``timestamp`` the attempt."""

    id: str
    timestamp: int


class Verifier:
    """Verifies against any of some keys, ``whsec_…`` or ``whpk_…``; several during a rotation.

    ``tolerance`` is in seconds, both ways; ``clock`` gives Unix time. Raises SettingsError for a malformed key or none.
    """

    def __init__(
        self, keys: Sequence[str], tolerance: float = TOLERANCE_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        if not keys:
            raise SettingsError("keys: there must be at least one whsec_ or whpk_ key to verify with")
        self._hmac: list[bytes] = []
        self._ed25519: list[Ed25519PublicKey] = []
        for key in keys:
            try:
                if key.strip().startswith(PUBLIC_PREFIX):
                    self._ed25519.append(Ed25519PublicKey.from_public_bytes(parse_ed25519_public(key)))
                else:
                    self._hmac.append(parse_hmac(key))
            except InvalidKey as error:
                raise SettingsError(f"keys: {error}") from None
        self._tolerance = tolerance
        self._clock = clock

    def verify(self, headers: Headers, body: bytes) -> Verified:
        """Check one request. ``body`` must be the bytes as they came, not parsed and written again.

        Raises MissingHeader, TimestampOutOfTolerance or SignatureMismatch.
        """
        found = _webhook_headers(headers)
        message_id = _header(found, "webhook-id", _ID)
        written = _header(found, "webhook-timestamp", _TIMESTAMP)
        timestamp = int(written)
        signatures = found.get("webhook-signature", "").split()
        if not signatures:
            raise MissingHeader("webhook-signature: the header is absent or empty")
        if abs(self._clock() - timestamp) > self._tolerance:
            raise TimestampOutOfTolerance(
                f"webhook-timestamp: more than {self._tolerance:.0f} s from this machine's clock; "
                "it is a replay, or one of the clocks is wrong"
            )
        signed = f"{message_id}.{written}.".encode("ascii") + body
        if not self._matches(signed, signatures[:_MAX_SIGNATURES]):
            raise SignatureMismatch("webhook-signature: no signature matches; check the key, and verify the raw body")
        return Verified(message_id, timestamp)

    def _matches(self, signed: bytes, signatures: Sequence[str]) -> bool:
        # Compared as text: base64 has spellings of one value that a decoder would let pass.
        expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in self._hmac]
        for signature in signatures:
            given = signature.encode()
            if any(hmac.compare_digest(given, mine) for mine in expected):
                return True
            if signature.startswith("v1a,") and any(_ed25519_ok(key, signature[4:], signed) for key in self._ed25519):
                return True
        return False


def verify(
    keys: Sequence[str],
    headers: Headers,
    body: bytes,
    *,
    tolerance: float = TOLERANCE_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Verified:
    """``Verifier(keys, …).verify(headers, body)`` for one request; keep a Verifier where there are many."""
    return Verifier(keys, tolerance, clock).verify(headers, body)


def _ed25519_ok(key: Ed25519PublicKey, text: str, signed: bytes) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
        if base64.b64encode(raw).decode("ascii") != text:
            return False
        key.verify(raw, signed)
    except (binascii.Error, ValueError, InvalidSignature):
        return False
    return True


def _webhook_headers(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        lower = name.lower()
        if lower in _NAMES:
            if lower in found:  # the application could read the one that was not verified
                raise MissingHeader(f"{lower}: the header is there twice")
            found[lower] = value
    return found


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = headers.get(name, "")
    if not form.fullmatch(value):
        raise MissingHeader(f"{name}: the header is absent or malformed")
    return value
