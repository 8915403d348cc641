"""Other people's code verifies what we sign: the official libraries of four languages, and three ed25519 of others."""

from __future__ import annotations

import base64
import random
import time
from collections import Counter
from pathlib import Path

import nacl.exceptions
import nacl.signing
import pytest
from standardwebhooks import Webhook

import interop
from hookline.errors import VerificationError
from hookline.keys import parse_ed25519_public
from hookline.receiver.verifier import Verifier
from support import signed

COUNT, SEED = 1000, 5


@pytest.fixture(scope="module")
def requests() -> list[signed.Signed]:
    """The thousand requests."""
    return list(signed.requests(COUNT, SEED, int(time.time())))


@pytest.fixture(scope="module")
def controls(requests: list[signed.Signed]) -> list[signed.Signed]:
    """The same with one bit flipped in each."""
    dice = random.Random(SEED)
    return [signed.flipped(request, index, dice) for index, request in enumerate(requests)]


def official(request: signed.Signed) -> bool:
    try:
        for secret in request.secrets:
            Webhook(secret).verify(request.body, request.headers)
    except Exception:  # noqa: BLE001 (the library lets errors of its parsing through: refused all the same)
        return False
    return True


def libsodium(request: signed.Signed) -> bool:
    content = f"{request.id}.{request.timestamp}.".encode() + request.body
    texts = [entry[4:] for entry in request.signature.split() if entry.startswith("v1a,")]
    return all(any(_sodium_ok(key, content, text) for text in texts) for key in request.public_keys)


def _sodium_ok(key: str, content: bytes, text: str) -> bool:
    try:
        nacl.signing.VerifyKey(parse_ed25519_public(key)).verify(content, base64.b64decode(text))
    except (nacl.exceptions.BadSignatureError, ValueError):
        return False
    return True


def ours(request: signed.Signed) -> bool:
    try:
        for key in (*request.secrets, *request.public_keys):
            Verifier([key]).verify(request.headers, request.body)
    except VerificationError:
        return False
    return True


def test_the_thousand_requests_are_of_every_shape(requests):
    bodies = [request.body for request in requests]
    assert b"{}" in bodies
    assert sum(len(body) > signed.LARGEST - 4096 for body in bodies) == 3
    assert sum(not body.isascii() for body in bodies) > 200
    assert sum(b"\\u00" in body for body in bodies) > 100
    assert Counter(len(request.secrets) for request in requests) == {1: 334, 2: 333, 3: 333}
    assert sum(b'"specversion"' in body for body in bodies) > 200
    assert sum(body.startswith(b'{"type":') for body in bodies) > 200
    assert len({request.id for request in requests}) == COUNT


@pytest.mark.parametrize("check", [official, libsodium, ours])
def test_a_thousand_requests_are_verified_in_python_and_none_with_a_flipped_bit(requests, controls, check):
    assert sum(map(check, requests)) == COUNT
    assert sum(map(check, controls)) == 0


@pytest.mark.timeout(900)  # the first time it is built
@pytest.mark.parametrize(
    ("language", "schemes"), [("js", ("v1", "v1a")), ("go", ("v1", "v1a")), ("rust", ("v1",))], ids=interop.LANGUAGES
)
def test_a_thousand_requests_are_verified_by_the_official_library_of(
    requests, controls, language, schemes, tmp_path: Path
):
    try:
        command = interop.provide(language)
    except interop.Unavailable as reason:
        pytest.skip(str(reason))
    # Built or not: what is verified is no older than the tolerance allows.
    fresh = list(signed.requests(COUNT, SEED, int(time.time())))
    dice = random.Random(SEED)
    spoilt = [signed.flipped(request, index, dice) for index, request in enumerate(fresh)]
    good = interop.counts(command, signed.write(tmp_path / "requests", fresh))
    bad = interop.counts(command, signed.write(tmp_path / "controls", spoilt))
    assert good == {"requests": COUNT} | dict.fromkeys(schemes, COUNT)
    assert bad == {"requests": COUNT} | dict.fromkeys(schemes, 0)
