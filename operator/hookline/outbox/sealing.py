"""The outbox keeps what tenants send unreadable for those who get hold of its file, when a key is configured.

In: a file of keys, and bytes with the identity of their row. Out: the number of the key and the sealed bytes, to be
stored side by side, and the bytes again. ``sqlite_messages`` and ``sqlite_marks`` seal bodies and last-seen objects.

AES-256-GCM (NIST SP 800-38D): a sealed value is a random nonce of 12 bytes, the ciphertext and a tag of 16 bytes. The
row's identity is authenticated with it: what is moved to another row can't be opened there, nor can a message whose
headers, order or ground were changed beside it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hookline.errors import SealBroken, SettingsError, StoreKeyMissing

KEY_BYTES = 32
_NONCE_BYTES = 12
SEAL_BYTES = _NONCE_BYTES + 16
"""What sealing adds to a value; sizes of messages don't count it."""
_SETTING = "outbox_key_file"
_HINT = "write one key a line, 32 random bytes in base64, the one to seal with first (openssl rand -base64 32)"


class Identity(NamedTuple):
    """What a sealed value belongs to: its name in errors, and what is authenticated with it."""

    name: str
    parts: tuple[str | bytes, ...]


class Sealing:
    """The keys of one outbox: the first seals, all open. Without any, bytes stay as they are.

    ``nonce`` gives so many random bytes. A key may seal 2^32 values (NIST SP 800-38D, section 8.3).
    """

    __slots__ = ("_current", "_keys", "_nonce")

    def __init__(self, keys: Sequence[bytes] = (), nonce: Callable[[int], bytes] = os.urandom) -> None:
        self._keys = {number_of(key): AESGCM(key) for key in keys}
        self._current = number_of(keys[0]) if keys else None
        self._nonce = nonce

    @property
    def current(self) -> int | None:
        """The number of the key that seals; None without one."""
        return self._current

    def seal(self, identity: Identity, clear: bytes) -> tuple[int | None, bytes]:
        """The number of the key (None: not sealed), and what to store."""
        if self._current is None:
            return None, clear
        nonce = self._nonce(_NONCE_BYTES)
        return self._current, nonce + self._keys[self._current].encrypt(nonce, clear, _bound(identity.parts))

    def open(self, identity: Identity, number: int | None, stored: bytes) -> bytes:
        """What was sealed for this row.

        Raises StoreKeyMissing without its key, SealBroken when it was changed or is another row's.
        """
        if number is None:
            return stored
        key = self._keys.get(number)
        if key is None:
            raise missing([number])
        try:
            return key.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], _bound(identity.parts))
        except (InvalidTag, ValueError):
            raise SealBroken(
                f"the outbox: what is stored for {identity.name} was changed, or moved from another row"
            ) from None

    def check(self, numbers: Iterable[int]) -> None:
        """Make sure that all these keys are here. Raises StoreKeyMissing that names those that are not."""
        if unknown := [number for number in numbers if number not in self._keys]:
            raise missing(unknown)


def message_of(
    subscription: str,
    ident: str,
    sequence: int,
    object_uid: str,
    event_type: str,
    ground: str,
    headers: bytes,
    *,
    whole: bool = True,
) -> Identity:
    """The identity of a message: all that never changes of it but its body. ``headers`` as they are stored.

    Not ``whole``: as versions before the schema's second sealed it, which knew the first two alone.
    """
    name = f"message {ident} of subscription {subscription}"
    if not whole:
        return Identity(name, ("message", subscription, ident))
    known = (subscription, ident, str(sequence), object_uid, event_type, ground, headers)
    return Identity(name, ("whole message", *known))


def last_seen_of(scope_key: str, uid: str, version: str) -> Identity:
    """The identity of a last-seen object: where it was seen, its uid and its resourceVersion."""
    return Identity(f"object {uid} as last seen in {scope_key}", ("seen", scope_key, uid, version))


def number_of(key: bytes) -> int:
    """The key's number: 31 bits of a hash, which tell nothing of the key."""
    return int.from_bytes(hashlib.sha256(b"hookline outbox key" + key).digest()[:4]) >> 1


def missing(numbers: Iterable[int]) -> StoreKeyMissing:
    """The error for keys that are not here."""
    names = ", ".join(f"{number:08x}" for number in numbers)
    return StoreKeyMissing(
        f"the outbox holds what was sealed with a key that is not configured ({names}): add that key to the file that "
        f"{_SETTING} names, after the first one. Nothing was changed"
    )


def read_keys(path: str) -> tuple[bytes, ...]:
    """The keys in a file; none for an empty path. Raises SettingsError, which never shows a key."""
    if not path:
        return ()
    try:
        lines = Path(path).read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{_SETTING}: {path!r} can't be read ({type(error).__name__}); {_HINT}") from None
    if not lines:
        raise SettingsError(f"{_SETTING}: {path!r} has no key; {_HINT}")
    keys = tuple(_key(path, index, line) for index, line in enumerate(lines, 1))
    if len({number_of(key) for key in keys}) < len(keys):
        raise SettingsError(f"{_SETTING}: {path!r} has a key twice; {_HINT}")
    return keys


def _key(path: str, index: int, line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise SettingsError(f"{_SETTING}: key {index} of {path!r} is malformed; {_HINT}")
    return raw


def _bound(parts: Iterable[str | bytes]) -> bytes:
    """The parts of an identity as bytes, each with its length before it: no two of them look alike."""
    raw = [part if isinstance(part, bytes) else part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4) + part for part in raw)
