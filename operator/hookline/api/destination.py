"""From ``spec.destination`` to where messages go: the URL, headers, how requests authenticate, what TLS asks for.

In: the stored object's part, by ``parse``. Out: the values of ``hookline.spec``, references not looked up yet; the
controller room does that. What is wrong is collected in the reader.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from hookline.api.fields import Reader
from hookline.spec import (
    ApiKeySpec,
    AuthSpec,
    BasicSpec,
    BearerSpec,
    ClientCredentialsSpec,
    ConfigMapRef,
    HeaderSpec,
    SecretRef,
    ServiceAccountTokenSpec,
    TlsSpec,
)

AUTH = "spec.destination.auth"
TLS = "spec.destination.tls"
OWN_PARAMETERS = frozenset({"grant_type", "scope", "client_id", "client_secret", "audience"})
TEN_MINUTES, DAY = 600, 86_400


class ClientAuthentication(StrEnum):
    """The values of ``oauth2ClientCredentials.clientAuthentication`` (RFC 6749 §2.3.1)."""

    BASIC = "ClientSecretBasic"
    POST = "ClientSecretPost"


class MinVersion(StrEnum):
    """The values of ``spec.destination.tls.minVersion``."""

    TLS_1_2 = "1.2"
    TLS_1_3 = "1.3"


def read_url(reader: Reader, destination: Mapping[str, Any]) -> tuple[str | None, SecretRef | None]:
    """A literal URL, or where to find one: exactly one of the two."""
    url = reader.get(destination, "url", str, "", "spec.destination") or None
    raw_ref = reader.get(destination, "urlFrom", dict, {}, "spec.destination")
    ref = secret_ref(reader, raw_ref, "spec.destination.urlFrom") if raw_ref else None
    if (url is None) == (ref is None):
        reader.fail("spec.destination", "must have exactly one of `url` and `urlFrom`")
    return url, ref


def secret_ref(reader: Reader, raw: Mapping[str, Any], where: str) -> SecretRef:
    """The ``secretKeyRef`` in ``raw``."""
    return SecretRef(*_name_and_key(reader, raw, "secretKeyRef", where))


def _name_and_key(reader: Reader, raw: Mapping[str, Any], kind: str, where: str) -> tuple[str, str]:
    ref, where = reader.get(raw, kind, dict, {}, where), f"{where}.{kind}"
    name, key = reader.get(ref, "name", str, "", where), reader.get(ref, "key", str, "", where)
    if not name or not key:
        reader.fail(where, "must have `name` and `key`")
    return name, key


def read_headers(reader: Reader, destination: Mapping[str, Any]) -> tuple[HeaderSpec, ...]:
    """The custom headers."""
    headers = []
    for index, raw in enumerate(reader.items(destination, "headers", dict, [], "spec.destination", least=0)):
        where = f"spec.destination.headers[{index}]"
        raw_ref = reader.get(raw, "valueFrom", dict, {}, where)
        ref = secret_ref(reader, raw_ref, f"{where}.valueFrom") if raw_ref else None
        value = reader.get(raw, "value", str, "", where) if raw.get("value") is not None else None
        if (value is None) == (ref is None):
            reader.fail(where, "must have exactly one of `value` and `valueFrom`")
        name = reader.get(raw, "name", str, "", where)
        if not name:
            reader.fail(f"{where}.name", "must be set")
        headers.append(HeaderSpec(name, value, ref))
    return tuple(headers)


def read_auth(reader: Reader, destination: Mapping[str, Any]) -> AuthSpec | None:
    """The one method of ``auth``, None without any."""
    raw = reader.get(destination, "auth", dict, {}, "spec.destination")
    if destination.get("auth") is None:
        return None
    methods = [method for method in _METHODS if raw.get(method) is not None]
    if len(methods) != 1:
        reader.fail(AUTH, f"must have exactly one of {', '.join(_METHODS)}")
        return None
    method = methods[0]
    auth = _METHODS[method](reader, reader.get(raw, method, dict, {}, AUTH), f"{AUTH}.{method}")
    name = auth.header.lower() if isinstance(auth, ApiKeySpec) else "authorization"
    headers = reader.get(destination, "headers", list, [], "spec.destination")
    if any(isinstance(header, dict) and str(header.get("name")).lower() == name for header in headers):
        reader.fail("spec.destination.headers", f"must not have the header of `auth`, which is {name}")
    return auth


def _bearer(reader: Reader, raw: Mapping[str, Any], where: str) -> AuthSpec:
    return BearerSpec(_from_secret(reader, raw, "tokenFrom", where))


def _basic(reader: Reader, raw: Mapping[str, Any], where: str) -> AuthSpec:
    return BasicSpec(_whole_secret(reader, raw, where))


def _api_key(reader: Reader, raw: Mapping[str, Any], where: str) -> AuthSpec:
    return ApiKeySpec(reader.required(raw, "header", where), _from_secret(reader, raw, "valueFrom", where))


def _client_credentials(reader: Reader, raw: Mapping[str, Any], where: str) -> AuthSpec:
    parameters = reader.get(raw, "parameters", dict, {}, where)
    own = sorted(OWN_PARAMETERS & parameters.keys())
    if own:
        reader.fail(f"{where}.parameters", f"must not have {own[0]}, which has a field of its own")
    pairs = [(name, reader.get(parameters, name, str, "", f"{where}.parameters")) for name in sorted(parameters)]
    audience = reader.get(raw, "audience", str, "", where)
    basic = ClientAuthentication.BASIC
    chosen = reader.member(raw, "clientAuthentication", ClientAuthentication, basic, where)
    return ClientCredentialsSpec(
        token_url=reader.required(raw, "tokenUrl", where),
        client_id=_from_secret(reader, raw, "clientIdFrom", where),
        client_secret=_from_secret(reader, raw, "clientSecretFrom", where),
        scopes=tuple(reader.items(raw, "scopes", str, [], where)),
        parameters=(*((("audience", audience),) if audience else ()), *pairs),
        in_body=chosen is ClientAuthentication.POST,
    )


def _service_account_token(reader: Reader, raw: Mapping[str, Any], where: str) -> AuthSpec:
    seconds = reader.number(raw, "expirationSeconds", 3600, where, TEN_MINUTES, DAY)
    return ServiceAccountTokenSpec(reader.required(raw, "audience", where), seconds)


_METHODS: Mapping[str, Callable[[Reader, Mapping[str, Any], str], AuthSpec]] = {
    "bearer": _bearer,
    "basic": _basic,
    "apiKey": _api_key,
    "oauth2ClientCredentials": _client_credentials,
    "serviceAccountToken": _service_account_token,
}


def read_tls(reader: Reader, destination: Mapping[str, Any]) -> TlsSpec | None:
    """What TLS asks for beyond the usual, None where it asks for nothing."""
    raw = reader.get(destination, "tls", dict, {}, "spec.destination")
    if destination.get("tls") is None:
        return None
    bundle = reader.get(raw, "caBundle", dict, {}, TLS)
    certificate = reader.get(raw, "clientCertificate", dict, {}, TLS)
    if not bundle and not certificate and raw.get("minVersion") is None:
        reader.fail(TLS, "must have `caBundle`, `clientCertificate` or `minVersion`")
    return TlsSpec(
        authorities=_authorities(reader, bundle, f"{TLS}.caBundle") if bundle else None,
        certificate=_whole_secret(reader, certificate, f"{TLS}.clientCertificate") if certificate else "",
        min_version=str(reader.member(raw, "minVersion", MinVersion, MinVersion.TLS_1_2, TLS)),
    )


def _authorities(reader: Reader, raw: Mapping[str, Any], where: str) -> SecretRef | ConfigMapRef:
    if (raw.get("secretKeyRef") is None) == (raw.get("configMapKeyRef") is None):
        reader.fail(where, "must have exactly one of `secretKeyRef` and `configMapKeyRef`")
    if raw.get("configMapKeyRef") is None:
        return secret_ref(reader, raw, where)
    return ConfigMapRef(*_name_and_key(reader, raw, "configMapKeyRef", where))


def _from_secret(reader: Reader, raw: Mapping[str, Any], key: str, where: str) -> SecretRef:
    return secret_ref(reader, reader.get(raw, key, dict, {}, where), f"{where}.{key}")


def _whole_secret(reader: Reader, raw: Mapping[str, Any], where: str) -> str:
    ref = reader.get(raw, "secretRef", dict, {}, where)
    return reader.required(ref, "name", f"{where}.secretRef")
