"""Claims about signatures and keys, against published vectors and the official library."""

from __future__ import annotations

import base64
import datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.errors import InvalidKey, NotReadyError
from hookline.model import SigningKeys

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


def test_v1_matches_the_vector_of_the_python_go_and_javascript_libraries():
    signer = Signer(SigningKeys((keys.parse_hmac(WHSEC),), ()), ["v1"])
    signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_v1_matches_the_vector_of_the_rust_library():
    signer = Signer(SigningKeys((keys.parse_hmac("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),), ()), ["v1"])
    signature = signer.sign(
        "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553, b'{"email":"test@example.com","username":"test_user"}'
    )
    assert signature == "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="


def test_v1a_matches_the_vector_of_svix():
    signer = Signer(SigningKeys((), (keys.parse_ed25519_private(WHSK),)), ["v1a"])
    signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == ("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==")


@given(secret=st.binary(min_size=24, max_size=64), body=st.text())
def test_v1_is_what_the_official_library_signs(secret, body):
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    ours = Signer(SigningKeys((secret,), ()), ["v1"]).sign("msg_1", int(moment.timestamp()), body.encode())
    assert ours == Webhook(keys.encode_hmac(secret)).sign("msg_1", moment, body)


def test_every_key_signs_first_all_v1_and_then_all_v1a_in_their_order():
    hmacs, seeds = (keys.new_hmac(), keys.new_hmac()), (keys.new_ed25519(), keys.new_ed25519())
    both = Signer(SigningKeys(hmacs, seeds), ["v1", "v1a"]).sign("m", 1, b"x").split(" ")
    singles = [Signer(SigningKeys((key,), ()), ["v1"]).sign("m", 1, b"x") for key in hmacs]
    singles += [Signer(SigningKeys((), (seed,)), ["v1a"]).sign("m", 1, b"x") for seed in seeds]
    assert both == singles
    assert [entry.partition(",")[0] for entry in both] == ["v1", "v1", "v1a", "v1a"]


def test_signing_twice_gives_the_same_signature_again():
    signer = Signer(SigningKeys((keys.new_hmac(),), (keys.new_ed25519(),)), ["v1", "v1a"])
    first = signer.sign("m", 1, b"x")
    assert signer.sign("m", 2, b"x") != first
    assert signer.sign("m", 1, b"x") == first


def test_only_the_wanted_schemes_sign_and_nothing_goes_out_unsigned():
    material = SigningKeys((keys.new_hmac(),), (keys.new_ed25519(),))
    assert Signer(material, ["v1"]).sign("m", 1, b"").startswith("v1,")
    with pytest.raises(NotReadyError):
        Signer(material, [])
    with pytest.raises(NotReadyError):
        Signer(SigningKeys((keys.new_hmac(),), ()), ["v1a"])


def test_key_texts_are_those_of_svix_and_round_trip():
    assert keys.encode_hmac(keys.parse_hmac(WHSEC)) == WHSEC
    seed = keys.parse_ed25519_private(WHSK)
    assert keys.encode_ed25519_private(seed) == WHSK
    assert keys.encode_ed25519_public(seed) == WHPK
    assert base64.b64encode(keys.parse_ed25519_public(f" {WHPK}\n")).decode() == WHPK.removeprefix("whpk_")
    Ed25519PublicKey.from_public_bytes(keys.parse_ed25519_public(WHPK))


def test_fresh_keys_are_of_the_right_size_and_differ():
    assert len(keys.new_hmac()) == len(keys.new_ed25519()) == 32
    assert keys.new_hmac() != keys.new_hmac()


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_secret_of_24_to_64_bytes_is_taken_padded_or_not(size):
    text = keys.encode_hmac(bytes(range(size)))
    assert keys.parse_hmac(text) == keys.parse_hmac(text.rstrip("=")) == bytes(range(size))


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (keys.parse_hmac, keys.encode_hmac(b"x" * 23)),
        (keys.parse_hmac, keys.encode_hmac(b"x" * 65)),
        (keys.parse_hmac, ""),
        (keys.parse_hmac, "whsec_"),
        (keys.parse_hmac, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (keys.parse_hmac, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_"),
        (keys.parse_hmac, "whsec_Mf KQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (keys.parse_hmac, "whsec_ÄfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        (keys.parse_hmac, WHPK),
        (keys.parse_ed25519_private, WHSEC),
        (keys.parse_ed25519_private, "whsk_" + WHPK.removeprefix("whpk_")),
        (keys.parse_ed25519_private, keys.PRIVATE_PREFIX + base64.b64encode(b"x" * 64).decode()),
        (keys.parse_ed25519_public, WHSK),
        (keys.parse_ed25519_public, "whpk_" + WHSEC.removeprefix("whsec_")),
    ],
)
def test_a_malformed_key_is_refused_without_being_shown(parse, text):
    with pytest.raises(InvalidKey) as refusal:
        parse(text)
    assert not text.partition("_")[2] or text.partition("_")[2] not in str(refusal.value)
