"""Claims about what a receiver accepts."""

from __future__ import annotations

import base64
import contextlib
import datetime
import math
import random

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import example, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.errors import MissingHeader, SettingsError, SignatureMismatch, TimestampOutOfTolerance, VerificationError
from hookline.model import SigningKeys
from hookline.receiver.verifier import MOST_PUBLIC_KEYS, Verified, Verifier, verify

NOW = 1_700_000_000
SECRET, SEED = bytes(range(32)), bytes(range(1, 33))
WHSEC, WHPK = keys.encode_hmac(SECRET), keys.encode_ed25519_public(SEED)
BODY = '{"name":"Zoë"}'.encode()


def signed(schemes: tuple[str, ...] = ("v1", "v1a"), timestamp: int = NOW, body: bytes = BODY) -> dict[str, str]:
    signature = Signer(SigningKeys((SECRET,), (SEED,)), schemes).sign("msg_1", timestamp, body)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(timestamp), "webhook-signature": signature}


def verifier(*accepted: str) -> Verifier:
    return Verifier(accepted or (WHSEC, WHPK), clock=lambda: NOW)


@pytest.mark.parametrize("key", [WHSEC, WHPK])
def test_either_key_verifies_a_request_signed_with_both_schemes(key):
    assert verifier(key).verify(signed(), BODY) == Verified("msg_1", NOW)


def test_what_the_official_library_signs_is_accepted():
    signature = Webhook(WHSEC).sign("msg_1", datetime.datetime.fromtimestamp(NOW, tz=datetime.UTC), BODY.decode())
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(NOW), "Webhook-Signature": f"v2,abc {signature}"}
    assert verifier(WHSEC).verify(headers, BODY).id == "msg_1"


def test_a_key_verifies_only_its_own_scheme():
    with pytest.raises(SignatureMismatch):
        verifier(WHPK).verify(signed(("v1",)), BODY)
    with pytest.raises(SignatureMismatch):
        verifier(WHSEC).verify(signed(("v1a",)), BODY)


def test_old_and_new_key_are_both_accepted_during_a_rotation():
    other = keys.encode_hmac(b"o" * 32)
    assert verifier(other, WHSEC).verify(signed(("v1",)), BODY)
    with pytest.raises(SignatureMismatch):
        verifier(other).verify(signed(("v1",)), BODY)


@pytest.mark.parametrize("offset", [-300, 300])
def test_a_timestamp_at_the_edge_of_the_tolerance_is_accepted(offset):
    assert verifier().verify(signed(timestamp=NOW + offset), BODY)


@pytest.mark.parametrize("offset", [-301, 301])
def test_a_timestamp_beyond_the_tolerance_is_refused_both_ways(offset):
    with pytest.raises(TimestampOutOfTolerance):
        verifier().verify(signed(timestamp=NOW + offset), BODY)


@pytest.mark.parametrize("scheme", ["v1", "v1a"])
def test_no_flip_of_a_single_bit_is_accepted(scheme):
    headers = signed((scheme,))
    check = verifier()
    assert check.verify(headers, BODY)  # the control: unchanged it passes
    flips = 0
    for name in headers:
        raw = headers[name].encode()
        for bit in range(len(raw) * 8):
            changed = bytearray(raw)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(VerificationError):
                check.verify({**headers, name: changed.decode("latin-1")}, BODY)
            flips += 1
    for bit in range(len(BODY) * 8):
        changed = bytearray(BODY)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureMismatch):
            check.verify(headers, bytes(changed))
        flips += 1
    assert flips > 500


class Flips:
    """A hundred random messages, and a hundred random bits of each; counted, so that none is skipped unseen."""

    def __init__(self) -> None:
        self.controls = self.refused = self.accepted = 0

    @settings(max_examples=100, deadline=None, derandomize=True, database=None)
    @given(
        message_id=st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=40),
        offset=st.integers(-300, 300),
        text=st.text(max_size=200),
        asymmetric=st.booleans(),
        seed=st.integers(0, 2**32),
    )
    def flip(self, message_id: str, offset: int, text: str, asymmetric: bool, seed: int) -> None:
        if self.controls == 100:
            return
        scheme = "v1a" if asymmetric else "v1"
        body = text.encode()
        signature = Signer(SigningKeys((SECRET,), (SEED,)), (scheme,)).sign(message_id, NOW + offset, body)
        parts = [message_id.encode(), str(NOW + offset).encode(), signature.encode(), body]
        self.controls += self.passes(parts)
        dice = random.Random(seed)
        for bit in (dice.randrange(8 * sum(map(len, parts))) for _ in range(100)):
            flipped = [bytearray(part) for part in parts]
            place = bit // 8
            for part in flipped:
                if place < len(part):
                    part[place] ^= 1 << bit % 8
                    break
                place -= len(part)
            if self.passes([bytes(part) for part in flipped]):
                self.accepted += 1
            else:
                self.refused += 1

    def passes(self, parts: list[bytes]) -> bool:
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        headers = {name: part.decode("latin-1") for name, part in zip(names, parts[:3], strict=True)}
        try:
            verifier().verify(headers, parts[3])
        except VerificationError:
            return False
        return True


def test_of_ten_thousand_flips_of_a_single_bit_none_is_accepted():
    flips = Flips()
    flips.flip()
    assert (flips.controls, flips.refused, flips.accepted) == (100, 10_000, 0)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_is_there_twice_is_refused(name):
    """The application could read the other one."""
    pairs = list(signed().items())
    assert verifier().verify(pairs, BODY)
    with pytest.raises(MissingHeader, match="twice"):
        verifier().verify([*pairs, (name.upper(), dict(pairs)[name])], BODY)


def test_the_timestamp_is_signed_as_it_is_written():
    with pytest.raises(SignatureMismatch):
        verifier().verify({**signed(), "webhook-timestamp": f"0{NOW}"}, BODY)


def test_one_request_can_be_verified_by_a_plain_function():
    assert verify([WHPK], signed(), BODY, clock=lambda: NOW) == Verified("msg_1", NOW)
    with pytest.raises(TimestampOutOfTolerance):
        verify([WHPK], signed(), BODY, clock=lambda: NOW + 11, tolerance=10)


def test_moving_the_boundary_between_id_and_timestamp_is_refused():
    headers = signed(("v1",))
    with pytest.raises(MissingHeader):
        verifier().verify({**headers, "webhook-id": "msg_1.17"}, BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_or_empty_header_is_named(name):
    headers = signed()
    with pytest.raises(MissingHeader, match=name):
        verifier().verify({**headers, name: ""}, BODY)
    del headers[name]
    with pytest.raises(MissingHeader, match=name):
        verifier().verify(headers, BODY)


@pytest.mark.parametrize("value", ["1e9", "-5", "1700000000.5", " 1700000000", "\u0661\u0667", "0x5", "9" * 30])
def test_a_timestamp_that_is_no_whole_number_is_malformed(value):
    with pytest.raises(MissingHeader):
        verifier().verify({**signed(), "webhook-timestamp": value}, BODY)


@pytest.mark.parametrize("value", ["v1", "v1,", "v1,,", ",", "v1a,", "v1a,====", "v0,abc", "v1a," + "A" * 88])
def test_malformed_signatures_are_a_mismatch_and_never_another_error(value):
    with pytest.raises(SignatureMismatch) as refusal:
        verifier().verify({**signed(), "webhook-signature": value}, BODY)
    good = signed()["webhook-signature"].split(",")[1].split()[0]
    assert good not in str(refusal.value)


def test_a_signature_behind_very_many_others_is_not_looked_for():
    headers = signed(("v1",))
    stuffed = " ".join(["v1,AAAA"] * 16 + [headers["webhook-signature"]])
    with pytest.raises(SignatureMismatch):
        verifier().verify({**headers, "webhook-signature": stuffed}, BODY)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("value", ["\udcff", "v1,\udcff", "v1a,\udcff", "v1,ä", "v1a,ä"])
def test_a_header_that_is_not_ascii_is_malformed_and_never_another_error(name, value):
    """Servers decode a byte that is not UTF-8 into half of a surrogate pair."""
    with pytest.raises(MissingHeader, match=name):
        verifier().verify({**signed(), name: f"{signed()[name]} {value}"}, BODY)


WIRE = st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape"))  # as aiohttp reads a header
ANY_TEXT = WIRE | st.text(st.characters(exclude_categories=()), max_size=40)  # halves of surrogate pairs too
SCHEMES = st.sampled_from(["", "v1,", "v1a,", "v1 ", "v1,AAAA "])


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(name=st.sampled_from(sorted(signed())), scheme=SCHEMES, text=ANY_TEXT)
@example(name="webhook-signature", scheme="v1,", text="\udcff")
def test_whatever_is_in_a_header_the_refusal_is_of_its_own_kind(name, scheme, text):
    """Any other exception would be an error of the server for each request that anybody can make."""
    with contextlib.suppress(VerificationError):
        verifier().verify({**signed(), name: scheme + text}, BODY)


class Counted:
    """Stands before the public keys of a Verifier, and counts what they verify."""

    def __init__(self, monkeypatch) -> None:
        self.checks = 0
        monkeypatch.setattr("hookline.receiver.verifier.Ed25519PublicKey", self)

    def from_public_bytes(self, raw: bytes):
        key = Ed25519PublicKey.from_public_bytes(raw)

        class One:
            def verify(_, signature: bytes, data: bytes) -> None:  # noqa: N805
                self.checks += 1
                key.verify(signature, data)

        return One()


def forged(number: int) -> str:
    return "v1a," + base64.b64encode(bytes([number]) * 64).decode()


def test_a_forged_request_costs_no_more_than_four_checks_for_each_public_key(monkeypatch):
    counted = Counted(monkeypatch)
    publics = [keys.encode_ed25519_public(bytes([number]) * 32) for number in range(MOST_PUBLIC_KEYS)]
    headers = {**signed(), "webhook-signature": " ".join(map(forged, range(16)))}
    with pytest.raises(SignatureMismatch):
        verifier(WHPK).verify(headers, BODY)
    assert counted.checks == 4
    with pytest.raises(SignatureMismatch):
        verifier(*publics).verify(headers, BODY)
    assert counted.checks == 4 + 4 * MOST_PUBLIC_KEYS


def test_the_fourth_signature_is_still_looked_at_and_one_that_is_there_twice_counts_once():
    """As many as Hookline signs with at the same time: the control of the bound."""
    good = signed(("v1a",))["webhook-signature"]
    several = " ".join([forged(1), *[forged(2)] * 5, forged(3), good])
    assert verifier(WHPK).verify({**signed(), "webhook-signature": several}, BODY)
    with pytest.raises(SignatureMismatch):
        verifier(WHPK).verify({**signed(), "webhook-signature": f"{forged(4)} {several}"}, BODY)


@pytest.mark.parametrize(
    "text", ["v1a,", "v1a,AAAA", "v1a," + "A" * 88, "v1a," + "A" * 86 + "B=", "v2," + "A" * 86 + "=="]
)
def test_what_is_no_signature_is_not_even_tried(monkeypatch, text):
    counted = Counted(monkeypatch)
    with pytest.raises(SignatureMismatch):
        verifier(WHPK).verify({**signed(), "webhook-signature": text}, BODY)
    assert counted.checks == 0


def test_the_cheap_signatures_are_compared_before_the_dear_ones(monkeypatch):
    counted = Counted(monkeypatch)
    dear_first = " ".join([forged(1), forged(2), signed(("v1",))["webhook-signature"]])
    assert verifier().verify({**signed(), "webhook-signature": dear_first}, BODY)
    assert counted.checks == 0


def test_more_public_keys_than_can_be_checked_are_refused():
    publics = [keys.encode_ed25519_public(bytes([number]) * 32) for number in range(MOST_PUBLIC_KEYS + 1)]
    assert Verifier(publics[1:]), "the control"
    with pytest.raises(SettingsError, match="at most 16 whpk_ keys"):
        Verifier(publics)


@pytest.mark.parametrize("tolerance", [math.nan, math.inf, -1, -math.inf])
def test_a_tolerance_that_is_no_number_of_seconds_is_refused(tolerance):
    """To NaN no difference is too large."""
    with pytest.raises(SettingsError, match="tolerance"):
        Verifier([WHSEC], tolerance)


@pytest.mark.parametrize("wrong", [(), ("",), ("whsec_AAAA",), ("whsk_AAAA",), ("whpk_AAAA",)])
def test_a_verifier_is_not_made_without_a_good_key(wrong):
    with pytest.raises(SettingsError):
        Verifier(wrong)
