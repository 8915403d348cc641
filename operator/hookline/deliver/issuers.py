"""Who issues tokens: an OAuth 2.0 token endpoint (RFC 6749 §4.4), and the cluster itself (TokenRequest).

In: resolved ``ClientCredentials`` or a ``ServiceAccountToken``. Out: a ``Fetch`` for ``tokens``. Nothing of an
answer is ever in an error: it may hold the token, or echo the secret.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote_plus, urlencode

import httpx
import orjson

from hookline import reasons
from hookline.deliver.tokens import Fetch, Token, TokenFailed
from hookline.deliver.transport import Transports
from hookline.errors import ApiError
from hookline.model import ClientCredentials, ServiceAccountToken

MAX_ANSWER = 64 * 1024
DEFAULT_LIFE_SECONDS = 300.0
"""What a token without ``expires_in`` is believed to be good for; a 401 ends it earlier."""

MARGIN_SECONDS = 30.0
CLUSTER_FRESH = 0.8
"""The share of its life after which a ServiceAccount's token is renewed, as the kubelet does."""

_BEARER = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 §2.1


class Api(Protocol):
    """The part of the Kubernetes client that is used here."""

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, body: Any = None
    ) -> Any:
        """One request; raises ApiError."""
        ...


def client_credentials(credentials: ClientCredentials, transports: Transports) -> Fetch:
    """Ask the token endpoint, over https only and under the address guard of every other request."""

    async def fetch() -> Token:
        if not credentials.token_url.startswith("https://"):
            raise TokenFailed("the token endpoint must be https")
        endpoint = transports.check(credentials.token_url)
        transport = transports.pool(endpoint)
        headers, body = token_request(credentials)
        request = httpx.Request("POST", endpoint.url, headers=headers, content=body)
        response = await transport.handle_async_request(request)
        try:
            if response.status_code != 200:
                raise TokenFailed(f"the token endpoint answered {response.status_code}")
            answer = b""
            assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (for the type checker: it always is)
            async for chunk in response.stream:
                answer += chunk
                if len(answer) > MAX_ANSWER:
                    raise TokenFailed("the token endpoint's answer is too long")
        finally:
            await response.aclose()
        return read_token(answer)

    return fetch


def token_request(credentials: ClientCredentials) -> tuple[dict[str, str], bytes]:
    """Headers and body of the request (RFC 6749 §4.4.2). Basic encodes id and secret as a form does (§2.3.1)."""
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "accept": "application/json",
        "accept-encoding": "identity",
    }
    form = [("grant_type", "client_credentials")]
    if credentials.scopes:
        form.append(("scope", " ".join(credentials.scopes)))
    form += credentials.parameters
    if credentials.in_body:
        form += [("client_id", credentials.client_id), ("client_secret", credentials.client_secret)]
    else:
        pair = f"{quote_plus(credentials.client_id)}:{quote_plus(credentials.client_secret)}"
        headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode("ascii")
    return headers, urlencode(form).encode()


def read_token(answer: bytes) -> Token:
    """The token of a successful answer (RFC 6749 §5.1). Raises TokenFailed."""
    try:
        fields = orjson.loads(answer)
        value, kind = fields["access_token"], fields["token_type"]
        life = float(fields.get("expires_in") or DEFAULT_LIFE_SECONDS)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise TokenFailed("the token endpoint's answer is malformed") from None
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise TokenFailed("the token endpoint gave no bearer token")
    if not isinstance(value, str) or not _BEARER.fullmatch(value) or not life > 0:
        raise TokenFailed("the token endpoint's answer is malformed")
    return Token(value, fresh_for=life - min(MARGIN_SECONDS, life / 2), valid_for=life)


def service_account(token: ServiceAccountToken, api: Api) -> Fetch:
    """Ask the cluster for a token of this ServiceAccount and audience.

    One that the API server itself accepts is never handed out, nor one for the operator's own API: who receives it
    could act as the ServiceAccount. The API server is asked by TokenReview, once for each token.
    """
    path = f"/api/v1/namespaces/{token.namespace}/serviceaccounts/{token.name}/token"
    spec = {"audiences": [token.audience], "expirationSeconds": token.expiration_seconds}

    async def fetch() -> Token:
        if token.audience == reasons.AUDIENCE:
            raise TokenFailed(f"the audience {reasons.AUDIENCE} is Hookline's own; choose one that names the receiver")
        try:
            answer = await api.request("POST", path, body={"spec": spec})
            value, life = answer["status"]["token"], float(answer["spec"]["expirationSeconds"])
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": value}}
            reviewed = await api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)
            accepted = reviewed["status"].get("authenticated", False)
        except ApiError as error:
            raise TokenFailed(f"the API server answered {error.status} when asked for a token") from None
        except (KeyError, TypeError, ValueError, AttributeError):
            raise TokenFailed("the API server's answer is malformed") from None
        if accepted:
            raise TokenFailed("the audience is the API server's own; choose one that names the receiver")
        return Token(value, fresh_for=life * CLUSTER_FRESH, valid_for=life)

    return fetch
