"""The generated path: made once, the subscription's own, at the right place of the URL, and nowhere else."""

from __future__ import annotations

import re

import pytest

from hookline.controller.secrets import Secrets
from hookline.controller.target import prepare
from support.controlling import ScriptedApi, secret
from support.samples import subscription

OURS = subscription(uid="u1", unguessable=True)
SEGMENT = "s" * 43


@pytest.fixture
def api():
    return ScriptedApi()


@pytest.fixture
def secrets(api):
    return Secrets(api, lambda _: None)


async def prepared(secrets, url="https://a.example/in"):
    wanted = subscription(uid="u1", unguessable=True, url=url)
    return await prepare(wanted, secrets, lambda _: "https://a.example")


async def test_it_is_made_once_and_named_but_not_told(api, secrets):
    first = await prepared(secrets)
    assert first.target is not None
    segment = first.target.url.removeprefix("https://a.example/in/")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", segment), "256 bits"
    assert (await prepared(secrets)).target == first.target
    assert first.finding.path_secret == "orders-endpoint"
    assert segment not in repr(first)


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("https://a.example", f"https://a.example/{SEGMENT}"),
        ("https://a.example/", f"https://a.example/{SEGMENT}"),
        ("https://a.example/in/", f"https://a.example/in/{SEGMENT}"),
        ("https://a.example/in?x=a/b", f"https://a.example/in/{SEGMENT}?x=a/b"),
        ("https://a.example?x", f"https://a.example/{SEGMENT}?x"),
    ],
)
async def test_it_is_the_last_segment_of_the_path(api, secrets, url, whole):
    api.secrets["orders-endpoint"] = secret("u1", path=SEGMENT)
    found = await prepared(secrets, url)
    assert found.target is not None
    assert found.target.url == whole


@pytest.mark.parametrize("value", ["", "short", "../" + "x" * 43, "x" * 43 + "?y", "x" * 129])
async def test_one_that_is_guessable_or_no_segment_is_refused_without_showing_it(api, secrets, value):
    api.secrets["orders-endpoint"] = secret("u1", path=value)
    found = await prepared(secrets)
    assert (found.target, found.finding.blocked) == (None, "SecretInvalid")
    assert not value or value not in found.finding.message


async def test_a_url_that_leaves_no_room_for_it_is_refused(api, secrets):
    api.secrets["orders-endpoint"] = secret("u1", path=SEGMENT)
    room = 2048 - 44 - len("https://a.example/")
    assert (await prepared(secrets, "https://a.example/" + "x" * room)).target is not None
    assert (await prepared(secrets, "https://a.example/" + "x" * (room + 1))).finding.blocked == "DestinationRefused"


async def test_that_of_a_deleted_subscription_is_not_used(api, secrets):
    api.secrets["orders-endpoint"] = secret("u0", path=SEGMENT)
    assert (await prepared(secrets)).finding.blocked == "Pending"


async def test_the_control_without_the_option_the_url_is_as_written(api, secrets):
    found = await prepare(subscription(uid="u1"), secrets, lambda _: "https://a.example")
    assert found.target is not None
    assert found.target.url == "https://hooks.example.com/orders"
    assert list(api.secrets) == ["orders-signing"]
