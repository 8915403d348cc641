"""Standard Webhooks signatures: ``v1`` (HMAC-SHA256) and ``v1a`` (ed25519) over the exact bytes that are sent.

In: the keys of a target. Out: the value of ``webhook-signature``. ``hookline.keys`` knows the text form of keys,
``hookline.receiver.verifier`` checks signatures.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hookline.errors import NotReadyError
from hookline.model import SigningKeys

HMAC_SCHEME = "v1"
ED25519_SCHEME = "v1a"


class Signer:
    """Signs messages with every key of the wanted schemes. Keys are prepared once: this is on the hot path.

    Raises NotReadyError when no key is left: an unsigned message must never go out.
    """

    __slots__ = ("_ed25519", "_hmac")

    def __init__(self, keys: SigningKeys, schemes: Sequence[str]) -> None:
        self._hmac = [hmac.new(key, digestmod=hashlib.sha256) for key in keys.hmac] if HMAC_SCHEME in schemes else []
        self._ed25519 = (
            [Ed25519PrivateKey.from_private_bytes(seed) for seed in keys.ed25519] if ED25519_SCHEME in schemes else []
        )
        if not self._hmac and not self._ed25519:
            raise NotReadyError("NoSigningKey", "the signing Secret has no key for any of the schemes; add one")

    def sign(self, message_id: str, timestamp: int, body: bytes) -> str:
        """The value of ``webhook-signature``: a space-separated list, first every ``v1``, then every ``v1a``.

        ``timestamp`` is that of the attempt, in whole Unix seconds; ``message_id`` has no dot.
        """
        prefix = f"{message_id}.{timestamp}.".encode()
        signatures = []
        for keyed in self._hmac:
            state = keyed.copy()
            state.update(prefix)
            state.update(body)
            signatures.append("v1," + base64.b64encode(state.digest()).decode("ascii"))
        if self._ed25519:
            signed = prefix + body
            signatures += ["v1a," + base64.b64encode(private.sign(signed)).decode("ascii") for private in self._ed25519]
        return " ".join(signatures)
