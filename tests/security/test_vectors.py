"""Published vectors pass through our signer and our verifier: Standard Webhooks' own, and Svix's for ed25519."""

from __future__ import annotations

import pytest

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.errors import SignatureMismatch
from hookline.model import SigningKeys
from hookline.receiver.verifier import Verifier

MESSAGE = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
VECTORS = {
    "python, go, javascript": (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        MESSAGE,
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    ),
    "rust": (
        "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
        ("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553, b'{"email":"test@example.com","username":"test_user"}'),
        "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=",
    ),
    "svix, ed25519": (
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
        MESSAGE,
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    ),
}


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS.values(), ids=VECTORS)
def test_a_published_vector_is_what_we_sign_and_what_we_verify(key, message, signature):
    message_id, timestamp, body = message
    if key.startswith("whsec_"):
        material, trusted = SigningKeys((keys.parse_hmac(key),), ()), key
    else:
        seed = keys.parse_ed25519_private(key)
        material, trusted = SigningKeys((), (seed,)), keys.encode_ed25519_public(seed)
    assert Signer(material, ["v1", "v1a"]).sign(message_id, timestamp, body) == signature
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp), "webhook-signature": signature}
    verifier = Verifier([trusted], clock=lambda: timestamp)
    assert verifier.verify(headers, body).id == message_id
    with pytest.raises(SignatureMismatch):
        verifier.verify(headers, body + b" ")
