"""Rendering: the four formats, judged by the official CloudEvents parser, content, transform, identity, limits."""

import json

import orjson
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from hookline.errors import EvaluationError, RenderError
from hookline.render.renderer import Renderer
from hookline.spec import Content, Format, Operation, Payload
from support.samples import DEPLOYMENTS, change, config_map, subscription


def render(seen, *, sequence=1, cluster="", limit=1 << 20, changed=(), transformed=None, **payload):
    renderer = Renderer(subscription(payload=Payload(**payload), changed=changed), cluster, limit)
    return renderer.render(seen, sequence, transformed)


def parsed(message):
    return from_http_event(HTTPMessage(dict(message.headers), message.body), JSONFormat())


@pytest.mark.parametrize("kind", [Format.CLOUD_EVENTS, Format.CLOUD_EVENTS_BINARY])
def test_a_cloud_event_passes_the_official_parser(kind):
    message = render(change(Operation.CREATED, config_map(data={"a": "ü"})), format=kind, sequence=42)
    event = parsed(message)
    assert event.get_id() == message.id
    assert event.get_type() == "dev.hookline.core.configmap.created"
    assert event.get_source() == "/api/v1/namespaces/shop/configmaps"
    assert event.get_subject() == "web"
    assert event.get_time().isoformat() == "2026-01-01T00:00:00+00:00"
    assert event.get_extension("sequence") == "42"
    data = event.get_data()
    data = json.loads(data) if isinstance(data, (bytes, str)) else data
    assert data == {"operation": "Created", "object": config_map(data={"a": "ü"})}


def test_a_hostile_name_can_not_leave_its_header():
    message = render(change(obj=config_map('a"\r\nx: y%ü')), format=Format.CLOUD_EVENTS_BINARY)
    assert dict(message.headers)["ce-subject"] == "a%22%0D%0Ax:%20y%25%C3%BC"
    assert parsed(message).get_subject() == 'a"\r\nx: y%ü'


def test_a_standard_webhooks_body_is_type_timestamp_data():
    body = json.loads(render(change(), format=Format.STANDARD_WEBHOOKS, type="shop.web.changed").body)
    assert list(body) == ["type", "timestamp", "data"]
    assert body["type"] == "shop.web.changed"
    assert body["timestamp"] == "2026-01-01T00:00:00.000Z"


def test_raw_is_the_data_alone():
    assert json.loads(render(change(), format=Format.RAW).body) == {"operation": "Updated", "object": config_map()}


def test_a_transform_replaces_the_data():
    answer = orjson.Fragment(b'{"text":"web"}')
    assert render(change(), format=Format.RAW, transform="a transform", transformed=answer).body == b'{"text":"web"}'
    wrapped = json.loads(render(change(), format=Format.STANDARD_WEBHOOKS, transform="it", transformed=answer).body)
    assert wrapped["data"] == {"text": "web"}


def test_a_transform_sees_the_object_without_what_is_excluded():
    seen = change(obj=config_map(data={"secret": "x", "a": "1"}))
    payload = Payload(format=Format.RAW, transform="object.data", exclude=("data.secret",))
    assert Renderer(subscription(payload=payload), "", 1024).subject(seen).object["data"] == {"a": "1"}
    assert Renderer(subscription(), "", 1024).subject(seen) is seen, "the control; one conversion serves many"


def test_metadata_content_has_no_data():
    data = json.loads(render(change(obj=config_map(data={"a": "1"})), format=Format.RAW, content=Content.METADATA).body)
    assert data["object"] == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": config_map()["metadata"]}


def test_changes_content_tells_old_and_new_of_each_field_that_differs():
    seen = change(obj=config_map(data={"a": "2", "b": "1"}), old=config_map(data={"a": "1", "b": "1", "c": None}))
    changed = ("data.a", "data.b", "data.c")
    data = json.loads(render(seen, format=Format.RAW, content=Content.CHANGES, changed=changed).body)
    assert data["changes"] == [{"path": "data.a", "old": "1", "new": "2"}, {"path": "data.c", "old": None}]
    assert "data" not in data["object"]


def test_a_coalesced_change_says_so():
    assert json.loads(render(change(coalesced=True), format=Format.RAW).body)["coalesced"] is True


def test_a_deletion_is_partial_only_where_the_last_state_is_not_known_in_whole():
    """One that was seen brings the last state in whole; one that was found out later has what was kept."""
    kept = config_map(version="5")
    seen = change(Operation.DELETED, config_map(version="9", data={"a": "1"}), kept, partial=True)
    assert "partial" not in json.loads(render(seen, format=Format.RAW).body)
    vanished = change(Operation.DELETED, kept, kept, partial=True)
    assert json.loads(render(vanished, format=Format.RAW).body)["partial"] is True
    assert json.loads(render(vanished, format=Format.RAW, exclude=("metadata.name",)).body)["partial"] is True


def test_the_cluster_is_the_first_part_of_the_source():
    seen = change(obj=config_map(), resource=DEPLOYMENTS)
    assert (
        parsed(render(seen, cluster="prod")).get_source() == "/clusters/prod/apis/apps/v1/namespaces/shop/deployments"
    )


def test_the_id_is_a_function_of_what_happened_and_holds_no_full_stop():
    first, again = render(change()), render(change(), sequence=9, format=Format.RAW)
    assert first.id == again.id
    assert "." not in first.id
    others = {render(change(Operation.CREATED)).id, render(change(obj=config_map(version="8"))).id, first.id}
    assert len(others) == 3


def test_the_same_input_gives_the_same_bytes():
    assert render(change()) == render(change())


@pytest.mark.parametrize(
    ("seen", "payload", "limit", "reason"),
    [
        (change(obj=config_map(data={"a": "x" * 2000})), {}, 1024, "too_large"),
        (change(), {"transform": "it", "transformed": EvaluationError("no")}, 1024, "transform_failed"),
        (change(), {"transform": "it", "transformed": RenderError("too_large", "no")}, 1024, "too_large"),
        (change(obj=config_map(data={"a": 2**70})), {}, 1024, "not_encodable"),
    ],
)
def test_what_can_not_become_a_message_is_dropped_with_a_reason(seen, payload, limit, reason):
    with pytest.raises(RenderError) as caught:
        render(seen, limit=limit, **payload)
    assert caught.value.reason == reason


@pytest.mark.parametrize("chosen", list(Format))
def test_a_ping_has_the_subscriptions_format_and_ignores_its_transform(chosen):
    subscribed = subscription(payload=Payload(format=chosen, transform="object.missing"))
    ping = Renderer(subscribed, "prod", 1024).ping("2026-01-01T00:00:00Z", 1767225600.0, 5)
    assert (ping.event_type, ping.sequence, ping.subscription) == ("dev.hookline.ping", 5, subscribed.uid)
    body = json.loads(ping.body)
    data = body["data"] if chosen in (Format.CLOUD_EVENTS, Format.STANDARD_WEBHOOKS) else body
    assert data["operation"] == "Ping"
    assert data["requestedAt"] == "2026-01-01T00:00:00Z"
    assert data["object"]["metadata"] == {"namespace": "shop", "name": "orders", "uid": subscribed.uid}
    if chosen in (Format.CLOUD_EVENTS, Format.CLOUD_EVENTS_BINARY):
        event = parsed(ping)
        assert event.get_type() == "dev.hookline.ping"
        assert event.get_source().endswith("/namespaces/shop/webhooksubscriptions")


def test_the_id_of_a_ping_follows_from_the_request():
    renderer = Renderer(subscription(), "", 1024)
    assert renderer.ping("a", 1.0, 1).id == renderer.ping("a", 2.0, 9).id != renderer.ping("b", 1.0, 1).id
