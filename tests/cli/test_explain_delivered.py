"""The body that ``explain`` shows is, byte for byte, the one that the operator then delivers.

But for what depends on the very moment: ``time`` and ``sequence``; and of a deletion the version, from which the id
follows, for the API server gives it one only when it happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver
from support.terminal import CommandLine
from support.whole import Subscriptions

SPECS: dict[str, dict[str, Any]] = {
    "events": {},
    "binary": {"payload": {"format": "CloudEventsBinary", "type": "shop.changed"}},
    "standard": {"payload": {"format": "StandardWebhooks", "content": "Metadata"}},
    "changes": {
        "filter": {"changed": ["data.key", "data.other"]},
        "payload": {"content": "Changes", "exclude": ["metadata.labels"]},
    },
    "chat": {
        "filter": {"expression": "object.data.key != 'unwanted'"},
        "payload": {
            "format": "Raw",
            "transform": "{'text': object.metadata.name + ' ' + operation, 'was': oldObject == null ? 'new' : "
            "oldObject.data.key, 'ü': object.data}",
        },
    },
    "raw": {"payload": {"format": "Raw"}},
    "others": {"sources": [{"apiVersion": "v1", "kind": "ConfigMap", "names": ["others"]}]},
}
OF_HTTP = {"host", "content-length", "accept"}
DELIVERED = SPECS.keys() - {"others"}
MOMENT = re.compile(rb'("(?:time|timestamp)":"[0-9TZ:.-]+"|"sequence":"[0-9]+")')
VERSION = re.compile(rb'("id":"msg_[a-z2-7]{32}"|"resourceVersion":"[0-9]+")')


def explained(hookline: CommandLine, *arguments: str) -> dict[str, Any]:
    done = hookline("explain", *arguments, "-o", "json")
    assert done.code == 0, done.err
    return {item["name"]: item for item in json.loads(done.out)["subscriptions"]}


def delivered(receiver: LiveReceiver, number: int) -> dict[str, Any]:
    """The requests of the change of this number, by subscription."""
    count = number * len(DELIVERED)
    eventually(lambda: len(receiver.requests) >= count, f"{count} requests arrived")
    return {request.target.strip("/"): request for request in receiver.requests[count - len(DELIVERED) :]}


def compare(
    said: dict[str, Any], got: dict[str, Any], *, timeless: re.Pattern[bytes] = MOMENT, ids: bool = True
) -> None:
    assert {name for name, item in said.items() if item["verdict"] == "Match"} == DELIVERED == got.keys()
    for name, request in got.items():
        shown = said[name]["request"]
        assert timeless.sub(b"", shown["body"].encode()) == timeless.sub(b"", request.body)
        headers = {header["name"]: header.get("value") for header in shown["headers"]}
        assert headers.keys() == request.headers.keys() - OF_HTTP
        known = {key for key, value in headers.items() if value is not None}
        if not ids:
            known -= {"webhook-id", "ce-id"}
        known -= {"ce-time", "ce-sequence"}
        assert {key: headers[key] for key in known} == {key: request.headers[key] for key in known}


def test_what_is_explained_is_what_is_delivered(
    make_operator: Callable[..., LiveOperator],
    receiver: LiveReceiver,
    subscriptions: Subscriptions,
    kubectl: Kubectl,
    namespace: str,
    hookline: CommandLine,
    tmp_path: Path,
) -> None:
    make_operator().start()

    def config_map(**data: str) -> None:
        metadata = {"name": "orders", "labels": {"app": "orders"}}
        kubectl.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, namespace=namespace
        )

    for name, spec in SPECS.items():
        headers = [{"name": "X-Team", "value": "shop"}]
        subscriptions.apply(name, **spec, destination={"url": receiver.url(f"/{name}"), "headers": headers})
    for name in SPECS:
        subscriptions.wait("Watching", name)
    path, old = f"/api/v1/namespaces/{namespace}/configmaps/orders", tmp_path / "old.json"

    config_map(key="ü", same="1")
    got = delivered(receiver, 1)
    said = explained(hookline, "cm/orders")
    compare(said, got)
    assert all(check["result"] == "Passed" for item in said.values() for check in item["checks"]), "it is in force"

    old.write_text(kubectl("get", "--raw", path))
    config_map(key="\U0001f9f6", same="1")
    got = delivered(receiver, 2)
    said = explained(hookline, "cm/orders", "--old", str(old))
    compare(said, got)
    assert json.loads(said["changes"]["request"]["body"])["data"]["changes"] == [
        {"path": "data.key", "old": "ü", "new": "\U0001f9f6"}
    ]

    old.write_text(kubectl("get", "--raw", path))
    said = explained(hookline, "-f", str(old), "--operation", "Deleted")
    kubectl("delete", "configmap", "orders", "-n", namespace)
    got = delivered(receiver, 3)
    compare(said, got, timeless=re.compile(MOMENT.pattern + b"|" + VERSION.pattern), ids=False)
    assert said["raw"]["request"]["body"].encode() != MOMENT.sub(b"", got["raw"].body), (
        "the control: the version differs"
    )

    suspended = {"url": receiver.url("/raw"), "headers": headers}
    subscriptions.apply("raw", payload={"format": "Raw"}, destination=suspended, suspend=True)
    subscriptions.wait("Suspended", "raw")
    said = explained(hookline, "-f", str(old), "--subscription", "raw")
    assert [check["step"] for check in said["raw"]["checks"] if check["result"] == "Failed"] == ["sending"]
    subscriptions.apply("refused", destination={"url": "https://10.0.0.1/"})
    subscriptions.wait("DestinationRefused", "refused")
    said = explained(hookline, "-f", str(old), "--subscription", "refused")
    assert (said["refused"]["verdict"], said["refused"]["inForce"]) == ("Match", "False")
