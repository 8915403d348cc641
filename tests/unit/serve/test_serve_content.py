"""A delivery with its content is the same JSON however its body is cut into parts, and no part of it is long."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hookline.model import Message
from hookline.serve import shapes
from hookline.serve.shapes import Owner
from hookline.stored import Delivery, DeliveryState
from support.outbox import message

OWNER = Owner("shop", "orders")
FOUND = Delivery("msg_0001", 1, "u", "t", 2, DeliveryState.PENDING, 0, None, None, 1.0, 1.0, 1.0, None)
PART = shapes._PART


def of(body: bytes) -> Message:
    return message(1, body=body)


def shown(body: bytes, most: int = 1 << 30) -> Any:
    whole = json.loads(b"".join(shapes.content(OWNER, FOUND, of(body), most)))
    assert {key: whole[key] for key in whole if key != "request"} == shapes.delivery(OWNER, FOUND)
    return whole["request"]


@given(st.text(), st.integers(0, 3 * PART))
@example('"', PART - 1)
@example("\N{GRINNING FACE}", PART - 1)
@example("\N{GRINNING FACE}", PART - 2)
@example("\N{GRINNING FACE}", PART - 3)
def test_text_is_shown_as_it_is_wherever_it_is_cut(text, before):
    body = "x" * before + text
    found = shown(body.encode())
    assert (found["bodyEncoding"], found["body"]) == ("text", body)


@given(st.binary(max_size=100), st.integers(0, 2 * PART))
def test_bytes_are_shown_as_they_are_wherever_they_are_cut(raw, before):
    body = b"\xff" * before + b"\xff" + raw
    found = shown(body)
    assert found["bodyEncoding"] == "base64"
    assert base64.b64decode(found["body"], validate=True) == body


@given(st.text(alphabet="a\N{LATIN SMALL LETTER E WITH ACUTE}\N{EURO SIGN}\N{GRINNING FACE}", min_size=1), st.data())
def test_a_character_that_is_cut_apart_at_the_end_is_left_out(text, data):
    raw = text.encode()
    most = data.draw(st.integers(0, len(raw) - 1))
    found = shown(raw, most)
    assert (found["bodyEncoding"], found["bodyTruncated"]) == ("text", True)
    assert text.startswith(found["body"])
    assert 0 <= most - len(found["body"].encode()) < 4


@pytest.mark.parametrize("end", [b"\xe2\x82", b"\xff"])
def test_what_ends_in_half_a_character_by_itself_is_no_text(end):
    assert shown(b"a" * PART + end)["bodyEncoding"] == "base64"


@pytest.mark.parametrize("fill", [b"\x01", b'"', b"\xff"])
def test_no_part_is_longer_than_an_escaped_piece(fill):
    """The control: the whole is much longer than the body."""
    parts = [len(part) for part in shapes.content(OWNER, FOUND, of(fill * 1_000_000), 1 << 30)]
    assert max(parts) <= 80 * 1024
    assert sum(parts) > 1_300_000
