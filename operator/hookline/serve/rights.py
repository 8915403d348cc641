"""What a user may: each request is a question to the API server (SubjectAccessReview), which knows RBAC.

In: an ``Identity`` and what it wants. Out: nothing, or Refused. An answer is believed for ``KNOWN_SECONDS``.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from hookline import reasons
from hookline.errors import ApiError
from hookline.serve.limits import Clock, Memory, Reviews
from hookline.serve.refusals import Refused, too_many, unavailable
from hookline.serve.tokens import Api, Identity

PATH = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
SUBRESOURCE = "deliveries"
KNOWN_SECONDS = 5.0
KNOWN_ANSWERS = 8192
PARALLEL = 8
TIMEOUT_SECONDS = 5.0


class Wish(NamedTuple):
    """What somebody wants: ``list``, ``get`` or ``watch`` the deliveries of one subscription."""

    verb: str
    namespace: str
    name: str


class Rights:
    """The reviews. ``clock`` is monotonic seconds."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self._api = api
        self._clock = clock
        self._known: Memory[bool] = Memory(KNOWN_ANSWERS, KNOWN_SECONDS, clock)
        self._reviews = Reviews(clock)
        self._places = asyncio.Semaphore(PARALLEL)

    async def check(self, who: Identity, wish: Wish) -> None:
        """Return when it is allowed. Raises Refused: 403, 429 or 503."""
        key = (who.key, wish)
        allowed = self._known.get(key)
        if allowed is None:
            if not self._reviews.take(key, who.tenant):
                raise too_many("too many different things are asked for")
            asked = self._clock()
            allowed = await self._review(who, wish)
            self._known.put(key, allowed, asked)
            if allowed:
                self._reviews.good(key, who.tenant, asked)
        if not allowed:
            raise forbidden(who, wish)

    async def _review(self, who: Identity, wish: Wish) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": who.name,
                "uid": who.uid,
                "groups": [*who.groups],
                "extra": {kind: [*values] for kind, values in who.extra.items()},
                "resourceAttributes": {
                    "verb": wish.verb,
                    "group": reasons.GROUP,
                    "version": reasons.VERSION,
                    "resource": reasons.PLURAL,
                    "subresource": SUBRESOURCE,
                    "namespace": wish.namespace,
                    "name": wish.name,
                },
            },
        }
        try:
            async with self._places:
                answer: Any = await self._api.request("POST", PATH, body=review, timeout=TIMEOUT_SECONDS)
            status = answer["status"]
            return status.get("allowed") is True and status.get("denied") is not True
        except (ApiError, KeyError, TypeError, AttributeError):
            raise unavailable("the API server can't be asked what you may do") from None


def forbidden(who: Identity, wish: Wish) -> Refused:
    """The refusal in the API server's own words."""
    return Refused(
        403,
        "Forbidden",
        f'{reasons.PLURAL}.{reasons.GROUP} "{wish.name}" is forbidden: User "{who.name}" cannot {wish.verb} resource '
        f'"{reasons.PLURAL}/{SUBRESOURCE}" in API group "{reasons.GROUP}" in the namespace "{wish.namespace}"',
    )
