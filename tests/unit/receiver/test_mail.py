"""Claims about the mail of the action ``email``."""

from __future__ import annotations

import json
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hookline.receiver.fields import Field, Place
from hookline.receiver.mail import parse_email
from hookline.receiver.template import Event

SPEC = {
    "smtp": {"host": "mail.example.com"},
    "from": "hooks@example.com",
    "to": ["a@example.com", "b@example.com"],
    "subject": "Order {$.name}",
    "text": "It is {$.name}.",
}


def composed(name: str, message_id: str = "msg_1"):
    mail = parse_email(Field(SPEC, "email", Place(Path(), {})))
    event = Event("orders", message_id, 1_700_000_000, json.dumps({"name": name}).encode())
    return message_from_bytes(mail.compose(event).as_bytes(), policy=policy.default)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\x00"])
def test_a_value_cannot_add_a_header(newline):
    mail = composed(f"x{newline}Bcc: eve@example.com{newline}{newline}body")
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Order x Bcc: eve@example.com body"
    assert mail["To"] == "a@example.com, b@example.com"


def test_text_of_any_script_arrives():
    mail = composed("Zoë 日本")
    assert mail["Subject"] == "Order Zoë 日本"
    assert mail.get_content().strip() == "It is Zoë 日本."


def test_a_repetition_has_the_same_message_id_and_another_message_has_not():
    assert composed("x")["Message-ID"] == composed("x")["Message-ID"]
    assert composed("x")["Message-ID"] != composed("x", "msg_2")["Message-ID"]


def test_a_long_value_does_not_make_a_long_subject():
    assert len(composed("x" * 10_000)["Subject"]) == 200


PIECES = [
    "=?",
    "?=",
    "utf-8",
    "us-ascii",
    "?q?",
    "?b?",
    "=FF",
    "/w==",
    "_",
    " ",
    "\ud800",
    "\udcff",
    "\u202e",
    "é",
    "x" * 90,
    '"',
    "<@>",
]


@settings(deadline=None, derandomize=True, database=None)
@given(st.lists(st.sampled_from(PIECES) | st.characters(), max_size=20).map("".join))
@example("=?utf-8?q?=FF?=")
@example("=?us-ascii?b?/w==?=")
@example("(ééé?q?=?]?b?utf-8?=")  # EmailMessage takes it for encoded, and then can't encode it
@example("\ud800")
def test_of_whatever_is_in_an_event_a_mail_can_be_made(name):
    """One that can't be written could never be sent, and would be tried until it is given up."""
    mail = composed(name)
    assert set(mail.keys()) == {
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "MIME-Version",
        "Content-Type",
        "Content-Transfer-Encoding",
    }


def test_what_looks_encoded_is_shown_and_not_decoded():
    assert composed("=?utf-8?q?evil?=")["Subject"] == "Order = ?utf-8?q?evil?="
