"""Secrets as metadata: what of an object goes on, whatever the API server sent."""

from __future__ import annotations

import json

import pytest

from hookline.model import Resource
from hookline.watch import bare, wire

SECRETS = Resource("v1", "Secret", "secrets", namespaced=True)
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps", namespaced=True)
METADATA = {
    "name": "a",
    "uid": "u",
    "resourceVersion": "7",
    "labels": {"team": "x"},
    "annotations": {"kept": "yes", **dict.fromkeys(bare.COPIES, "hidden")},
    "managedFields": [{"fieldsV1": {"f:data": {"f:hidden": {}}}}],
}
WHOLE = {"apiVersion": "v1", "kind": "Secret", "metadata": METADATA, "data": {"hidden": "eA=="}, "type": "hidden"}
PARTIAL = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": METADATA}
BARE = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {
        "name": "a",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"team": "x"},
        "annotations": {"kept": "yes"},
    },
}


@pytest.mark.parametrize("sent", [WHOLE, PARTIAL], ids=["whole", "partial"])
def test_a_secret_goes_on_as_its_metadata_though_a_whole_one_was_sent(sent):
    line = json.dumps({"type": "ADDED", "object": sent}).encode()
    page = json.dumps({"items": [sent], "metadata": {"resourceVersion": "9"}}).encode()
    assert wire.decode_event(line, SECRETS).object == BARE
    assert dict(wire.decode_page(page, SECRETS)) == {"u": BARE}
    assert "hidden" not in json.dumps(BARE)
    assert wire.decode_event(line, CONFIG_MAPS).object == sent, "the control: other resources pass as they are"


def test_a_damaged_secret_goes_on_as_its_metadata_too():
    deep = b"[" * 3000 + b"]" * 3000
    line = b'{"type":"ADDED","object":{"data":%s,"metadata":%s}}' % (deep, json.dumps(METADATA).encode())
    event = wire.decode_event(line, SECRETS)
    assert event.damaged
    assert event.object == BARE


def test_whole_objects_are_never_accepted_for_secrets_not_even_as_a_second_choice():
    for accepted in (
        bare.accept_watch(SECRETS),
        bare.accept_list(SECRETS, "application/json"),
        bare.accept_list(SECRETS, wire.METADATA_LIST),
    ):
        assert all("as=PartialObjectMetadata" in choice for choice in accepted.split(","))
    assert bare.accept_watch(CONFIG_MAPS) == bare.accept_list(CONFIG_MAPS, "application/json") == "application/json"
