"""The API of replays as the API server enforces it: what is refused and in which words, and that a spec is for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controlplane import ControlPlane, ControlPlaneError
from hookline.api.replay import parse_replay
from hookline.status.replay import replay_status
from hookline.stored import ReplayCounts, ReplayFinding
from support.replay_cases import ACCEPTED, NO_CHANGE, NOON, REFUSED, SMALLEST
from support.schema import Spec, assert_refused, causes, definition, merged, rules, schema_of

Send = Callable[[Spec], Any]
STATUS = schema_of("webhookreplays")["properties"]["status"]


@pytest.fixture
def path(namespace: str) -> str:
    return f"/apis/hookline.dev/v1alpha1/namespaces/{namespace}/webhookreplays"


@pytest.fixture
def send(control_plane: ControlPlane, crds: object, path: str) -> Send:
    """Creates a replay of this spec, as `kubectl` does, and returns what was stored."""

    def create(spec: Spec) -> Any:
        head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookReplay", "metadata": {"name": "test"}}
        return control_plane.request("POST", f"{path}?fieldValidation=Strict", head | {"spec": spec})

    return create


@pytest.mark.parametrize(("patch", "field", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_a_replay_that_can_not_work_is_refused_with_what_to_write_instead(
    send: Send, patch: Spec, field: str, words: str
) -> None:
    assert_refused(lambda: send(merged(SMALLEST, patch)), field, words)


@pytest.mark.parametrize("patch", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_makes_sense_is_accepted_and_understood(send: Send, patch: Spec) -> None:
    parse_replay(send(merged(SMALLEST, patch)), "uid")


def test_every_rule_of_the_replay_has_its_test() -> None:
    tested = {words for _, _, words in REFUSED.values()} | {NO_CHANGE}
    assert rules(schema_of("webhookreplays")) - tested == set()


@pytest.mark.parametrize(
    "patch", [{"subscriptionName": "other"}, {"ids": ["msg_1"]}, {"states": ["Delivered"]}, {"from": NOON}], ids=str
)
def test_a_spec_can_not_be_changed(send: Send, control_plane: ControlPlane, path: str, patch: Spec) -> None:
    stored = send(SMALLEST)
    with pytest.raises(ControlPlaneError) as refusal:
        control_plane.request("PUT", f"{path}/test", stored | {"spec": merged(stored["spec"], patch)})
    [(at, message)] = causes(refusal.value)
    assert (at, message.partition(": ")[2] or message) == ("spec", NO_CHANGE)
    labelled = {**stored, "metadata": {**stored["metadata"], "labels": {"a": "b"}}}
    control_plane.request("PUT", f"{path}/test", labelled)  # the control: the rest can


def test_a_new_replay_is_visibly_pending_and_its_default_is_stored(
    send: Send, kubectl: Callable[..., str], namespace: str
) -> None:
    assert send(SMALLEST)["spec"] == {"subscriptionName": "orders", "states": ["Dead"]}
    header, row = kubectl("get", "whreplay", "--namespace", namespace).splitlines()
    assert header.split() == ["NAME", "SUBSCRIPTION", "COMPLETE", "REASON", "TOTAL", "REPLAYED", "FAILED", "AGE"]
    assert row.split()[:4] == ["test", "orders", "False", "Pending"]
    wide = kubectl("get", "hookline", "--namespace", namespace, "--output", "wide")
    assert "Waiting for the operator; is it running?" in wide


@pytest.mark.parametrize("counts", [ReplayCounts(3, 2, 1, 1e9), ReplayCounts(3, 3, 0, 1e9), ReplayCounts(3, 0, 0, 1e9)])
def test_every_status_that_the_operator_writes_is_accepted_unpruned(
    send: Send, control_plane: ControlPlane, path: str, counts: ReplayCounts
) -> None:
    stored = send(SMALLEST)
    status = replay_status(stored, ReplayFinding(counts), 1_767_225_600.0)
    assert status.keys() <= STATUS["properties"].keys()
    after = control_plane.request("PUT", f"{path}/test/status", stored | {"status": status})
    assert after["status"] == status


def test_the_replay_is_found_by_its_short_name_and_category() -> None:
    names = definition("webhookreplays")["spec"]["names"]
    assert (names["shortNames"], names["categories"]) == (["whreplay"], ["hookline"])
