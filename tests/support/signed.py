"""A thousand signed requests of every shape, each with a copy in which one bit is flipped.

In: a seed and the time. Out: ``Signed`` requests, and a file of them for ``hack/interop.py``.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.model import SigningKeys

SCHEMES = ("v1", "v1a")
LARGEST = 2 * 1024 * 1024
_HUGE = (0, 1, 2)  # these few have the largest body that the operator sends
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ",
    '\x00\x01\x07\x1b\x7f\r\n\t"\\/',  # what looks binary
    "äßЖ漢字עברית\u202e\u2028\u2029\ufeff\ufffd",
    "😀👩‍👩‍👧‍👦🇪🇺\U0010ffff",
)


@dataclass(frozen=True)
class Signed:
    """One request and what verifies it: every secret and every public key alone must do."""

    id: str
    timestamp: str
    signature: str
    body: bytes
    secrets: tuple[str, ...]
    public_keys: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """The three headers."""
        return {
            "webhook-id": self.id,
            "webhook-timestamp": self.timestamp,
            "webhook-signature": self.signature,
        }


def requests(count: int, seed: int, now: int) -> Iterator[Signed]:
    """``count`` requests, signed with one to three keys of each scheme; the same for the same seed and time."""
    dice = random.Random(seed)
    for index in range(count):
        material = SigningKeys(
            tuple(dice.randbytes(dice.randint(24, 64)) for _ in range(1 + index % 3)),
            tuple(dice.randbytes(32) for _ in range(1 + index % 3)),
        )
        message_id, body = _message(index, dice)
        yield Signed(
            message_id,
            str(now),
            Signer(material, SCHEMES).sign(message_id, now, body),
            body,
            tuple(keys.encode_hmac(secret) for secret in material.hmac),
            tuple(keys.encode_ed25519_public(key) for key in material.ed25519),
        )


def flipped(request: Signed, index: int, dice: random.Random) -> Signed:
    """The request with the lowest bit of one character flipped: in turn of the id, time, body, or each signature."""
    match index % 4:
        case 0:
            return replace(request, id=_flip(request.id, dice.randrange(len(request.id))))
        case 1:
            return replace(request, timestamp=_flip(request.timestamp, len(request.timestamp) - 1))
        case 2:
            body = bytearray(request.body)
            body[dice.randrange(len(body))] ^= 1
            return replace(request, body=bytes(body))
        case _:
            entries = (entry.split(",") for entry in request.signature.split())
            changed = [f"{scheme},{_flip(text, dice.randrange(40))}" for scheme, text in entries]
            return replace(request, signature=" ".join(changed))


def write(path: Path, signed: Sequence[Signed]) -> Path:
    """The file that the verifiers of other languages read."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for request in signed:
            lists = (" ".join(request.secrets), " ".join(request.public_keys))
            body = base64.b64encode(request.body).decode()
            file.write("\t".join((request.id, request.timestamp, request.signature, *lists, body)) + "\n")
    return path


def _message(index: int, dice: random.Random) -> tuple[str, bytes]:
    """An id, and a body in one of the formats, with data of some size and shape; every fiftieth is an empty object."""
    message_id = "msg_" + base64.b32encode(dice.randbytes(20)).decode().lower()
    data = {"blob": "x" * (LARGEST - 2048)} if index in _HUGE else _shape(dice, 3)
    kind, moment = "dev.hookline.core.configmap.updated", "2026-01-31T12:00:00.123Z"
    match index % 4:
        case 0:
            event = {"specversion": "1.0", "id": message_id, "source": "/clusters/test", "type": kind, "time": moment}
            body = event | {"datacontenttype": "application/json", "data": data}
        case 1:
            body = {"type": kind, "timestamp": moment, "data": data}
        case 2:  # CloudEvents in binary mode
            body = {"operation": "Updated", "object": data}
        case _:  # raw: any JSON
            body = data
    return message_id, b"{}" if index % 50 == 49 else orjson.dumps(body)


def _shape(dice: random.Random, depth: int) -> Any:
    if depth and (kind := dice.randrange(3)) < 2:
        inner = [_shape(dice, depth - 1) for _ in range(dice.randrange(4))]
        return inner if kind else {_text(dice): value for value in inner}
    scalars = (None, True, False, dice.randrange(-(2**53), 2**53), dice.uniform(-1e9, 1e9), _text(dice), _text(dice))
    return dice.choice(scalars)


def _text(dice: random.Random) -> str:
    if not dice.randrange(8):
        return base64.b64encode(dice.randbytes(64)).decode()
    return "".join(dice.choices(dice.choice(_ALPHABETS), k=dice.randrange(40)))


def _flip(text: str, place: int) -> str:
    return text[:place] + chr(ord(text[place]) ^ 1) + text[place + 1 :]
