"""What comes over the wire, hostile objects included."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookline.errors import ApiError, Forbidden, ResourceGone
from hookline.model import Resource
from hookline.watch import skim
from hookline.watch.wire import Undecodable, decode_event, decode_page, named

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps", namespaced=True)
DEEP = b"[" * 3000 + b"]" * 3000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def metadata(uid: str) -> bytes:
    return b'{"name":"a","uid":"%s","resourceVersion":"7"}' % uid.encode()


def hostile(uid: str, content: bytes) -> bytes:
    return b'{"apiVersion":"v1","kind":"ConfigMap","data":%s,"metadata":%s}' % (content, metadata(uid))


def test_a_watch_event_is_decoded_once_and_whole() -> None:
    event = decode_event(
        b'{"type":"ADDED","object":{"kind":"ConfigMap","data":{"a":"b"},"metadata":%s}}' % metadata("u")
    )
    assert (event.type, event.uid, event.resource_version, event.damaged) == ("ADDED", "u", "7", False)
    assert event.object["data"] == {"a": "b"}


def test_a_bookmark_needs_no_uid() -> None:
    event = decode_event(b'{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}')
    assert (event.type, event.resource_version) == ("BOOKMARK", "9")


@pytest.mark.parametrize("content", [DEEP, b'"\\ud800"', b"1e400"], ids=["deep", "surrogate", "infinite"])
def test_an_event_that_the_parser_refuses_still_tells_its_metadata(content: bytes) -> None:
    line = b'{"type":"MODIFIED","object":%s}' % hostile("u", content)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(line)
    event = decode_event(line)
    assert (event.type, event.uid, event.resource_version, event.damaged) == ("MODIFIED", "u", "7", True)
    assert "data" not in event.object


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b'{"type":"ADDED"}',
        b'{"type":"ADDED","object":{"metadata":{}}}',
        b'{"type":"ADDED","obj',
        b"<html>",
    ],
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(Undecodable):
        decode_event(line)


def test_an_error_event_raises_what_it_says() -> None:
    def line(code: int) -> bytes:
        return b'{"type":"ERROR","object":{"kind":"Status","code":%d,"message":"m"}}' % code

    with pytest.raises(ResourceGone):
        decode_event(line(410))
    with pytest.raises(Forbidden):
        decode_event(line(403))
    with pytest.raises(ApiError, match="500: m"):
        decode_event(line(500))


def test_items_of_a_list_get_the_kind_that_they_lack() -> None:
    page = decode_page(
        b'{"metadata":{"resourceVersion":"9","continue":"t"},"items":[{"metadata":%s}]}' % metadata("u"), CONFIG_MAPS
    )
    assert page.items["u"]["kind"] == "ConfigMap"
    assert page.items["u"]["apiVersion"] == "v1"
    assert (page.resource_version, page.token, page.damaged) == ("9", "t", frozenset())


def test_one_hostile_object_damages_itself_and_no_other_of_its_page() -> None:
    items = b",".join([hostile("good", b'{"a":"b"}'), hostile("bad", DEEP), hostile("fine", b"{}")])
    page = decode_page(b'{"items":[%s],"metadata":{"resourceVersion":"9"}}' % items, CONFIG_MAPS)
    assert list(page.uids) == ["good", "bad", "fine"]
    assert page.damaged == {"bad"}
    assert page.items["good"]["data"] == {"a": "b"}
    assert "data" not in page.items["bad"]


def test_an_empty_list_may_say_null() -> None:
    assert not decode_page(b'{"metadata":{"resourceVersion":"9"},"items":null}', CONFIG_MAPS).items


@given(st.dictionaries(st.text(), JSON, max_size=5), st.sampled_from([None, 2]))
def test_skimming_finds_the_members_that_a_parser_finds(value: dict[str, object], indent: int | None) -> None:
    raw = json.dumps(value, indent=indent).encode()
    assert {key: json.loads(part) for key, part in skim.members(raw).items()} == value


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 2]))
def test_skimming_finds_the_elements_that_a_parser_finds(value: list[object], indent: int | None) -> None:
    assert [json.loads(part) for part in skim.elements(json.dumps(value, indent=indent).encode())] == value


@given(st.binary(max_size=60))
def test_skimming_anything_raises_nothing_but_value_error(raw: bytes) -> None:
    for read in (skim.members, skim.elements):
        try:
            read(raw)
        except ValueError:
            continue


def test_a_name_with_what_separates_the_terms_of_a_selector_is_escaped() -> None:
    assert named("plain-name.1") == "metadata.name=plain-name.1"
    assert named("a,b=c\\d") == "metadata.name=a\\,b\\=c\\\\d"
