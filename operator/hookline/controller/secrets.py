"""Secrets by name: read, watched by polling, and, for signing keys, made once.

Polling by ``get`` keeps the operator's rights at that verb: a watch would need ``list`` on a namespace's Secrets, which
shows all of them. See docs/decisions/0003-secrets-are-polled.md.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hookline import keys, reasons
from hookline.errors import ApiError, Conflict, HooklineError, InvalidKey, NotReadyError, NotServed
from hookline.model import SigningKeys
from hookline.spec import SecretRef, Subscription

log = logging.getLogger(__name__)
Name = tuple[str, str]


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        """One request; raises ApiError."""
        ...


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as read: its version and decoded values, the subscriptions (uids) that own it, whether it is deleted."""

    version: str
    data: Mapping[str, bytes] = field(repr=False)
    owners: frozenset[str] = frozenset()
    deleting: bool = False


class Secrets:
    """Reads Secrets by name, and tells ``on_change`` the names of those that became other than last read."""

    def __init__(self, api: Api, on_change: Callable[[Iterable[Name]], None]) -> None:
        self._api = api
        self._on_change = on_change
        self._versions: dict[Name, str] = {}  # the empty version: it was absent

    async def read(self, namespace: str, name: str) -> Secret:
        """Read one Secret. Raises NotReadyError (SecretNotFound) when it is absent or forbidden: both look alike."""
        try:
            raw = await self._get(namespace, name)
        except NotServed:
            raw = None
        except ApiError as error:
            if error.status not in (401, 403):
                raise
            raw = None
        if raw is None:
            self._versions[namespace, name] = ""
            raise NotReadyError(reasons.SECRET_NOT_FOUND, f"Secret {name!r} was not found in this namespace: create it")
        secret = _decode(raw)
        self._versions[namespace, name] = secret.version
        return secret

    async def value(self, namespace: str, ref: SecretRef) -> str:
        """One value as text. Raises NotReadyError naming the Secret and the key."""
        secret = await self.read(namespace, ref.name)
        return text_of(secret, ref.name, ref.key)

    async def signing_keys(self, subscription: Subscription) -> tuple[str, SigningKeys, tuple[str, ...]]:
        """The name of the signing Secret, its keys, and the public ones as ``whpk_…``.

        Makes the Secret when the subscription names none and it is absent; never changes one. Raises NotReadyError.
        """
        name = subscription.signing_secret or signing_secret_name(subscription.name)
        try:
            secret = await self.read(subscription.namespace, name)
        except NotReadyError:
            if subscription.signing_secret:
                raise
            await self._create_signing_secret(subscription, name)
            secret = await self.read(subscription.namespace, name)
        if not subscription.signing_secret:
            _refuse_leftover(secret, name, subscription)
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

    def forget(self, names: Iterable[Name]) -> None:
        """Stop looking at Secrets that nobody refers to any more."""
        for name in names:
            self._versions.pop(name, None)

    async def poll(self) -> None:
        """Look at every Secret read so far once, and tell ``on_change`` what is no longer as it was read."""
        changed = []
        for (namespace, name), version in list(self._versions.items()):
            try:
                now = (await self._get(namespace, name))["metadata"]["resourceVersion"]
            except HooklineError as error:
                if not isinstance(error, ApiError) or error.status not in (401, 403, 404):
                    log.debug("secret can't be looked at", extra={"namespace": namespace, "secret": name})
                    continue
                now = ""
            if now != version:
                changed.append((namespace, name))
            await asyncio.sleep(0)
        if changed:
            self._on_change(changed)

    async def _get(self, namespace: str, name: str) -> Any:
        return await self._api.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")

    async def _create_signing_secret(self, subscription: Subscription, name: str) -> None:
        seed = keys.new_ed25519()
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": f"{reasons.GROUP}/signing-key",
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
            "stringData": {
                "v1": keys.encode_hmac(keys.new_hmac()),
                "v1a": keys.encode_ed25519_private(seed),
                "v1a.pub": keys.encode_ed25519_public(seed),
            },
        }
        try:
            await self._api.request("POST", f"/api/v1/namespaces/{subscription.namespace}/secrets", body=body)
            log.info("made a signing Secret", extra={"subscription": f"{subscription.namespace}/{subscription.name}"})
        except Conflict:
            log.debug("the signing Secret is there already")


def signing_secret_name(subscription: str) -> str:
    """``<subscription>-signing``, shortened with a hash where that is no legal name any more (253 characters)."""
    name = f"{subscription}-signing"
    if len(name) <= 253:
        return name
    return f"{subscription[:228]}-{hashlib.sha256(subscription.encode()).hexdigest()[:16]}-signing"


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
