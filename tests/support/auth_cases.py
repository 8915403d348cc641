"""Authentication and TLS of a destination: what the API server must refuse, in these words, and what it must accept.

Rows like those of ``crd_cases``.
"""

from __future__ import annotations

from typing import Any

from support.crd_cases import (
    FROM_SECRET,
    NO_HEADER,
    NO_HOST,
    NO_ODD_CHARACTERS,
    NO_PORT,
    NO_SECRET_NAME,
    Spec,
    header,
)
from support.schema import merged

NO_OWN_PARAMETER = (
    'must not have "grant_type", "scope", "client_id", "client_secret" or "audience", which have fields of their own'
)
NO_AUDIENCE = 'must be printable ASCII characters without spaces, such as "https://hooks.example.com"'
ONE_METHOD = "must have exactly one of `bearer`, `basic`, `apiKey`, `oauth2ClientCredentials` and `serviceAccountToken`"
AUTH_HEADER = 'must not have the header of `auth`, which is "Authorization" or the one that `auth.apiKey.header` names'
ONE_BUNDLE = "must have exactly one of `secretKeyRef` and `configMapKeyRef`"
IN_AUTH = "spec.destination.auth"
IN_TLS = "spec.destination.tls"
OAUTH = "oauth2ClientCredentials"
IN_CLIENT = f"{IN_AUTH}.{OAUTH}"
IN_TOKEN = f"{IN_AUTH}.serviceAccountToken"
BEARER = {"tokenFrom": FROM_SECRET}
API_KEY = {"header": "X-Api-Key", "valueFrom": FROM_SECRET}
CLIENT = {
    "tokenUrl": "https://login.example.com/token",
    "clientIdFrom": FROM_SECRET,
    "clientSecretFrom": FROM_SECRET,
}
IN_BUNDLE = f"{IN_TLS}.caBundle.configMapKeyRef"


def auth(**methods: Any) -> Spec:
    return {"destination": {"auth": methods}}


def tls(**fields: Any) -> Spec:
    return {"destination": {"tls": fields}}


def client(**fields: Any) -> Spec:
    return auth(**{OAUTH: CLIENT | fields})


def token(seconds: int) -> Spec:
    return auth(serviceAccountToken={"audience": "a", "expirationSeconds": seconds})


AUTH_REFUSED: dict[str, tuple[Spec, str, str]] = {
    "no method of authentication": (auth(), IN_AUTH, ONE_METHOD),
    "two methods of authentication": (auth(bearer=BEARER, apiKey=API_KEY), IN_AUTH, ONE_METHOD),
    "the header of a bearer token": (
        merged(header(name="authorization", valueFrom=FROM_SECRET), auth(bearer=BEARER)),
        "spec.destination.headers",
        AUTH_HEADER,
    ),
    "the header of an API key": (
        merged(header(name="x-api-key", value="a"), auth(apiKey=API_KEY)),
        "spec.destination.headers",
        AUTH_HEADER,
    ),
    "tls that asks for nothing": (
        tls(),
        IN_TLS,
        "must have `caBundle`, `clientCertificate` or `minVersion`; to ask for nothing, leave it out",
    ),
    "no bundle": (tls(caBundle={}), f"{IN_TLS}.caBundle", ONE_BUNDLE),
    "two bundles": (
        tls(caBundle=FROM_SECRET | {"configMapKeyRef": {"name": "c", "key": "k"}}),
        f"{IN_TLS}.caBundle",
        ONE_BUNDLE,
    ),
    "a bad name of a ConfigMap": (
        tls(caBundle={"configMapKeyRef": {"name": "C", "key": "k"}}),
        f"{IN_BUNDLE}.name",
        'must be the name of a ConfigMap in the same namespace, of lower-case letters, digits, "-" and "."',
    ),
    "a bad key of a ConfigMap": (
        tls(caBundle={"configMapKeyRef": {"name": "c", "key": "a/b"}}),
        f"{IN_BUNDLE}.key",
        'must be a key of the ConfigMap\'s data, of letters, digits, "-", "_" and "."',
    ),
    "a client certificate of nothing": (
        tls(clientCertificate={}),
        f"{IN_TLS}.clientCertificate.secretRef",
        "Required value",
    ),
    "TLS 1.1": (tls(minVersion="1.1"), f"{IN_TLS}.minVersion", 'supported values: "1.2", "1.3"'),
    "bearer without a token": (auth(bearer={}), f"{IN_AUTH}.bearer.tokenFrom", "Required value"),
    "basic without a Secret": (auth(basic={}), f"{IN_AUTH}.basic.secretRef", "Required value"),
    "basic with a bad name": (
        auth(basic={"secretRef": {"name": "A_b"}}),
        f"{IN_AUTH}.basic.secretRef.name",
        NO_SECRET_NAME,
    ),
    "an API key in a header of ours": (
        auth(apiKey=API_KEY | {"header": "Webhook-Id"}),
        f"{IN_AUTH}.apiKey.header",
        NO_HEADER,
    ),
    "an API key in no header": (
        auth(apiKey=API_KEY | {"header": "X Key"}),
        f"{IN_AUTH}.apiKey.header",
        'must be a header name, such as "X-Team", without spaces or colons',
    ),
    "token endpoint by http": (
        client(tokenUrl="http://login.example.com/"),
        f"{IN_CLIENT}.tokenUrl",
        'must begin with "https://", since the client\'s secret is sent there',
    ),
    "token endpoint with a password": (
        client(tokenUrl="https://a:b@login.example.com/"),
        f"{IN_CLIENT}.tokenUrl",
        "must not contain a user name or password; `clientIdFrom` and `clientSecretFrom` are for them",
    ),
    "token endpoint without host": (client(tokenUrl="https:///token"), f"{IN_CLIENT}.tokenUrl", NO_HOST),
    "token endpoint at port 0": (client(tokenUrl="https://login.example.com:0/"), f"{IN_CLIENT}.tokenUrl", NO_PORT),
    "token endpoint with a line break": (
        client(tokenUrl="https://login.example.com/\n"),
        f"{IN_CLIENT}.tokenUrl",
        NO_ODD_CHARACTERS,
    ),
    "no scopes": (
        client(scopes=[]),
        f"{IN_CLIENT}.scopes",
        "must have at least one scope; to ask for none, leave it out",
    ),
    "two scopes in one": (
        client(scopes=["a b"]),
        f"{IN_CLIENT}.scopes[0]",
        "must be one scope, of printable ASCII characters without spaces, quotes and backslashes",
    ),
    "tokens for nobody": (client(audience=""), f"{IN_CLIENT}.audience", NO_AUDIENCE),
    "a parameter with a field of its own": (
        client(parameters={"client_secret": "x"}),
        f"{IN_CLIENT}.parameters",
        NO_OWN_PARAMETER,
    ),
    "a parameter of an odd name": (
        client(parameters={"a&b": "x"}),
        f"{IN_CLIENT}.parameters",
        'must have names of letters, digits, "-", "_" and ".", such as "resource"',
    ),
    "another client authentication": (
        client(clientAuthentication="PrivateKeyJwt"),
        f"{IN_CLIENT}.clientAuthentication",
        'supported values: "ClientSecretBasic", "ClientSecretPost"',
    ),
    "a token for nobody": (auth(serviceAccountToken={}), f"{IN_TOKEN}.audience", "Required value"),
    "a token for our own API": (
        auth(serviceAccountToken={"audience": "hookline.dev"}),
        f"{IN_TOKEN}.audience",
        'must name the receiver; "hookline.dev" is the audience of Hookline\'s own API',
    ),
    "a token for two": (auth(serviceAccountToken={"audience": "a b"}), f"{IN_TOKEN}.audience", NO_AUDIENCE),
    "a token for less than ten minutes": (
        token(599),
        f"{IN_TOKEN}.expirationSeconds",
        f"{IN_TOKEN}.expirationSeconds in body should be greater than or equal to 600",
    ),
    "a token for more than a day": (
        token(86_401),
        f"{IN_TOKEN}.expirationSeconds",
        f"{IN_TOKEN}.expirationSeconds in body should be less than or equal to 86400",
    ),
}

AUTH_ACCEPTED: dict[str, Spec] = {
    "an API key in Authorization": auth(apiKey=API_KEY | {"header": "Authorization"}),
    "a custom header beside another authentication": merged(
        header(name="Authorization", valueFrom=FROM_SECRET), auth(apiKey=API_KEY)
    ),
    "a client with everything": auth(
        oauth2ClientCredentials=CLIENT
        | {
            "scopes": ["hooks:write", "a"],
            "audience": "api://hooks",
            "parameters": {"resource": "urn:hooks", "x.y-z": ""},
            "clientAuthentication": "ClientSecretPost",
        }
    ),
    "a token for ten minutes": auth(serviceAccountToken={"audience": "a", "expirationSeconds": 600}),
    "tls of the least": tls(minVersion="1.3"),
    "tls of everything": tls(
        caBundle={"configMapKeyRef": {"name": "c", "key": "ca.crt"}},
        clientCertificate={"secretRef": {"name": "client"}},
        minVersion="1.2",
    ),
}
