"""Secrets by name: read, watched by polling, and, for signing keys, made once.

Polling by ``get`` keeps the operator's rights at that verb: a watch would need ``list`` on a namespace's Secrets, which
shows all of them. See docs/decisions/0003-secrets-are-polled.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hookline import keys, reasons
from hookline.controller.polled import Api, Name, Polled
from hookline.errors import Conflict, InvalidKey, NotReadyError
from hookline.model import SigningKeys
from hookline.spec import SecretRef, Subscription

log = logging.getLogger(__name__)
PLURAL = "secrets"


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as read: its version and decoded values, the subscriptions (uids) that own it, whether it is deleted."""

    version: str
    data: Mapping[str, bytes] = field(repr=False)
    owners: frozenset[str] = frozenset()
    deleting: bool = False


class Secrets:
    """Reads Secrets by name; ``polled`` tells ``on_change`` of those that became other than last read."""

    def __init__(self, api: Api, on_change: Callable[[Iterable[Name]], None]) -> None:
        self._api = api
        self.polled = Polled(api, on_change)

    async def read(self, namespace: str, name: str) -> Secret:
        """Read one Secret. Raises NotReadyError (SecretNotFound) when it is absent or forbidden: both look alike."""
        raw = await self.polled.read((PLURAL, namespace, name))
        if raw is None:
            raise NotReadyError(reasons.SECRET_NOT_FOUND, f"Secret {name!r} was not found in this namespace: create it")
        return _decode(raw)

    async def value(self, namespace: str, ref: SecretRef) -> str:
        """One value as text. Raises NotReadyError naming the Secret and the key."""
        secret = await self.read(namespace, ref.name)
        return text_of(secret, ref.name, ref.key)

    async def signing_keys(self, subscription: Subscription) -> tuple[str, SigningKeys, tuple[str, ...]]:
        """The name of the signing Secret, its keys, and the public ones as ``whpk_…``.

        Makes the Secret when the subscription names none and it is absent; never changes one. Raises NotReadyError.
        """
        name = subscription.signing_secret or signing_secret_name(subscription.name)
        if subscription.signing_secret:
            secret = await self.read(subscription.namespace, name)
        else:
            secret = await self.own(subscription, name, "signing-key", _new_signing_keys)
        hmac_keys: tuple[bytes, ...] = ()
        seeds: tuple[bytes, ...] = ()
        try:
            if "v1" in subscription.schemes:
                hmac_keys = (keys.parse_hmac(text_of(secret, name, "v1")),)
            if "v1a" in subscription.schemes:
                seeds = (keys.parse_ed25519_private(text_of(secret, name, "v1a")),)
        except InvalidKey as error:
            raise NotReadyError(reasons.SECRET_INVALID, f"Secret {name!r}: {error}") from None
        return name, SigningKeys(hmac_keys, seeds), tuple(keys.encode_ed25519_public(seed) for seed in seeds)

    async def own(
        self, subscription: Subscription, name: str, kind: str, make: Callable[[], Mapping[str, str]]
    ) -> Secret:
        """A Secret that the operator keeps for a subscription, made with the values of ``make`` when it is absent.

        It is never changed afterwards. Raises NotReadyError while a deleted subscription's one of that name is left.
        """
        try:
            secret = await self.read(subscription.namespace, name)
        except NotReadyError:
            await self._create(subscription, name, kind, make())
            secret = await self.read(subscription.namespace, name)
        _refuse_leftover(secret, name, subscription)
        return secret

    async def _create(self, subscription: Subscription, name: str, kind: str, values: Mapping[str, str]) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": f"{reasons.GROUP}/{kind}",
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/managed-by": "hookline"},
                "ownerReferences": [
                    {
                        "apiVersion": f"{reasons.GROUP}/{reasons.VERSION}",
                        "kind": reasons.KIND,
                        "name": subscription.name,
                        "uid": subscription.uid,
                        "controller": True,
                    }
                ],
            },
            "stringData": dict(values),
        }
        try:
            await self._api.request("POST", f"/api/v1/namespaces/{subscription.namespace}/secrets", body=body)
            where = f"{subscription.namespace}/{subscription.name}"
            log.info("made a Secret", extra={"subscription": where, "secret": name})
        except Conflict:
            log.debug("the Secret is there already")


def signing_secret_name(subscription: str) -> str:
    """``<subscription>-signing``, shortened where it must be."""
    return secret_name(subscription, "signing")


def secret_name(subscription: str, what: str) -> str:
    """``<subscription>-<what>``, shortened with a hash where that is no legal name any more (253 characters)."""
    name = f"{subscription}-{what}"
    if len(name) <= 253:
        return name
    kept = 253 - len(what) - 18
    return f"{subscription[:kept]}-{hashlib.sha256(subscription.encode()).hexdigest()[:16]}-{what}"


def _new_signing_keys() -> dict[str, str]:
    seed = keys.new_ed25519()
    return {
        "v1": keys.encode_hmac(keys.new_hmac()),
        "v1a": keys.encode_ed25519_private(seed),
        "v1a.pub": keys.encode_ed25519_public(seed),
    }


def text_of(secret: Secret, name: str, key: str) -> str:
    """One value as text without surrounding white space (a file's last newline). Raises NotReadyError."""
    if key not in secret.data:
        raise NotReadyError(reasons.SECRET_NOT_FOUND, f"Secret {name!r} has no key {key!r}: add it")
    try:
        return secret.data[key].decode().strip()
    except UnicodeDecodeError:
        raise NotReadyError(reasons.SECRET_INVALID, f"Secret {name!r}: the value of {key!r} is no UTF-8 text") from None


def _refuse_leftover(secret: Secret, name: str, subscription: Subscription) -> None:
    """A deleted subscription of the same name leaves its Secret until the garbage collector comes: not to be used."""
    if secret.deleting or (secret.owners and subscription.uid not in secret.owners):
        what = "is being deleted" if secret.deleting else "belongs to a deleted subscription of the same name"
        raise NotReadyError(reasons.PENDING, f"Secret {name!r} {what}: waiting until it is gone, to make another")


def _decode(raw: Mapping[str, Any]) -> Secret:
    data = {}
    for key, value in (raw.get("data") or {}).items():
        try:
            data[key] = base64.b64decode(value, validate=True)
        except binascii.Error:
            continue
    metadata = raw["metadata"]
    owners = frozenset(
        owner["uid"]
        for owner in metadata.get("ownerReferences") or ()
        if owner["kind"] == reasons.KIND and owner["apiVersion"].partition("/")[0] == reasons.GROUP
    )
    return Secret(metadata["resourceVersion"], data, owners, "deletionTimestamp" in metadata)
