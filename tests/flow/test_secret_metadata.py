"""Kind Secret as a source: refused, or where the administrator allows it, metadata alone."""

from __future__ import annotations

import json
import secrets as random

import pytest

from support.cluster import KubectlError, eventually
from support.leaks import leaks
from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]
SOURCE = [{"apiVersion": "v1", "kind": "Secret"}]
OBSERVED = {"sources": SOURCE, "filter": {"expression": "object.metadata.name.startsWith('tenant')"}}
COPY = "kubectl.kubernetes.io/last-applied-configuration"
SEES = "{'kind': object.kind, 'annotations': object.metadata.annotations, 'data': has(object.data)}"
KEPT = "{'old': oldObject, 'new': object}"


@pytest.fixture
def secret(kubectl, namespace):
    """Applies a Secret as people do, so that kubectl keeps a copy of it in an annotation."""

    def apply(name, text):
        metadata = {"name": name, "annotations": {"team": "x"}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"password": text}}
        kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(body))
        made = kubectl.json("get", "secret", name, "-n", namespace)
        assert text in made["metadata"]["annotations"][COPY], "the control: kubectl keeps a copy"

    return apply


def test_a_secret_is_refused_where_the_administrator_does_not_allow_it(operator, subscriptions):
    subscriptions.apply(sources=SOURCE, payload={"content": "Metadata"})
    message = subscriptions.wait("KindRefused", kind="Accepted")
    assert "an administrator can allow its metadata alone" in message


@pytest.mark.parametrize("content", ["Full", None])
def test_a_secret_is_refused_where_more_than_metadata_is_asked_for(crds, subscriptions, content):
    payload = {"content": content} if content else {}
    with pytest.raises(KubectlError, match='must be "Metadata" with a source of kind "Secret"'):
        subscriptions.apply(sources=SOURCE, payload=payload)
    subscriptions.apply(sources=SOURCE, payload={"content": "Metadata"})


def test_changes_of_secrets_are_told_without_data_and_without_kubectls_copy(
    make_operator, subscriptions, receiver, secret, config_map, kubectl, namespace
):
    operator = make_operator("--allow-secret-metadata").start()
    canaries = {text: f"canary{random.token_hex(16)}" for text in ("before", "first", "second")}
    secret("tenant-before", canaries["before"])
    subscriptions.ready("metadata", **OBSERVED, payload={"content": "Metadata"})
    subscriptions.ready("transformed", **OBSERVED, payload={"transform": SEES})
    subscriptions.ready("kept", **OBSERVED, payload={"transform": KEPT})
    subscriptions.ready("maps")
    secret("tenant", canaries["first"])
    secret("tenant", canaries["second"])
    kubectl("delete", "secret", "tenant", "tenant-before", "-n", namespace)
    config_map("web", planted="planted-in-an-object")
    eventually(lambda: len([r for r in receiver.requests if r.target != "/maps"]) >= 12, "all events of three", 60)
    eventually(lambda: any(b"planted" in r.body for r in receiver.requests), "the event of the ConfigMap")
    events = [json.loads(r.body)["data"] for r in receiver.requests if r.target == "/metadata"]
    assert sorted(event["operation"] for event in events) == ["Created", "Deleted", "Deleted", "Updated"]
    for event in events:
        assert event["object"].keys() == {"apiVersion", "kind", "metadata"}
        assert event["object"]["kind"] == "Secret"
        assert event["object"]["metadata"]["annotations"] == {"team": "x"}
    seen = [json.loads(r.body)["data"] for r in receiver.requests if r.target == "/transformed"]
    assert seen
    assert all(data == {"kind": "Secret", "annotations": {"team": "x"}, "data": False} for data in seen)
    places = {f"file {file.name}": file.read_bytes() for file in (operator.home / "data").iterdir()}
    places |= {f"body {number}": request.body for number, request in enumerate(receiver.requests)}
    places["log"] = operator.log.read_bytes()
    assert leaks({name: text.encode() for name, text in canaries.items()} | {"copy": COPY.encode()}, places) == []
    objects = leaks({"object": b"planted-in-an-object"}, places)
    assert any("file outbox" in line for line in objects), "the control: what a ConfigMap holds is found"
