"""Secrets by name: read, watched by polling, and made where the operator keeps one of its own.

Polling by ``get`` keeps the operator's rights at that verb: a watch would need ``list`` on a namespace's Secrets, which
shows all of them. See docs/decisions/0003-secrets-are-polled.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any

from hookline import reasons
from hookline.controller.polled import Api, Name, Polled
from hookline.errors import Conflict, Forbidden, NotReadyError
from hookline.spec import SecretRef, Subscription

log = logging.getLogger(__name__)
PLURAL = "secrets"
MANAGED_BY = ("app.kubernetes.io/managed-by", "hookline")
ROTATED_FOR = "hookline.dev/rotated-for"
"""On a signing Secret: the value of the annotation ``hookline.dev/rotate-key`` that was carried out last."""
OVERLAP_SECONDS = 86_400.0
NONE: Mapping[str, str] = MappingProxyType({})
_MERGE_PATCH = "application/merge-patch+json"
_TOKENS = frozenset({"kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"})
"""Types of Secrets that are credentials of the cluster itself: never sent to anybody."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as read: its version and decoded values, the subscriptions (uids) that own it, whether it is deleted.

    ``managed`` says that it bears Hookline's label, ``rotated`` is the annotation ``ROTATED_FOR``. ``since`` has when
    whoever set an entry last wrote to the Secret, by the API server's own record; empty for a managed one. ``kind`` is
    its type.
    """

    version: str
    data: Mapping[str, bytes] = field(repr=False)
    owners: frozenset[str] = frozenset()
    deleting: bool = False
    managed: bool = False
    rotated: str = ""
    since: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""

    def serves(self, uid: str) -> bool:
        """Whether that subscription may refer to it: it is no token of the cluster, and not made for another one."""
        ours = self.managed or self.owners or self.kind.startswith(f"{reasons.GROUP}/")
        return self.kind not in _TOKENS and (not ours or uid in self.owners)


class Secrets:
    """Reads Secrets by name; ``polled`` tells ``on_change`` of those that became other than last read.

    ``overlap`` is how many seconds an old signing key signs beside a new one, ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        api: Api,
        on_change: Callable[[Iterable[Name]], None],
        overlap: float = OVERLAP_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self.overlap = overlap
        self.clock = clock
        self.polled = Polled(api, on_change)

    async def read(self, subscription: Subscription, name: str) -> Secret:
        """A Secret that the subscription refers to.

        Raises NotReadyError (SecretNotFound) when it is absent, forbidden, or not for it: all look alike.
        """
        secret = await self._found(subscription, name)
        if secret is None or not secret.serves(subscription.uid):
            message = f"Secret {name!r} was not found in this namespace, or is none to refer to: create it"
            raise NotReadyError(reasons.SECRET_NOT_FOUND, message)
        return secret

    async def value(self, subscription: Subscription, ref: SecretRef) -> str:
        """One value as text. Raises NotReadyError naming the Secret and the key."""
        secret = await self.read(subscription, ref.name)
        return text_of(secret, ref.name, ref.key)

    async def own(
        self,
        subscription: Subscription,
        name: str,
        kind: str,
        make: Callable[[], Mapping[str, str]],
        annotations: Mapping[str, str] = NONE,
    ) -> Secret:
        """A Secret that the operator keeps for a subscription, made with the values of ``make`` when it is absent.

        Only ``change`` changes it afterwards. Raises NotReadyError while a deleted subscription's one of that name is
        left, and when it may not be made.
        """
        secret = await self._found(subscription, name)
        if secret is None:
            await self._create(subscription, name, kind, make(), annotations)
            secret = await self._found(subscription, name)
        if secret is None:
            raise NotReadyError(reasons.SECRET_NOT_FOUND, f"Secret {name!r} was not found in this namespace")
        _refuse_leftover(secret, name, subscription)
        return secret

    async def change(
        self,
        namespace: str,
        name: str,
        secret: Secret,
        data: Mapping[str, str | None],
        annotations: Mapping[str, str] = NONE,
    ) -> Secret:
        """Change entries (in base64; None: remove) of a Secret of the operator's own that is as it was read.

        Raises Conflict when it is not so any more, ApiError.
        """
        assert secret.managed  # noqa: S101 (the caller looked, and nobody else's is ever written)
        metadata = {"resourceVersion": secret.version, "annotations": dict(annotations)}
        raw = await self._api.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}/secrets/{name}",
            body={"metadata": metadata, "data": dict(data)},
            content_type=_MERGE_PATCH,
        )
        return _decode(raw)

    async def _found(self, subscription: Subscription, name: str) -> Secret | None:
        raw = await self.polled.read((PLURAL, subscription.namespace, name))
        return None if raw is None else _decode(raw)

    async def _create(
        self,
        subscription: Subscription,
        name: str,
        kind: str,
        values: Mapping[str, str],
        annotations: Mapping[str, str],
    ) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": f"{reasons.GROUP}/{kind}",
            "metadata": {
                "name": name,
                "labels": dict([MANAGED_BY]),
                "annotations": dict(annotations),
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
        except Forbidden as error:  # the operator's rights, or a namespace that is being deleted
            text = f"Secret {name!r} can't be made in this namespace: {error}"
            raise NotReadyError(reasons.SECRET_NOT_FOUND, text) from None


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
    managed = (metadata.get("labels") or {}).get(MANAGED_BY[0]) == MANAGED_BY[1]
    return Secret(
        metadata["resourceVersion"],
        data,
        owners,
        "deletionTimestamp" in metadata,
        managed,
        (metadata.get("annotations") or {}).get(ROTATED_FOR, ""),
        {} if managed else _since(metadata.get("managedFields") or ()),
        raw.get("type") or "",
    )


def _since(managed_fields: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """When the managers of the entries last wrote (https://kubernetes.io/docs/reference/using-api/server-side-apply/).

    Not before that an entry got its value. It is the API server's word, whatever an entry's name says.
    """
    found: dict[str, float] = {}
    for manager in managed_fields:
        try:
            when = datetime.fromisoformat(manager["time"]).timestamp()
        except (KeyError, ValueError):
            continue
        fields = manager.get("fieldsV1") or {}
        for name in (*(fields.get("f:data") or ()), *(fields.get("f:stringData") or ())):
            entry = name.removeprefix("f:")
            found[entry] = max(when, found.get(entry, when))
    return found
