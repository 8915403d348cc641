"""Claims about values out of an event, and the texts made of them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookline.errors import SettingsError
from hookline.receiver.template import Event, Template, source

DOCUMENT = {"data": {"name": "Zoë", "items": [{"n": 1}, {"n": 2}], "a key": True, "none": None, "big": 2**70}}


def event(document: object = DOCUMENT, body: bytes | None = None) -> Event:
    return Event("orders", "msg_1", 1_700_000_000, json.dumps(document).encode() if body is None else body)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$.data.name", "Zoë"),
        ("$.data.items[1].n", 2),
        ("$['data']['a key']", True),
        ("$.data.none", None),
        ("$.data.absent.deeper", None),
        ("$.data.items[7]", None),
        ("$.data[0]", None),
        ("$.data.name[0]", None),
        ("$", DOCUMENT),
        ("@id", "msg_1"),
        ("@timestamp", 1_700_000_000),
        ("@endpoint", "orders"),
        ("@body", json.dumps(DOCUMENT)),
    ],
)
def test_a_source_is_looked_up(path, value):
    assert source(path)(event()) == value


@pytest.mark.parametrize("text", ["", "data", "$data", "$.", "$.a b", "$[x]", "$..a", "$[-1]", "@header", "@__class__"])
def test_what_is_no_source_is_refused(text):
    with pytest.raises(SettingsError, match="is no source"):
        source(text)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_a_body_that_is_no_json_has_no_values(body):
    assert source("$.data.name")(event(body=body)) is None
    assert Template("{$.data.name}!").render(event(body=body)) == "!"


def test_a_template_replaces_sources_and_leaves_other_braces():
    template = Template("{$.data.name} {} {0} {name} {{$.data.items[0].n}} %s {@id}{$.data.none}")
    assert template.render(event()) == "Zoë {} {0} {name} {1} %s msg_1"


def test_a_value_is_never_read_as_a_template():
    hostile = "{@body} {$.secret} {0.__class__} %(x)s"
    assert Template("<{$.name}>").render(event({"name": hostile, "secret": "s"})) == f"<{hostile}>"


def test_only_values_are_escaped():
    assert Template("<b>{$.name}</b>", lambda text: text.replace("<", "&lt;")).render(event({"name": "<i>"})) == (
        "<b>&lt;i></b>"
    )


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_any_value_becomes_text_that_can_be_encoded(value):
    Template("{$.value}").render(event({"value": value})).encode()


def test_half_a_surrogate_pair_becomes_text_that_can_be_encoded():
    assert Template("{$.value}").render(event(body=b'{"value": "a\\ud800b"}')).encode() == b"a?b"
