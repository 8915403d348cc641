"""Tokens that expire: kept until shortly before, asked for by one request at a time, dropped when one is refused.

In: a ``Fetch``, which asks whoever issues them (``issuers`` has both kinds). Out: the current token, or TokenFailed.
``auth`` makes headers of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import httpx

from hookline.errors import DestinationRefused

logger = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
"""While the old token is still good, an issuer that failed is asked again after so long."""

REFUSAL_SECONDS = 10.0
LONGEST_REFUSAL_SECONDS = 600.0
"""A receiver that refuses every token makes the issuer work after pauses that double, from the first to the second."""


class TokenFailed(Exception):
    """No token could be had; the message holds a cause in a word or two, nothing of the answer."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token and how it ages: seconds after which to ask for the next, and after which it is worth nothing."""

    value: str = field(repr=False)
    fresh_for: float
    valid_for: float


Fetch = Callable[[], Awaitable[Token]]


class Tokens:
    """The token of one subscription. ``clock`` is monotonic; ``fetch`` gets ``limit`` seconds."""

    def __init__(self, fetch: Fetch, limit: float, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._limit = limit
        self._clock = clock
        self._token: Token | None = None
        self._since = 0.0
        self._refused = float("-inf")
        self._pause = REFUSAL_SECONDS
        self._ask_at = float("-inf")
        self._asking: asyncio.Task[Token] | None = None

    async def get(self) -> str:
        """The token to send now. Raises TokenFailed.

        Where the kept one is due but still valid, it is returned and the next one is asked for meanwhile.
        """
        now = self._clock()
        if self._token is not None and now < self._since + self._token.valid_for:
            if now >= max(self._since + self._token.fresh_for, self._ask_at):
                self._ask()
            return self._token.value
        asking = self._ask()
        await asyncio.wait({asking})  # unlike `await asking` it neither cancels that task nor is cancelled with it
        if asking.cancelled():
            raise TokenFailed("it is not used any more")
        return asking.result().value

    def refuse(self, value: str) -> None:
        """The receiver did not accept this one: don't send it again, unless its successor is as new as can be."""
        now = self._clock()
        if self._token is None or self._token.value != value or now < self._refused + self._pause:
            return
        if self._refused > float("-inf"):
            self._pause = min(2 * self._pause, LONGEST_REFUSAL_SECONDS)
        self._refused = now
        self._token = None

    def accept(self) -> None:
        """The receiver answered with success: the next refusal is the first again.

        Not soon after the last one, or a receiver that refuses and accepts in turn would still make the issuer work.
        """
        if self._clock() >= self._refused + LONGEST_REFUSAL_SECONDS:
            self._refused = float("-inf")
            self._pause = REFUSAL_SECONDS

    def close(self) -> None:
        """Stop asking; those who wait get TokenFailed."""
        if self._asking is not None:
            self._asking.cancel()

    def _ask(self) -> asyncio.Task[Token]:
        """The one request under way, or a new one. It outlives whoever began it, but not its own limit."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(self._answered)
        return self._asking

    async def _renew(self) -> Token:
        try:
            async with asyncio.timeout(self._limit):
                token = await self._fetch()
        except TimeoutError:
            raise TokenFailed("no answer in time") from None
        except DestinationRefused:
            raise TokenFailed("the address of who issues tokens is refused") from None
        except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
            raise TokenFailed(f"who issues tokens can't be reached ({type(error).__name__})") from None
        self._token, self._since = token, self._clock()
        return token

    def _answered(self, asking: asyncio.Task[Token]) -> None:
        self._asking = None
        if not asking.cancelled() and (error := asking.exception()) is not None:
            self._ask_at = self._clock() + RETRY_SECONDS
            what = str(error) if isinstance(error, TokenFailed) else type(error).__name__
            logger.warning("no new token: %s", what)
