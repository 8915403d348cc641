"""What a destination needs beside its URL, looked up: how requests authenticate, and what TLS asks for.

In: ``Subscription.auth`` and ``.tls``, which only refer to Secrets and ConfigMaps. Out: ``Auth`` and ``TlsProfile``
with the values, or NotReadyError that names the reference: absent and forbidden look alike. ``target`` puts all
together.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Awaitable, Callable, Iterator

from hookline import reasons
from hookline.controller.polled import Name
from hookline.controller.secrets import PLURAL as SECRETS
from hookline.controller.secrets import Secrets, text_of
from hookline.errors import DestinationRefused, InvalidKey, NotReadyError, SpecError
from hookline.model import Auth, ClientCredentials, ServiceAccountToken, StaticAuth, TlsProfile
from hookline.spec import (
    ApiKeySpec,
    BasicSpec,
    BearerSpec,
    ClientCredentialsSpec,
    ConfigMapRef,
    SecretRef,
    ServiceAccountTokenSpec,
    Subscription,
)

CheckUrl = Callable[[str], str]
AdmitProfile = Callable[[str, TlsProfile], Awaitable[TlsProfile]]
"""A namespace and what it asks of TLS: the same, kept once, when TLS can be spoken with it. Raises InvalidKey.

Without a namespace: a part of that, which is only looked at.
"""

CONFIG_MAPS = "configmaps"
HEADER_LIMIT = 4096
"""Characters of a header's value from a Secret; common servers refuse a request with more than 8 KiB of headers."""
BASIC_LIMIT = 1024
"""Bytes of a user name or a password: both together, in base64, are within the limit of a header."""

_AUTHORIZATION = "authorization"
_WORD = (re.compile(rf"[\x21-\x7e]{{1,{HEADER_LIMIT}}}"), "printable ASCII without spaces")
_TEXT = (re.compile(rf"[\x20-\x7e]{{1,{HEADER_LIMIT}}}"), "printable ASCII")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_USERNAME, _PASSWORD = "username", "password"  # of kubernetes.io/basic-auth
_CERTIFICATE, _PRIVATE_KEY = "tls.crt", "tls.key"  # of kubernetes.io/tls


async def unchecked(_: str, profile: TlsProfile) -> TlsProfile:
    """Any profile will do: the deliver room looks at it anyhow."""
    return profile


def references(subscription: Subscription) -> Iterator[Name]:
    """The Secrets and ConfigMaps that authentication and TLS refer to."""
    auth, tls, namespace = subscription.auth, subscription.tls, subscription.namespace
    refs: list[SecretRef] = []
    if isinstance(auth, BasicSpec):
        yield SECRETS, namespace, auth.secret
    elif isinstance(auth, BearerSpec):
        refs.append(auth.token)
    elif isinstance(auth, ApiKeySpec):
        refs.append(auth.value)
    elif isinstance(auth, ClientCredentialsSpec):
        refs += [auth.client_id, auth.client_secret]
    yield from ((SECRETS, namespace, ref.name) for ref in refs)
    if tls is not None and tls.authorities is not None:
        yield CONFIG_MAPS if isinstance(tls.authorities, ConfigMapRef) else SECRETS, namespace, tls.authorities.name
    if tls is not None and tls.certificate:
        yield SECRETS, namespace, tls.certificate


def check_token_url(subscription: Subscription, check_url: CheckUrl) -> None:
    """Whether tokens may be asked for where the spec says. Raises SpecError."""
    if not isinstance(subscription.auth, ClientCredentialsSpec):
        return
    field = "spec.destination.auth.oauth2ClientCredentials.tokenUrl"
    try:
        check_url(subscription.auth.token_url)
    except DestinationRefused as error:
        raise SpecError(reasons.DESTINATION_REFUSED, field, str(error)) from None
    if not subscription.auth.token_url.startswith("https://"):
        raise SpecError(reasons.INVALID_SPEC, field, 'must begin with "https://"')


def check_tokens(subscription: Subscription, allowed: bool) -> None:
    """Whether it may send tokens of its ServiceAccount, where it wants to. Raises SpecError."""
    auth, field = subscription.auth, "spec.destination.auth.serviceAccountToken"
    if not isinstance(auth, ServiceAccountTokenSpec):
        return
    if auth.audience == reasons.AUDIENCE:
        text = f"{reasons.AUDIENCE!r} is the audience of Hookline's own API; choose one that names the receiver"
        raise SpecError(reasons.INVALID_SPEC, f"{field}.audience", text)
    if not allowed:
        text = (
            "is not allowed here, for it needs the right to make tokens of every ServiceAccount; use another method, "
            "or have somebody set --allow-service-account-tokens (settings.allowServiceAccountTokens of the chart)"
        )
        raise SpecError(reasons.DESTINATION_REFUSED, field, text)


async def resolve_auth(subscription: Subscription, secrets: Secrets) -> Auth | None:
    """How requests authenticate, with the values of the Secrets. Raises NotReadyError."""
    spec, namespace = subscription.auth, subscription.namespace
    if isinstance(spec, BearerSpec):
        return StaticAuth(_AUTHORIZATION, f"Bearer {await _value(secrets, subscription, spec.token, _WORD)}")
    if isinstance(spec, BasicSpec):
        return StaticAuth(_AUTHORIZATION, await _basic(secrets, subscription, spec.secret))
    if isinstance(spec, ApiKeySpec):
        return StaticAuth(spec.header.lower(), await _value(secrets, subscription, spec.value, _TEXT))
    if isinstance(spec, ClientCredentialsSpec):
        return ClientCredentials(
            token_url=spec.token_url,
            client_id=await _value(secrets, subscription, spec.client_id, _TEXT),
            client_secret=await _value(secrets, subscription, spec.client_secret, _TEXT),
            scopes=spec.scopes,
            parameters=spec.parameters,
            in_body=spec.in_body,
        )
    if isinstance(spec, ServiceAccountTokenSpec):
        return ServiceAccountToken(namespace, subscription.service_account, spec.audience, spec.expiration_seconds)
    return None


async def resolve_tls(subscription: Subscription, secrets: Secrets, url: str, admit: AdmitProfile) -> TlsProfile | None:
    """What TLS to ``url`` asks for, with the certificates of Secrets and ConfigMaps. Raises NotReadyError."""
    spec, namespace = subscription.tls, subscription.namespace
    if spec is None:
        return None
    if url.lower().startswith("http:"):
        raise NotReadyError(
            reasons.DESTINATION_REFUSED, "the URL must begin with https:// where `tls` asks for anything"
        )
    authorities = certificate = private_key = ""
    if spec.authorities is not None:
        authorities = await _authorities(secrets, subscription, spec.authorities, admit)
    if spec.certificate:
        secret = await secrets.read(subscription, spec.certificate)
        certificate, private_key = (text_of(secret, spec.certificate, key) for key in (_CERTIFICATE, _PRIVATE_KEY))
        try:
            await admit("", TlsProfile(certificate=certificate, private_key=private_key))
        except InvalidKey as error:
            raise NotReadyError(reasons.SECRET_INVALID, f"Secret {spec.certificate!r}: {error}") from None
    try:
        return await admit(namespace, TlsProfile(authorities, certificate, private_key, spec.min_version))
    except InvalidKey as error:
        raise NotReadyError(reasons.SECRET_INVALID, f"`spec.destination.tls`: {error}") from None


async def _value(
    secrets: Secrets, subscription: Subscription, ref: SecretRef, form: tuple[re.Pattern[str], str]
) -> str:
    value = await secrets.value(subscription, ref)
    pattern, what = form
    if not pattern.fullmatch(value):
        message = f"Secret {ref.name!r}, key {ref.key!r}: must be {what}, 1 to {HEADER_LIMIT} characters"
        raise NotReadyError(reasons.SECRET_INVALID, message)
    return value


async def _basic(secrets: Secrets, subscription: Subscription, name: str) -> str:
    """The value of the header, in UTF-8 (RFC 7617 §2: no colon in the name, no control characters)."""
    secret = await secrets.read(subscription, name)
    username, password = (text_of(secret, name, key) for key in (_USERNAME, _PASSWORD))
    if ":" in username:
        raise NotReadyError(reasons.SECRET_INVALID, f"Secret {name!r}: {_USERNAME!r} must not have a colon")
    for key, text in ((_USERNAME, username), (_PASSWORD, password)):
        if _CONTROL.search(text) or len(text.encode()) > BASIC_LIMIT:
            message = f"Secret {name!r}: {key!r} must be one line of at most {BASIC_LIMIT} bytes"
            raise NotReadyError(reasons.SECRET_INVALID, message)
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


async def _authorities(
    secrets: Secrets, subscription: Subscription, ref: SecretRef | ConfigMapRef, admit: AdmitProfile
) -> str:
    namespace = subscription.namespace
    if isinstance(ref, ConfigMapRef):
        kind, invalid, text = "ConfigMap", reasons.CONFIG_MAP_INVALID, await _config_value(secrets, namespace, ref)
    else:
        kind, invalid, text = "Secret", reasons.SECRET_INVALID, await secrets.value(subscription, ref)
    problem = "" if text else "it is empty"  # which would mean: the system's authorities
    try:
        await admit("", TlsProfile(authorities=text))
    except InvalidKey as error:
        problem = str(error)
    if problem:
        raise NotReadyError(invalid, f"{kind} {ref.name!r}, key {ref.key!r}: {problem}")
    return text


async def _config_value(secrets: Secrets, namespace: str, ref: ConfigMapRef) -> str:
    raw = await secrets.polled.read((CONFIG_MAPS, namespace, ref.name))
    if raw is None:
        message = f"ConfigMap {ref.name!r} was not found in this namespace: create it"
        raise NotReadyError(reasons.CONFIG_MAP_NOT_FOUND, message)
    text = (raw.get("data") or {}).get(ref.key)
    if text is None:
        raise NotReadyError(reasons.CONFIG_MAP_NOT_FOUND, f"ConfigMap {ref.name!r} has no key {ref.key!r}: add it")
    return str(text).strip()
