"""Authentication and TLS of a destination, parsed: each method, the defaults, and what slipped past the schema."""

from __future__ import annotations

import pytest

from hookline.api.parse import parse
from hookline.errors import InvalidSpec
from hookline.spec import (
    ApiKeySpec,
    BasicSpec,
    BearerSpec,
    ClientCredentialsSpec,
    ConfigMapRef,
    SecretRef,
    ServiceAccountTokenSpec,
    TlsSpec,
)
from support.controlling import webhook

FROM = {"secretKeyRef": {"name": "s", "key": "k"}}
REF = SecretRef("s", "k")
CLIENT = {"tokenUrl": "https://login.example/", "clientIdFrom": FROM, "clientSecretFrom": FROM}


def parsed(**destination):
    return parse(webhook(destination={"url": "https://a.example/", **destination}))


@pytest.mark.parametrize(
    ("raw", "auth"),
    [
        ({"bearer": {"tokenFrom": FROM}}, BearerSpec(REF)),
        ({"basic": {"secretRef": {"name": "b"}}}, BasicSpec("b")),
        ({"apiKey": {"header": "X-Key", "valueFrom": FROM}}, ApiKeySpec("X-Key", REF)),
        ({"serviceAccountToken": {"audience": "a"}}, ServiceAccountTokenSpec("a", 3600)),
        (
            {"serviceAccountToken": {"audience": "a", "expirationSeconds": 600}},
            ServiceAccountTokenSpec("a", 600),
        ),
        ({"oauth2ClientCredentials": CLIENT}, ClientCredentialsSpec("https://login.example/", REF, REF)),
        (
            {
                "oauth2ClientCredentials": CLIENT
                | {
                    "scopes": ["a", "b"],
                    "audience": "api",
                    "parameters": {"z": "1", "b": ""},
                    "clientAuthentication": "ClientSecretPost",
                }
            },
            ClientCredentialsSpec(
                *("https://login.example/", REF, REF, ("a", "b")),
                (("audience", "api"), ("b", ""), ("z", "1")),
                in_body=True,
            ),
        ),
    ],
)
def test_each_method_is_read(raw, auth):
    assert parsed(auth=raw).auth == auth


def test_tls_is_read():
    assert (parsed().auth, parsed().tls) == (None, None)
    assert parsed(tls={"minVersion": "1.3"}).tls == TlsSpec(min_version="1.3")
    assert parsed(tls={"caBundle": FROM}).tls == TlsSpec(REF)
    everything = {
        "caBundle": {"configMapKeyRef": {"name": "c", "key": "k"}},
        "clientCertificate": {"secretRef": {"name": "client"}},
    }
    assert parsed(tls=everything).tls == TlsSpec(ConfigMapRef("c", "k"), "client")


@pytest.mark.parametrize(
    ("destination", "field"),
    [
        ({"auth": {}}, "spec.destination.auth"),
        ({"auth": []}, "spec.destination.auth"),
        ({"auth": {"bearer": {"tokenFrom": FROM}, "basic": {"secretRef": {"name": "b"}}}}, "spec.destination.auth"),
        ({"auth": {"bearer": {}}}, "spec.destination.auth.bearer.tokenFrom.secretKeyRef"),
        ({"auth": {"bearer": {"tokenFrom": []}}}, "spec.destination.auth.bearer.tokenFrom"),
        ({"auth": {"basic": {"secretRef": {}}}}, "spec.destination.auth.basic.secretRef.name"),
        ({"auth": {"apiKey": {"valueFrom": FROM}}}, "spec.destination.auth.apiKey.header"),
        (
            {"auth": {"oauth2ClientCredentials": CLIENT | {"parameters": {"scope": "x"}}}},
            "spec.destination.auth.oauth2ClientCredentials.parameters",
        ),
        (
            {"auth": {"oauth2ClientCredentials": CLIENT | {"tokenUrl": ""}}},
            "spec.destination.auth.oauth2ClientCredentials.tokenUrl",
        ),
        ({"auth": {"serviceAccountToken": {}}}, "spec.destination.auth.serviceAccountToken.audience"),
        (
            {"auth": {"serviceAccountToken": {"audience": "a", "expirationSeconds": 599}}},
            "spec.destination.auth.serviceAccountToken.expirationSeconds",
        ),
        (
            {"auth": {"bearer": {"tokenFrom": FROM}}, "headers": [{"name": "AUTHORIZATION", "value": "x"}]},
            "spec.destination.headers",
        ),
        (
            {"auth": {"apiKey": {"header": "X-Key", "valueFrom": FROM}}, "headers": [{"name": "x-key", "value": "x"}]},
            "spec.destination.headers",
        ),
        ({"tls": {}}, "spec.destination.tls"),
        ({"tls": {"minVersion": "1.1"}}, "spec.destination.tls.minVersion"),
        (
            {"tls": {"caBundle": {**FROM, "configMapKeyRef": {"name": "c", "key": "k"}}}},
            "spec.destination.tls.caBundle",
        ),
        (
            {"tls": {"clientCertificate": {"secretRef": {"key": "x"}}}},
            "spec.destination.tls.clientCertificate.secretRef.name",
        ),
    ],
)
def test_what_slipped_past_the_schema_is_an_error_of_its_field(destination, field):
    with pytest.raises(InvalidSpec) as error:
        parsed(**destination)
    assert field in {one.field for one in error.value.errors}
