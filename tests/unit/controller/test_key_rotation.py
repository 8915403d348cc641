"""Claims about changing signing keys, in virtual time: no receiver is left without a key that it can verify with."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hookline import keys
from hookline.controller.secrets import Secrets
from hookline.controller.signing import MOST, signing_keys
from hookline.deliver.sign import Signer
from hookline.errors import Conflict, Forbidden, NotReadyError, SignatureMismatch
from hookline.receiver.verifier import Verifier
from support.controlling import ScriptedApi, secret
from support.samples import subscription

DAY = 86_400
START = 1_767_225_600  # 2026-01-01T00:00:00Z
BODY = json.dumps({"data": "é"}).encode()


class World:
    """A clock, an API server, and operators that come and go."""

    def __init__(self, overlap=DAY):
        self.now = START
        self.overlap = overlap
        self.api = ScriptedApi()
        self.restart()

    def restart(self):
        self.secrets = Secrets(self.api, lambda _: None, self.overlap, lambda: self.now)

    async def look(self, **spec):
        return await signing_keys(subscription(uid="u1", **spec), self.secrets)

    async def verifies(self, key, **spec):
        """Whether a receiver that has this key alone accepts what is sent now."""
        signing = await self.look(**spec)
        signature = Signer(signing.keys, ("v1", "v1a")).sign("msg_1", self.now, BODY)
        headers = {"webhook-id": "msg_1", "webhook-timestamp": str(self.now), "webhook-signature": signature}
        try:
            Verifier([key], clock=lambda: self.now).verify(headers, BODY)
        except SignatureMismatch:
            return False
        return True

    def texts(self, name="orders-signing"):
        return {entry: base64.b64decode(value).decode() for entry, value in self.api.secrets[name]["data"].items()}


@pytest.fixture
def world():
    return World()


def public_of(private):
    return keys.encode_ed25519_public(keys.parse_ed25519_private(private))


async def rotated(world, value="1"):
    """Rotate. Returns the keys of a receiver that has only the old ones, and of one that has only the new ones."""
    await world.look()
    old = world.texts()
    signing = await world.look(rotate_key=value)
    new = {entry.partition(".")[0]: text for entry, text in world.texts().items() if entry not in old}
    assert signing.rotated == value
    return (old["v1"], public_of(old["v1a"])), (new["v1"], public_of(new["v1a"]))


async def test_either_key_verifies_every_request_during_the_overlap_and_then_the_new_one_alone(world):
    old, new = await rotated(world)
    for _ in range(24):
        for key in (*old, *new):
            assert await world.verifies(key, rotate_key="1")
        world.now += 3600
        world.restart()
    assert [await world.verifies(key, rotate_key="1") for key in (*old, *new)] == [False, False, True, True]


async def test_the_control_without_an_overlap_a_receiver_with_the_old_key_fails_at_once():
    world = World(overlap=0)
    old, new = await rotated(world)
    assert [await world.verifies(key, rotate_key="1") for key in (*old, *new)] == [False, False, True, True]


async def test_after_the_overlap_the_old_key_is_gone_and_the_new_one_has_its_name(world):
    _, new = await rotated(world)
    world.now += DAY
    assert (await world.look(rotate_key="1")).again is None
    after = world.texts()
    assert set(after) == {"v1", "v1a", "v1a.pub"}
    assert (after["v1"], after["v1a.pub"], public_of(after["v1a"])) == (new[0], new[1], new[1])


async def test_each_value_of_the_annotation_is_handled_once_also_after_a_restart(world):
    await rotated(world)
    before, writes = world.texts(), world.api.writes
    world.restart()
    await world.look(rotate_key="1")
    assert (world.texts(), world.api.writes) == (before, writes)
    await world.look(rotate_key="2")
    assert world.texts() != before


async def test_a_secret_that_is_made_for_an_annotation_needs_no_second_key(world):
    assert (await world.look(rotate_key="1")).rotated == "1"
    assert set(world.texts()) == {"v1", "v1a", "v1a.pub"}


async def test_rotations_within_an_overlap_keep_every_key_for_the_whole_of_it(world):
    old, new = await rotated(world)
    world.now += DAY - 60
    await world.look(rotate_key="2")
    assert [await world.verifies(key, rotate_key="2") for key in (*old, *new)] == [True] * 4
    world.now += 60
    assert [await world.verifies(key, rotate_key="2") for key in (*old, *new)] == [False, False, True, True]
    world.now += DAY - 61
    assert await world.verifies(new[0], rotate_key="2")
    world.now += 1
    assert not await world.verifies(new[0], rotate_key="2")


async def test_more_rotations_than_keys_may_sign_wait_until_one_ends(world):
    await world.look()
    for number in range(1, MOST):
        await world.look(rotate_key=str(number))
    full = await world.look(rotate_key="more")
    assert (len(full.keys.hmac), full.rotated) == (MOST, str(MOST - 1))
    assert "when the oldest ends" in full.problem
    world.now += DAY
    assert (await world.look(rotate_key="more")).rotated == "more"


async def test_a_clock_that_is_set_back_keeps_both_keys_and_their_order(world):
    old, new = await rotated(world)
    world.now -= 10 * DAY
    assert [await world.verifies(key, rotate_key="1") for key in (*old, *new)] == [True] * 4
    await world.look(rotate_key="2")
    entries = [time.entry for time in (await world.look(rotate_key="2")).times if time.entry.startswith("v1.")]
    assert entries == sorted(entries, reverse=True)
    assert len(entries) == 2


async def test_somebody_who_writes_at_the_same_time_wins_and_the_rotation_is_tried_again(world):
    await world.look()
    world.api.refusal = Conflict(409, "it was changed")
    told = await world.look(rotate_key="1")
    assert (told.rotated, told.again) == ("", world.now + 30)
    world.api.refusal = None
    assert (await world.look(rotate_key="1")).rotated == "1"


async def test_without_the_right_to_change_the_secret_the_old_key_signs_on_and_the_status_says_why(world):
    await world.look()
    world.api.refusal = Forbidden(403, "secrets is forbidden")
    told = await world.look(rotate_key="1")
    assert len(told.keys.hmac) == 1
    assert "can't be changed" in told.problem


async def test_a_secret_that_is_not_the_operators_own_is_never_written(world):
    mine: dict[str, Any] = {
        "v1": keys.encode_hmac(keys.new_hmac()),
        "v1a": keys.encode_ed25519_private(keys.new_ed25519()),
    }
    world.api.secrets = {"orders-signing": secret("u1", **mine), "mine": secret(**mine)}
    told = await world.look(rotate_key="1")
    assert "was not made by Hookline" in told.problem
    told = await world.look(rotate_key="1", signing_secret="mine")
    assert "add a key to it" in told.problem
    assert world.api.writes == 0


def stamped(key, stamp):
    return {f"v1.{stamp}": key}


async def own(world, extra, since="", schemes=("v1",), where="f:data"):
    """A Secret of the user's own with one key, and more."""
    found = secret(v1=OLD, **extra)
    if since:
        fields: dict[str, Any] = {f"f:{entry}": {} for entry in extra}
        found["metadata"]["managedFields"] = [{"time": since, "fieldsV1": {where: fields}}, {"manager": "odd"}]
    world.api.secrets["mine"] = found
    return await world.look(signing_secret="mine", schemes=schemes)


OLD, NEW = (keys.encode_hmac(bytes([number]) * 32) for number in (1, 2))
MINE = {"signing_secret": "mine", "schemes": ("v1",)}


async def test_a_key_added_to_an_own_secret_signs_at_once_and_the_old_one_until_the_overlap_is_over(world):
    told = await own(world, stamped(NEW, "20260101T000000Z"), "2026-01-01T00:00:00Z")
    assert [(time.entry, time.until) for time in told.times] == [
        ("v1.20260101T000000Z", None),
        ("v1", START + DAY),
    ]
    assert told.again == START + DAY
    for passed, expected in ((0, True), (DAY - 1, True), (DAY, False)):
        world.now = START + passed
        assert [await world.verifies(key, **MINE) for key in (OLD, NEW)] == [expected, True]
    assert world.api.writes == 0


@pytest.mark.parametrize("where", ["f:data", "f:stringData"])
async def test_a_key_that_was_named_long_before_it_was_added_counts_from_the_api_servers_time_on(world, where):
    world.now = START + 5 * DAY
    await own(world, stamped(NEW, "20260101T000000Z"), "2026-01-06T00:00:00Z", where=where)
    assert [await world.verifies(key, **MINE) for key in (OLD, NEW)] == [True, True]


async def test_the_control_by_its_name_alone_the_old_key_would_have_stopped_before_anybody_could_know(world):
    world.now = START + 5 * DAY
    await own(world, stamped(NEW, "20260101T000000Z"))
    assert [await world.verifies(key, **MINE) for key in (OLD, NEW)] == [False, True]


async def test_the_new_key_under_both_names_is_one_key(world):
    world.api.secrets["mine"] = secret(v1=NEW, **stamped(NEW, "20260101T000000Z"))
    assert (await world.look(**MINE)).keys.hmac == (keys.parse_hmac(NEW),)


@pytest.mark.parametrize("entry", ["v1.new", "v1.20269901T000000Z", "v1a.2026-01-01"])
async def test_an_entry_that_looks_like_a_key_and_is_none_is_told(world, entry):
    told = await own(world, {entry: NEW})
    assert len(told.keys.hmac) == 1
    assert repr(entry) in told.problem


async def test_too_many_keys_and_malformed_ones_are_refused_without_showing_them(world):
    many = {f"v1.2026010{day}T000000Z": keys.encode_hmac(bytes([day]) * 32) for day in range(1, 6)}
    with pytest.raises(NotReadyError, match="more than 4"):
        await own(world, many)
    with pytest.raises(NotReadyError, match=r"v1\.20260101T000000Z") as caught:
        await own(world, stamped("whsec_canary", "20260101T000000Z"))
    assert "canary" not in str(caught.value)
