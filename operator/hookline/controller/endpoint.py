"""The last segment of a destination's path, where the operator makes one that nobody can guess.

In: a URL and the subscription. Out: the URL with 256 random bits at the end of its path. They are made once, and kept
in a Secret that the receiver's owner reads; nothing else ever shows them. Who deletes the Secret gets another one.
"""

from __future__ import annotations

import re
import secrets as random
from collections.abc import Mapping

from hookline import reasons
from hookline.controller.secrets import Secrets, secret_name, text_of
from hookline.errors import NotReadyError
from hookline.spec import Subscription

KEY = "path"
LONGEST_URL = 2048
_BYTES = 32
_SEGMENT = re.compile(r"[A-Za-z0-9_-]{43,128}")


def path_secret_name(subscription: str) -> str:
    """``<subscription>-endpoint``, shortened where it must be."""
    return secret_name(subscription, "endpoint")


async def with_generated_path(url: str, subscription: Subscription, secrets: Secrets) -> str:
    """``url`` with the generated segment as the last one of its path, before a query. Raises NotReadyError."""
    name = path_secret_name(subscription.name)
    secret = await secrets.own(subscription, name, "endpoint", _new)
    segment = text_of(secret, name, KEY)
    if not _SEGMENT.fullmatch(segment):
        message = f"Secret {name!r}: {KEY!r} must be 43 to 128 letters, digits, - or _; delete it to get another one"
        raise NotReadyError(reasons.SECRET_INVALID, message)
    address, mark, query = url.partition("?")
    whole = f"{address.removesuffix('/')}/{segment}{mark}{query}"
    if len(whole) > LONGEST_URL:
        message = f"the URL must leave room for a generated path: at most {LONGEST_URL} characters together"
        raise NotReadyError(reasons.DESTINATION_REFUSED, message)
    return whole


def _new() -> Mapping[str, str]:
    return {KEY: random.token_urlsafe(_BYTES)}
