"""The header that authenticates a request to its receiver, beside the signature.

In: ``Target.auth``. Out: for each attempt a header, from memory where it is static, from ``tokens`` where it expires.
A custom header can never take its place: ``client`` refuses one of the same name.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from hookline.deliver.issuers import Api, client_credentials, service_account
from hookline.deliver.tokens import TokenFailed, Tokens
from hookline.deliver.transport import Transports
from hookline.model import Auth, ClientCredentials, StaticAuth

AUTHORIZATION = "authorization"
_BEARER = "Bearer "


class Authorizer(Protocol):
    """What the client needs of one that makes the header anew for each attempt."""

    async def header(self) -> tuple[str, str]:
        """Name and value. Raises TokenFailed."""

    def refused(self, value: str) -> None:
        """The receiver answered 401 to this value."""

    def accepted(self) -> None:
        """The receiver answered with success."""

    def close(self) -> None:
        """It is not used any more."""


class BearerTokens:
    """``Authorization: Bearer`` with a token that expires."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def header(self) -> tuple[str, str]:
        """Name and value. Raises TokenFailed."""
        return AUTHORIZATION, _BEARER + await self._tokens.get()

    def refused(self, value: str) -> None:
        """The receiver answered 401 to this value: another one is asked for."""
        self._tokens.refuse(value.removeprefix(_BEARER))

    def accepted(self) -> None:
        """The receiver answered with success."""
        self._tokens.accept()

    def close(self) -> None:
        """It is not used any more."""
        self._tokens.close()


def header_name(auth: Auth | None) -> str | None:
    """The header, in lower case, that belongs to the auth method and to nobody else; None without one."""
    if auth is None:
        return None
    return auth.header if isinstance(auth, StaticAuth) else AUTHORIZATION


def static_headers(auth: Auth | None) -> tuple[tuple[str, str], ...]:
    """The headers that are the same for every attempt."""
    return ((auth.header, auth.value),) if isinstance(auth, StaticAuth) else ()


def authorizer(
    auth: Auth | None,
    limit: float,
    transports: Transports,
    api: Api | None,
    clock: Callable[[], float] = time.monotonic,
) -> Authorizer | None:
    """What makes the header anew for each attempt; None where there is nothing to make. ``limit`` is in seconds.

    Raises TokenFailed when the cluster should issue the token and there is no ``api`` to ask.
    """
    if auth is None or isinstance(auth, StaticAuth):
        return None
    if isinstance(auth, ClientCredentials):
        return BearerTokens(Tokens(client_credentials(auth, transports), limit, clock))
    if api is None:
        raise TokenFailed("there is no API server to ask")
    return BearerTokens(Tokens(service_account(auth, api), limit, clock))
