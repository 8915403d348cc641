"""The request that a change would become: the body to the last byte, the headers without what is secret. Pure.

In: a rendered ``Message`` and the subscription. Out: a ``Sketch``. The headers come from the same code that sends;
where a value is a credential, a signature or not known yet, a text in angle brackets stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hookline.deliver.client import own_headers, signed_headers
from hookline.model import Message, SigningKeys, StaticAuth, Target
from hookline.spec import (
    ApiKeySpec,
    BasicSpec,
    BearerSpec,
    ClientCredentialsSpec,
    SecretRef,
    ServiceAccountTokenSpec,
    Subscription,
)

OF_THE_CHANGE = ("id", "time", "sequence")
"""What of a body or of ``ce-*`` headers depends on the very change, its moment, and those before it."""


@dataclass(frozen=True, slots=True)
class Header:
    """A header; ``hidden`` says what stands there instead of a value that is not shown, empty where it is."""

    name: str
    value: str
    hidden: str = ""


@dataclass(frozen=True, slots=True)
class Sketch:
    """A request as it would be sent. ``endpoint`` is scheme and host, or where the URL is kept."""

    endpoint: str
    headers: tuple[Header, ...]
    body: bytes

    def plain(self) -> dict[str, Any]:
        """For JSON and YAML. The body is valid UTF-8 by construction: orjson wrote it."""
        headers = [
            {"name": header.name, "hidden": header.hidden}
            if header.hidden
            else {"name": header.name, "value": header.value}
            for header in self.headers
        ]
        return {"method": "POST", "endpoint": self.endpoint, "headers": headers, "body": self.body.decode()}


def sketch(subscription: Subscription, message: Message, endpoint: str) -> Sketch:
    """What would be sent of a message."""
    hidden: dict[str, str] = {}

    def hide(text: str) -> str:
        hidden[f"<{text}>"] = text
        return f"<{text}>"

    static, token = _auth(subscription, hide)
    target = Target(
        subscription=subscription.uid,
        namespace=subscription.namespace,
        name=subscription.name,
        url="",
        headers=tuple(
            (header.name, hide(_from(header.ref)) if header.ref is not None else header.value or "")
            for header in subscription.headers
        ),
        keys=SigningKeys((), ()),
        schemes=subscription.schemes,
        timeout=subscription.timeout,
        retry=subscription.retry,
        max_in_flight=subscription.max_in_flight,
        origin=hide("this cluster's name") if subscription.handshake else "",
        auth=static,
    )
    headers = signed_headers(
        message,
        (*own_headers(target), *token),
        hide("the time of the attempt, in Unix seconds"),
        hide(f"{' and '.join(subscription.schemes)}, made for each attempt"),
    )
    headers["hookline-sequence"] = hide("the subscription's next number")
    return Sketch(
        endpoint,
        tuple(Header(name, "" if value in hidden else value, hidden.get(value, "")) for name, value in headers.items()),
        message.body,
    )


def _auth(subscription: Subscription, hide: Any) -> tuple[StaticAuth | None, tuple[tuple[str, str], ...]]:
    """The header that authenticates: a static one, or one with a token that is made for some time."""
    match subscription.auth:
        case BearerSpec(token):
            return StaticAuth("authorization", hide(f"Bearer, {_from(token)}")), ()
        case BasicSpec(secret):
            return StaticAuth("authorization", hide(f"Basic, from Secret {secret}")), ()
        case ApiKeySpec(header, ref):
            return StaticAuth(header.lower(), hide(_from(ref))), ()
        case ClientCredentialsSpec():
            return None, (("authorization", hide("Bearer, a token from the token endpoint")),)
        case ServiceAccountTokenSpec(audience):
            whose = f"of ServiceAccount {subscription.service_account} for {audience}"
            return None, (("authorization", hide(f"Bearer, a token {whose}")),)
        case None:
            return None, ()


def _from(ref: SecretRef) -> str:
    return f"from Secret {ref.name}, key {ref.key}"
