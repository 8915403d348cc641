"""The keys that sign, and their text forms by Standard Webhooks (Secrets, status and receivers use the same).

In: random bytes, or text as a Secret holds it. Out: text, or the raw bytes that ``SigningKeys`` carries.
``whsec_`` is an HMAC secret of 24 to 64 bytes; ``whsk_`` an ed25519 seed and its public key, 64 bytes, as Svix writes
it; ``whpk_`` an ed25519 public key. All are standard base64. ``hookline.deliver.sign`` signs with them.
"""

from __future__ import annotations

import base64
import binascii
import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hookline.errors import InvalidKey

HMAC_PREFIX = "whsec_"
PRIVATE_PREFIX = "whsk_"
PUBLIC_PREFIX = "whpk_"

_HMAC_SIZES = range(24, 65)  # Standard Webhooks, "Signature scheme": between 24 and 64 bytes
_SEED_SIZE = 32


def new_hmac() -> bytes:
    """A fresh HMAC secret: 32 bytes of the system's randomness."""
    return os.urandom(32)


def encode_hmac(secret: bytes) -> str:
    """``whsec_…`` of a raw secret."""
    return HMAC_PREFIX + _encode(secret)


def parse_hmac(text: str) -> bytes:
    """The raw secret of ``whsec_…``, surrounding white space allowed.

    Raises InvalidKey when it is malformed or not 24 to 64 bytes long.
    """
    secret = _decode(text, HMAC_PREFIX)
    if len(secret) not in _HMAC_SIZES:
        raise _malformed(HMAC_PREFIX, f"24 to 64 bytes, and it has {len(secret)}")
    return secret


def new_ed25519() -> bytes:
    """A fresh ed25519 seed, 32 bytes."""
    return os.urandom(_SEED_SIZE)


def encode_ed25519_private(seed: bytes) -> str:
    """``whsk_…`` of a seed: base64 of seed and public key."""
    return PRIVATE_PREFIX + _encode(seed + _public(seed))


def encode_ed25519_public(seed: bytes) -> str:
    """``whpk_…``, the public key that belongs to a seed."""
    return PUBLIC_PREFIX + _encode(_public(seed))


def parse_ed25519_private(text: str) -> bytes:
    """The seed of ``whsk_…``.

    Raises InvalidKey when it is malformed or its halves don't belong together.
    """
    raw = _decode(text, PRIVATE_PREFIX)
    if len(raw) != 2 * _SEED_SIZE:
        raise _malformed(PRIVATE_PREFIX, f"64 bytes (seed and public key), and it has {len(raw)}")
    seed = raw[:_SEED_SIZE]
    if _public(seed) != raw[_SEED_SIZE:]:
        raise _malformed(PRIVATE_PREFIX, "a seed and its own public key, and the second half is of another key")
    return seed


def parse_ed25519_public(text: str) -> bytes:
    """The raw public key of ``whpk_…``, 32 bytes. Raises InvalidKey."""
    raw = _decode(text, PUBLIC_PREFIX)
    if len(raw) != _SEED_SIZE:
        raise _malformed(PUBLIC_PREFIX, f"32 bytes, and it has {len(raw)}")
    return raw


def _public(seed: bytes) -> bytes:
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _decode(text: str, prefix: str) -> bytes:
    body = text.strip()
    if not body.startswith(prefix):
        raise _malformed(prefix, f"text that begins with {prefix}")
    body = body[len(prefix) :]
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise _malformed(prefix, f"standard base64 after {prefix}") from None


def _malformed(prefix: str, expected: str) -> InvalidKey:
    return InvalidKey(f"a {prefix} key must be {expected}; replace it, or let Hookline make one")
