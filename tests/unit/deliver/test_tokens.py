"""Tokens in virtual time: kept, renewed, refused, and what those who wait see when none can be had."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aiohttp
import httpx
import pytest

from hookline.deliver.auth import authorizer, header_name, static_headers
from hookline.deliver.tokens import LONGEST_REFUSAL_SECONDS, REFUSAL_SECONDS, RETRY_SECONDS, Token, TokenFailed, Tokens
from hookline.errors import DestinationRefused
from hookline.model import ClientCredentials, ServiceAccountToken, StaticAuth
from support.turns import turns


class Issuer:
    """Hands out numbered tokens; ``trouble`` is raised instead, ``hold`` delays the answer."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.life = 100.0
        self.trouble: Exception | None = None
        self.hold: asyncio.Event | None = None

    async def __call__(self) -> Token:
        self.asked += 1
        number = self.asked
        if self.hold is not None:
            await self.hold.wait()
        if self.trouble is not None:
            raise self.trouble
        return Token(f"t{number}", fresh_for=0.6 * self.life, valid_for=self.life)

    def tokens(self, limit: float = 30.0) -> Tokens:
        return Tokens(self, limit, lambda: self.now)


@pytest.fixture
def issuer() -> Issuer:
    return Issuer()


async def test_a_token_is_asked_for_once_and_kept(issuer):
    tokens = issuer.tokens()
    assert [await tokens.get() for _ in range(3)] == ["t1"] * 3
    assert issuer.asked == 1


async def test_all_who_wait_share_one_request(issuer):
    issuer.hold = asyncio.Event()
    tokens = issuer.tokens()
    waiting = [asyncio.create_task(tokens.get()) for _ in range(20)]
    await turns()
    issuer.hold.set()
    assert set(await asyncio.gather(*waiting)) == {"t1"}
    assert issuer.asked == 1


async def test_one_that_is_due_is_used_while_the_next_is_asked_for(issuer):
    tokens = issuer.tokens()
    await tokens.get()
    issuer.now = 61.0
    assert await tokens.get() == "t1"
    await turns()
    assert await tokens.get() == "t2"


async def test_one_that_expired_is_never_used(issuer):
    tokens = issuer.tokens()
    await tokens.get()
    issuer.now = 100.0
    assert await tokens.get() == "t2"
    issuer.now, issuer.trouble = 300.0, OSError("away")
    with pytest.raises(TokenFailed):
        await tokens.get()


async def test_while_the_old_one_is_good_a_failing_issuer_is_asked_at_intervals(issuer):
    tokens = issuer.tokens()
    await tokens.get()
    issuer.trouble = OSError("away")
    for seconds, asked in ((61.0, 2), (62.0, 2), (61.5 + RETRY_SECONDS, 3)):
        issuer.now = seconds
        assert await tokens.get() == "t1"
        await turns()
        assert issuer.asked == asked


async def test_a_refused_one_is_replaced_but_a_receiver_that_refuses_all_does_not_make_the_issuer_work(issuer):
    tokens = issuer.tokens()
    tokens.refuse(await tokens.get())
    assert await tokens.get() == "t2"
    tokens.refuse("t1")  # a late answer to the old one
    tokens.refuse("t2")
    assert await tokens.get() == "t2"
    issuer.now = REFUSAL_SECONDS
    tokens.refuse("t2")
    assert await tokens.get() == "t3"


async def refusals(issuer: Issuer, tokens: Tokens, seconds: range, accepting: bool = False) -> list[int]:
    """When the issuer was asked by a receiver that refuses every second; ``accepting``: and accepts in between."""
    times = []
    for now in seconds:
        issuer.now = float(now)
        before = issuer.asked
        value = await tokens.get()
        if issuer.asked > before:
            times.append(now)
        if accepting:
            tokens.accept()
        tokens.refuse(value)
    return times


@pytest.mark.parametrize("accepting", [False, True])
async def test_pauses_between_refused_tokens_double_up_to_ten_minutes_even_if_some_are_accepted(issuer, accepting):
    issuer.life = 1e6
    times = await refusals(issuer, issuer.tokens(), range(3000), accepting)
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[:7] == [1, 10, 20, 40, 80, 160, 320]
    assert all(pause >= LONGEST_REFUSAL_SECONDS for pause in pauses[7 : None if not accepting else 8])


@pytest.mark.parametrize(("succeeds", "later"), [(True, [1, 11, 31]), (False, [1])])
async def test_a_success_makes_the_next_refusal_the_first_again(issuer, succeeds, later):
    issuer.life = 1e6
    tokens = issuer.tokens()
    await refusals(issuer, tokens, range(700))
    issuer.now = 640.0 + LONGEST_REFUSAL_SECONDS
    if succeeds:
        tokens.accept()
    start = int(issuer.now)
    tokens.refuse(await tokens.get())
    assert [time - start for time in await refusals(issuer, tokens, range(start + 1, start + 60))] == later


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("SECRET"),
        httpx.ReadError("SECRET"),
        httpx.RemoteProtocolError("SECRET"),
        aiohttp.ClientPayloadError("SECRET"),
        ConnectionResetError("SECRET"),
        DestinationRefused("SECRET"),
        TokenFailed("no"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_network_can_do_is_a_failed_token(issuer, trouble, caplog):
    issuer.trouble = trouble
    with pytest.raises(TokenFailed) as failed:
        await issuer.tokens().get()
    assert "SECRET" not in str(failed.value)
    assert "SECRET" not in caplog.text


async def test_an_issuer_that_does_not_answer_is_given_up(issuer):
    issuer.hold = asyncio.Event()
    with pytest.raises(TokenFailed, match="in time"):
        await issuer.tokens(limit=0.01).get()


async def test_those_who_wait_for_a_token_that_nobody_wants_any_more_see_a_failure_and_no_cancellation(issuer):
    """A lane's worker that saw CancelledError would end, and with it a place for attempts."""
    issuer.hold = asyncio.Event()
    tokens = issuer.tokens()
    for begun in (False, True):
        waiting = [asyncio.create_task(tokens.get()) for _ in range(3)]
        await turns(20 if begun else 1)
        tokens.close()
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, TokenFailed)


async def test_one_who_stops_waiting_does_not_stop_the_request_of_the_others(issuer):
    issuer.hold = asyncio.Event()
    tokens = issuer.tokens()
    first, second = asyncio.create_task(tokens.get()), asyncio.create_task(tokens.get())
    await turns()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    issuer.hold.set()
    assert await second == "t1"


def test_a_header_belongs_to_its_method():
    assert header_name(None) is None
    assert header_name(StaticAuth("x-key", "v")) == "x-key"
    assert header_name(ClientCredentials("https://a.example/", "i", "s")) == "authorization"
    assert static_headers(StaticAuth("x-key", "v")) == (("x-key", "v"),)
    assert static_headers(ServiceAccountToken("shop", "default", "a", 600)) == ()


def test_without_an_api_server_a_token_of_the_cluster_is_a_typed_failure():
    unused: Any = None
    with pytest.raises(TokenFailed):
        authorizer(ServiceAccountToken("shop", "default", "a", 600), 1.0, unused, None)
    assert authorizer(StaticAuth("x-key", "v"), 1.0, unused, None) is None


def test_nothing_secret_is_in_a_representation():
    shown = [
        Token("SECRET", 1.0, 2.0),
        StaticAuth("x", "SECRET"),
        ClientCredentials("https://a.example/SECRET", "SECRET", "SECRET"),
    ]
    assert "SECRET" not in repr(shown)
