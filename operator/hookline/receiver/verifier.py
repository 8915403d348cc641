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
import math
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

LARGE = 1 << 16
"""Bytes of a body from which on ``verify`` takes long enough (over 0.1 ms a key) to be called in a thread."""

MOST_PUBLIC_KEYS = 16
"""Each may cost a verification per ``v1a`` signature of a forged request: 2 ms for a body of 2 MiB."""

_MOST_SIGNATURES = 16  # more than any rotation needs
_MOST_V1A = 4  # as many keys of a scheme as Hookline signs with at the same time
_V1A_BYTES, _V1A_CHARACTERS = 64, 88
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

    ``tolerance`` is in seconds, both ways; ``clock`` gives Unix time. Raises SettingsError for a malformed key, for
    none, for more than ``MOST_PUBLIC_KEYS`` ``whpk_`` ones, and for a tolerance that is no number of seconds.
    """

    def __init__(
        self, keys: Sequence[str], tolerance: float = TOLERANCE_SECONDS, clock: Callable[[], float] = time.time
    ) -> None:
        if not 0 <= tolerance < math.inf:  # NaN is greater than nothing: every timestamp would be fresh
            raise SettingsError("tolerance: it must be a number of seconds, 0 or more")
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
        if len(self._ed25519) > MOST_PUBLIC_KEYS:
            raise SettingsError(f"keys: at most {MOST_PUBLIC_KEYS} whpk_ keys; give each sender an endpoint of its own")
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
        if not self._matches(signed, signatures[:_MOST_SIGNATURES]):
            raise SignatureMismatch("webhook-signature: no signature matches; check the key, and verify the raw body")
        return Verified(message_id, timestamp)

    def _matches(self, signed: bytes, signatures: Sequence[str]) -> bool:
        # Compared as text: base64 has spellings of one value that a decoder would let pass.
        expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in self._hmac]
        given = [signature.encode("ascii") for signature in signatures]
        if any(hmac.compare_digest(theirs, mine) for theirs in given for mine in expected):
            return True
        # Last, and few: each of these reads the whole message again, for each key.
        found = dict.fromkeys(raw for text in signatures if (raw := _ed25519_signature(text)) is not None)
        return any(_ed25519_ok(key, raw, signed) for raw in list(found)[:_MOST_V1A] for key in self._ed25519)


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


def _ed25519_signature(text: str) -> bytes | None:
    """The 64 bytes of ``v1a,…``; None when it is something else, or base64 that no encoder writes."""
    scheme, _, encoded = text.partition(",")
    if scheme != "v1a" or len(encoded) != _V1A_CHARACTERS:
        return None
    try:
        raw = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return None
    return raw if len(raw) == _V1A_BYTES and base64.b64encode(raw).decode("ascii") == encoded else None


def _ed25519_ok(key: Ed25519PublicKey, raw: bytes, signed: bytes) -> bool:
    try:
        key.verify(raw, signed)
    except InvalidSignature:
        return False
    return True


def _webhook_headers(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else headers:
        lower = name.lower()
        if lower in _NAMES:
            if lower in found:  # the application could read the one that was not verified
                raise MissingHeader(f"{lower}: the header is there twice")
            if not value.isascii():
                raise MissingHeader(f"{lower}: the header is malformed; it must be ASCII")
            found[lower] = value
    return found


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = headers.get(name, "")
    if not form.fullmatch(value):
        raise MissingHeader(f"{name}: the header is absent or malformed")
    return value
