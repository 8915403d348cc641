"""The public keys of one subscription as a JSON Web Key Set, for receivers that fetch keys.

In: the names of a subscription, and its ed25519 keys as ``whpk_…``. Out: the document of ``/.well-known/jwks.json``
(RFC 7517; RFC 8037 for Ed25519). There is no set of all subscriptions: who trusted that would trust each tenant's key,
and so take any tenant's messages for those of its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from hookline.keys import parse_ed25519_public

PATH = "/.well-known/jwks.json"
MAX_AGE_SECONDS = 300
PublicKeys = Callable[[str, str], Sequence[str] | None]
"""The keys of a subscription by namespace and name, newest first; None: this process can't know."""

_USAGE = "name one subscription: /.well-known/jwks.json?subscription=<namespace>/<name>\n"


def key_set(keys: Sequence[str]) -> bytes:
    """The document. ``kid`` is the key's thumbprint (RFC 7638), which tells nothing of whose it is."""
    return orjson.dumps({"keys": [_entry(key) for key in keys]})


def answering(keys: PublicKeys, max_age: int) -> Callable[[web.Request], web.Response]:
    """Answers requests for a set, which may be kept for ``max_age`` seconds.

    A subscription without keys and one that does not exist look alike: an empty set.
    """

    def answer(request: web.Request) -> web.Response:
        namespace, _, name = request.query.get("subscription", "").partition("/")
        if not (namespace and name):
            return web.Response(status=400, text=_USAGE)
        found = keys(namespace, name)
        if found is None:
            text = "the keys are not known yet, or another process leads: ask again\n"
            return web.Response(status=503, text=text, headers={"retry-after": "5"})
        headers = {"cache-control": f"public, max-age={max_age if found else 0}"}
        return web.Response(body=key_set(found), content_type="application/jwk-set+json", headers=headers)

    return answer


def _entry(key: str) -> dict[str, str]:
    x = _base64url(parse_ed25519_public(key))
    # RFC 8037, appendix A.3: the required members alone, in this order and without white space.
    thumbprint = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": _base64url(thumbprint), "use": "sig", "alg": "EdDSA"}


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
