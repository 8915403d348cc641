"""Claims about what subscriptions ask of TLS: looked at beside the event loop, once, and bounded by namespace."""

from __future__ import annotations

import asyncio
import threading

import pytest
import trustme

from hookline.deliver import profiles, tls
from hookline.deliver.profiles import BUNDLE_BYTES, NAMESPACE_BYTES, Profiles
from hookline.errors import InvalidKey
from hookline.model import TlsProfile
from support.authority import pem

NEVER = "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"


@pytest.fixture(scope="module")
def authority() -> str:
    return pem(trustme.CA())


@pytest.fixture
def looked(monkeypatch) -> list[threading.Thread]:
    """The threads in which certificates were looked at."""
    threads: list[threading.Thread] = []
    whole = tls.check_profile

    def check(profile: TlsProfile) -> None:
        threads.append(threading.current_thread())
        whole(profile)

    monkeypatch.setattr(profiles, "check_profile", check)
    return threads


def copies(text: str, number: int) -> TlsProfile:
    """Each time another text, as another subscription's Secret gives it."""
    return TlsProfile(authorities="".join([text, f"# {number}"]))


async def test_certificates_are_looked_at_once_and_not_in_the_event_loop(looked, authority):
    admitted = Profiles()
    for namespace in ("shop", "shop", "bank"):
        await admitted.admit(namespace, copies(authority, 1))
    assert len(looked) == 1
    assert looked[0] is not threading.main_thread()


async def test_a_thousand_subscriptions_with_one_authority_keep_one_copy_of_it(authority):
    admitted = Profiles()
    kept = [await admitted.admit("shop", copies(authority, 1)) for _ in range(1000)]
    assert len({id(profile) for profile in kept}) == 1
    assert await admitted.admit("bank", copies(authority, 1)) is not kept[0], "another namespace's room is its own"


async def test_what_can_not_be_used_is_refused_each_time_and_looked_at_once(looked):
    admitted = Profiles()
    for _ in range(3):
        with pytest.raises(InvalidKey, match="PEM"):
            await admitted.admit("shop", TlsProfile(authorities=NEVER))
    assert len(looked) == 1


async def test_a_bundle_that_is_too_large_is_refused_unread(looked):
    with pytest.raises(InvalidKey, match="256 KiB"):
        await Profiles().admit("shop", TlsProfile(authorities="#" * (BUNDLE_BYTES + 1)))
    assert looked == []


async def test_a_namespace_has_so_much_room_and_gets_it_back(authority):
    admitted, most = Profiles(), NAMESPACE_BYTES // BUNDLE_BYTES
    large = authority + "#" * (BUNDLE_BYTES - len(authority) - 10)
    kept = [await admitted.admit("shop", copies(large, number)) for number in range(most)]
    with pytest.raises(InvalidKey, match="8 MiB"):
        await admitted.admit("shop", copies(large, most))
    assert await admitted.admit("shop", copies(large, 0)) is kept[0], "what is kept already takes no more"
    assert await admitted.admit("bank", copies(large, most)), "the control: another namespace"
    kept.pop()
    assert await admitted.admit("shop", copies(large, most))


async def test_those_who_ask_for_the_same_at_the_same_time_get_the_same(looked, authority):
    admitted = Profiles()
    kept = await asyncio.gather(*(admitted.admit("shop", copies(authority, 1)) for _ in range(10)))
    assert len({id(profile) for profile in kept}) == len(looked) == 1
