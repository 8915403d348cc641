"""Claims about public keys from a JSON Web Key Set."""

from __future__ import annotations

import base64

import pytest

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.errors import SettingsError
from hookline.model import SigningKeys
from hookline.receiver.jwks import keys_from_jwks
from hookline.receiver.verifier import Verifier

SEED = bytes(range(32))
RFC_8037 = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
"""RFC 8037, appendix A.2."""


def jwk(seed: bytes = SEED, **more: str) -> dict[str, str]:
    raw = base64.b64decode(keys.encode_ed25519_public(seed).removeprefix("whpk_"))
    return {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(raw).rstrip(b"=").decode(), **more}


def test_the_key_of_the_rfc_is_read_as_the_rfc_says():
    whpk = keys_from_jwks({"keys": [RFC_8037]})[0]
    expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert base64.b64decode(whpk.removeprefix("whpk_")).hex() == expected


def test_a_request_verifies_with_any_key_of_the_set():
    old = bytes(range(1, 33))
    signature = Signer(SigningKeys((), (old,)), ("v1a",)).sign("msg_1", 1_700_000_000, b"{}")
    headers = {"webhook-id": "msg_1", "webhook-timestamp": "1700000000", "webhook-signature": signature}
    found = keys_from_jwks({"keys": [jwk(kid="new"), jwk(old, kid="old", use="sig", alg="EdDSA")]})
    assert Verifier(found, clock=lambda: 1_700_000_000).verify(headers, b"{}").id == "msg_1"


def test_keys_of_other_kinds_and_uses_are_left_out():
    others = [
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "x": RFC_8037["x"]},
        jwk(use="enc"),
        jwk(alg="ES256"),
        "no object",
    ]
    assert keys_from_jwks({"keys": [*others, RFC_8037]}) == keys_from_jwks({"keys": [RFC_8037]})
    with pytest.raises(SettingsError, match="1 to 16 keys"):
        keys_from_jwks({"keys": others})


@pytest.mark.parametrize("document", [None, [], {}, {"keys": {}}, {"keys": []}, {"keys": [jwk()] * 17}])
def test_what_is_no_set_of_one_to_16_keys_is_refused(document):
    with pytest.raises(SettingsError):
        keys_from_jwks(document)


@pytest.mark.parametrize("x", ["", "AAAA", "+" * 43, None, 7, RFC_8037["x"] + "AA"])
def test_a_malformed_key_is_refused_and_named(x):
    with pytest.raises(SettingsError, match=r"keys\[1\]"):
        keys_from_jwks({"keys": [RFC_8037, {**RFC_8037, "x": x}]})


def test_a_published_private_key_is_refused_and_not_shown():
    with pytest.raises(SettingsError, match="private") as refusal:
        keys_from_jwks({"keys": [jwk(d="c2VjcmV0")]})
    assert "c2VjcmV0" not in str(refusal.value)
