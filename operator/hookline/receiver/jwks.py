"""Public keys out of a JSON Web Key Set, as the sender publishes at ``/.well-known/jwks.json``.

In: the parsed document; fetch it once, over https, from an address that you know (never one named in a request).
Out: ``whpk_`` keys for ``hookline.receiver.verifier.Verifier``.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from hookline.errors import SettingsError
from hookline.keys import PUBLIC_PREFIX
from hookline.receiver.verifier import MOST_PUBLIC_KEYS

_X = re.compile("[A-Za-z0-9_-]{43}")


def keys_from_jwks(document: Mapping[str, Any]) -> tuple[str, ...]:
    """The ed25519 keys of a set (RFC 7517; RFC 8037: ``kty`` OKP, ``crv`` Ed25519), as ``whpk_…``.

    Keys of other kinds or uses are left out (RFC 7517, section 5). Raises SettingsError when the document is no key
    set, a key of ours is malformed or private, or none is left.
    """
    entries = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise SettingsError('jwks: it must be a JSON object with a list "keys" (RFC 7517)')
    found = [_public(index, entry) for index, entry in enumerate(entries) if _ours(entry)]
    if not 0 < len(found) <= MOST_PUBLIC_KEYS:
        raise SettingsError(
            f"jwks: it must hold 1 to {MOST_PUBLIC_KEYS} keys of kty OKP and crv Ed25519, not {len(found)}"
        )
    return tuple(found)


def _ours(entry: object) -> bool:
    return (
        isinstance(entry, Mapping)
        and entry.get("kty") == "OKP"
        and entry.get("crv") == "Ed25519"
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", "EdDSA") in ("EdDSA", "Ed25519")  # RFC 8037; RFC 9864 renames it
    )


def _public(index: int, entry: Mapping[str, Any]) -> str:
    if "d" in entry:
        raise SettingsError(
            f"jwks.keys[{index}]: it holds a private key; replace that key, and publish only public ones"
        )
    text = entry.get("x")
    if not isinstance(text, str) or not _X.fullmatch(text):
        raise SettingsError(f'jwks.keys[{index}]: "x" must be 32 bytes in base64url without padding (RFC 8037)')
    raw = base64.urlsafe_b64decode(text + "=")
    return PUBLIC_PREFIX + base64.b64encode(raw).decode("ascii")
