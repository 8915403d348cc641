"""``hookline explain`` as a process against a real API server: each reason of not matching, with its control."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from controlplane import ControlPlane
from support.cluster import Kubectl
from support.terminal import CommandLine, Done

NAMESPACE, OTHER = "explained", "elsewhere"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "orders", "namespace": NAMESPACE, "labels": {"app": "orders", "tier": "web"}},
    "spec": {
        "replicas": 3,
        "paused": True,
        "selector": {"matchLabels": {"app": "orders"}},
        "template": {
            "metadata": {"labels": {"app": "orders"}},
            "spec": {"containers": [{"name": "a", "image": "example.com/a:1"}]},
        },
    },
}
SOURCE = {"apiVersion": "apps/v1", "kind": "Deployment"}
POD = {"apiVersion": "v1", "kind": "Pod"}


class Reason(NamedTuple):
    """A spec that does not match for this step, with these words, and one that does."""

    step: str
    words: str
    wrong: dict[str, Any]
    right: dict[str, Any]


def source(**fields: Any) -> dict[str, Any]:
    return {"sources": [SOURCE | fields]}


def labelled(**labels: str) -> dict[str, Any]:
    return {"matchLabels": labels}


REASONS = {
    "kind": Reason(
        "kind", "the object is a Deployment of apps/v1", {"sources": [{"apiVersion": "v1", "kind": "Pod"}]}, source()
    ),
    "unserved": Reason(
        "spec",
        "example.com/v1/Widget is not served",
        {"sources": [{"apiVersion": "example.com/v1", "kind": "Widget"}]},
        source(),
    ),
    "namespace": Reason(
        "namespace",
        f"the object is in {NAMESPACE}, the source listens in {OTHER}",
        source(namespaces={"from": "Names", "names": [OTHER]}),
        source(namespaces={"from": "Names", "names": [OTHER, NAMESPACE]}),
    ),
    "labels of the namespace": Reason(
        "namespace labels",
        f"team=b: namespace {NAMESPACE} has team=a",
        source(namespaces={"from": "Selector", "selector": labelled(team="b")}),
        source(namespaces={"from": "Selector", "selector": labelled(team="a")}),
    ),
    "operation": Reason(
        "operation",
        "Updated is not one of Created, Deleted",
        source(operations=["Created", "Deleted"]),
        source(operations=["Updated"]),
    ),
    "name": Reason(
        "name", "orders is not one of billing", source(names=["billing"]), source(names=["billing", "orders"])
    ),
    "labels": Reason(
        "labels",
        "app=billing: the object has app=orders; absent: the object has no absent",
        source(labelSelector=labelled(app="billing") | {"matchExpressions": [{"key": "absent", "operator": "Exists"}]}),
        source(labelSelector=labelled(app="orders", tier="web")),
    ),
    "field selector": Reason(
        "field selector",
        "metadata.name=billing: the object has metadata.name=orders",
        source(fieldSelector="metadata.name=billing"),
        source(fieldSelector="metadata.name=orders"),
    ),
    "unsupported field": Reason(
        "field selector",
        "the API server can't select by it",
        source(fieldSelector="spec.replicas=5"),
        source(fieldSelector="metadata.name!=billing"),
    ),
    "changed": Reason(
        "changed",
        "none of the fields differs",
        {"filter": {"changed": ["spec.paused", "metadata.labels"]}},
        {"filter": {"changed": ["spec.paused", "spec.replicas"]}},
    ),
    "expression": Reason(
        "expression",
        "false",
        {"filter": {"expression": "object.spec.replicas < oldObject.spec.replicas"}},
        {"filter": {"expression": "object.spec.replicas > oldObject.spec.replicas"}},
    ),
    "failing expression": Reason(
        "expression",
        'it fails on this object, so it counts as false: NOT_FOUND: Key not found in map : "absent"',
        {"filter": {"expression": "object.spec.absent == 3"}},
        {"filter": {"expression": "!has(object.spec.absent)"}},
    ),
    "uncompilable expression": Reason(
        "spec",
        "spec.filter.expression: line 1, column 24: Syntax error",
        {"filter": {"expression": "object.spec.replicas =="}},
        {"filter": {"expression": "object.spec.replicas == 5"}},
    ),
    "cluster-scoped": Reason(
        "spec",
        "Namespace is a cluster-scoped kind: leave `namespaces` out",
        {"sources": [{"apiVersion": "v1", "kind": "Namespace", "namespaces": {"from": "All"}}]},
        source(namespaces={"from": "All"}),
    ),
}


def named(reason: str, end: str) -> str:
    return f"{reason.replace(' ', '-')}-{end}"


def subscription(name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    plain = {**source(), "destination": {"url": "https://hooks.example.com/orders"}}
    metadata = {"name": name, "namespace": NAMESPACE} | metadata
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": metadata,
        "spec": plain | spec,
    }


class Ground(NamedTuple):
    """The command, kubectl, and the files that hold the state of the Deployment before."""

    hookline: CommandLine
    kubectl: Kubectl
    old: Path


@pytest.fixture(scope="module")
def ground(
    control_plane: ControlPlane, crds: object, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ground]:
    """A Deployment that was scaled from 3 to 5, a namespace with labels, and every subscription of the reasons."""
    home = tmp_path_factory.mktemp("home")
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"team": "a"}}},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OTHER}},
    ]
    kubectl.apply(*namespaces)
    kubectl.apply(DEPLOYMENT)
    old = home / "old.yaml"
    old.write_text(kubectl("get", "deployment", "orders", "-n", NAMESPACE, "-o", "yaml"))
    kubectl("scale", "deployment", "orders", "-n", NAMESPACE, "--replicas=5")
    made = []
    for name, reason in REASONS.items():
        made += [subscription(named(name, "wrong"), reason.wrong), subscription(named(name, "right"), reason.right)]
    kubectl.apply(*made)
    yield Ground(CommandLine(control_plane, NAMESPACE, home), kubectl, old)
    for namespace in (NAMESPACE, OTHER):
        control_plane.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.fixture(scope="module")
def update(ground: Ground) -> dict[str, Any]:
    """What is said of the update, by subscription."""
    return explained(ground.hookline("explain", "deploy/orders", "--old", str(ground.old), "-o", "json"))


def explained(done: Done) -> dict[str, Any]:
    assert done.code == 0, done.err
    return {item["name"]: item for item in json.loads(done.out)["subscriptions"]}


def failed(item: dict[str, Any]) -> dict[str, str]:
    """The steps that are against it, with their words."""
    checks = [*item["checks"], *(check for look in item["sources"] for check in look["checks"])]
    return {check["step"]: check["message"] for check in checks if check["result"] == "Failed"}


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_of_not_matching_is_named_and_its_control_matches(update: dict[str, Any], name: str) -> None:
    reason = REASONS[name]
    wrong, right = update[named(name, "wrong")], update[named(name, "right")]
    assert wrong["verdict"] == "NoMatch"
    assert list(failed(wrong))[:1] == [reason.step]
    assert reason.words in failed(wrong)[reason.step]
    assert "request" not in wrong
    assert (right["verdict"], failed(right)) == ("Match", {})
    assert "request" in right


def test_the_fields_that_differ_and_those_that_do_not_are_shown(update: dict[str, Any]) -> None:
    [look] = update[named("changed", "right")]["sources"]
    [details] = [check["details"] for check in look["checks"] if check["step"] == "changed"]
    assert details == ["spec.replicas: 3 -> 5", "spec.paused: true, as before"]
    [look] = update[named("expression", "wrong")]["sources"]
    [details] = [check["details"] for check in look["checks"] if check["step"] == "expression"]
    assert details == ["object.spec.replicas = 5", "oldObject.spec.replicas = 3"]


def test_without_the_state_before_an_update_says_what_it_lacks_and_a_creation_needs_none(ground: Ground) -> None:
    update = explained(ground.hookline("explain", "deploy/orders", "--operation", "Updated", "-o", "json"))
    assert update[named("changed", "wrong")]["verdict"] == "Unknown"
    assert update[named("expression", "wrong")]["verdict"] == "Unknown"
    [look] = update[named("expression", "wrong")]["sources"]
    [details] = [check["details"] for check in look["checks"] if check["step"] == "expression"]
    assert "oldObject.spec.replicas = (not known)" in details
    assert update[named("name", "wrong")]["verdict"] == "NoMatch", "what does not depend on it is known"
    assert update[named("name", "right")]["verdict"] == "Match"
    arguments = ("deployments.apps", "orders", "--operation", "Created")
    creation = explained(ground.hookline("explain", *arguments, "-o", "json"))
    assert creation[named("changed", "wrong")]["verdict"] == "Match", "every field is new"
    assert creation[named("operation", "wrong")]["verdict"] == "Match"
    assert creation[named("operation", "right")]["verdict"] == "NoMatch"


def test_without_an_operation_each_source_is_asked_for_one_that_it_listens_to(ground: Ground) -> None:
    done = ground.hookline("explain", "deploy/orders", "-o", "json")
    seen = explained(done)
    assert "operation" not in json.loads(done.out)
    for end, operation in (("wrong", "created"), ("right", "updated")):
        item = seen[named("operation", end)]
        assert item["verdict"] == "Match"
        assert json.loads(item["request"]["body"])["type"] == f"dev.hookline.apps.deployment.{operation}"


def test_the_spec_of_a_file_is_held_against_the_api_server_and_nothing_is_stored(
    ground: Ground, tmp_path: Path
) -> None:
    file = tmp_path / "subscriptions.json"
    written = [
        subscription("refused", {"destination": {"url": "http://hooks.example.com"}}),
        subscription("fine", {}),
        subscription("inside", {"destination": {"url": "https://10.0.0.1/"}}),
        subscription("suspended", {"suspend": True}),
        subscription(named("name", "right"), source(names=["billing"])),
    ]
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": written}))
    seen = explained(ground.hookline("explain", "deploy/orders", "--subscription-file", str(file), "-o", "json"))
    assert 'must begin with "https://"' in failed(seen["refused"])["spec"]
    assert (seen["refused"]["verdict"], seen["refused"]["inForce"]) == ("Match", "False")
    assert (seen["fine"]["verdict"], seen["fine"]["inForce"], failed(seen["fine"])) == ("Match", "True", {})
    assert seen["inside"]["inForce"] == "Unknown", "an administrator may have allowed it"
    assert "spec.suspend" in failed(seen["suspended"])["sending"]
    assert seen["suspended"]["verdict"] == "Match"
    assert seen[named("name", "right")]["verdict"] == "NoMatch", "the file's spec counts, not the applied one"
    assert "refused" not in ground.kubectl("get", "whsub", "-n", NAMESPACE, "-o", "name")
    assert "fine" not in ground.kubectl("get", "whsub", "-n", NAMESPACE, "-o", "name")


def test_where_no_source_is_served_rights_are_neither_there_nor_missing(ground: Ground, tmp_path: Path) -> None:
    file = tmp_path / "subscription.json"
    widget = {"apiVersion": "example.com/v1", "kind": "NoSuchWidget"}
    file.write_text(json.dumps(subscription("early", {"sources": [widget]})))
    done = ground.hookline("explain", "deploy/orders", "--subscription-file", str(file), "-o", "json")
    checks = {check["step"]: check for check in explained(done)["early"]["checks"]}
    assert checks["rights"]["result"] == "Unknown"
    assert checks["rights"]["message"] == "they are looked up when a source is served"
    assert explained(done)["early"]["inForce"] == "False", "the spec says why"


def test_a_pasted_object_is_explained_and_what_it_lacks_is_said(ground: Ground) -> None:
    pasted = json.dumps(DEPLOYMENT | {"metadata": {"name": "orders", "labels": {"app": "orders", "tier": "web"}}})
    done = ground.hookline("explain", "-f", "-", "--operation", "Deleted", "-o", "json", input=pasted)
    seen = explained(done)
    assert "metadata.uid" in done.err
    assert seen[named("labels", "right")]["verdict"] == "Match"
    assert seen[named("labels", "wrong")]["verdict"] == "NoMatch"
    assert seen[named("field-selector", "right")]["verdict"] == "Match"
    assert seen[named("field-selector", "wrong")]["verdict"] == "NoMatch"
    assert seen[named("operation", "wrong")]["verdict"] == "Match"
    about = json.loads(done.out)["object"]
    assert about == {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": NAMESPACE, "name": "orders"}


def test_a_field_selector_makes_a_creation_of_an_update_that_brings_the_object_into_it(
    ground: Ground, tmp_path: Path
) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": NAMESPACE},
        "spec": {"containers": []},
    }
    before, after, file = tmp_path / "before.json", tmp_path / "after.json", tmp_path / "subscription.json"
    before.write_text(json.dumps(pod | {"status": {"phase": "Running"}}))
    after.write_text(json.dumps(pod | {"status": {"phase": "Failed"}}))
    failing = {**POD, "fieldSelector": "status.phase=Failed", "operations": ["Created"]}
    file.write_text(json.dumps(subscription("failing", {"sources": [failing], "payload": {"content": "Metadata"}})))
    arguments = ("-o", "json", "--subscription-file", str(file))
    into = explained(ground.hookline("explain", "-f", str(after), "--old", str(before), *arguments))["failing"]
    assert into["verdict"] == "Match"
    assert json.loads(into["request"]["body"])["type"] == "dev.hookline.core.pod.created"
    out_of = explained(ground.hookline("explain", "-f", str(before), "--old", str(after), *arguments))["failing"]
    assert failed(out_of) == {"operation": "Deleted is not one of Created"}


def test_who_may_not_ask_about_rights_or_namespaces_is_told_so(ground: Ground, control_plane: ControlPlane) -> None:
    rules = [
        {"apiGroups": ["hookline.dev"], "resources": ["webhooksubscriptions"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]},
    ]
    rbac = "rbac.authorization.k8s.io"
    metadata = {"name": "reader", "namespace": NAMESPACE}
    subject = {"apiGroup": rbac, "kind": "User", "name": "reader"}
    binding = {"roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reader"}, "subjects": [subject]}
    ground.kubectl.apply(
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {"apiVersion": f"{rbac}/v1", "kind": "RoleBinding", "metadata": metadata, **binding},
    )
    reader = ground.hookline.as_user(control_plane.user_kubeconfig("reader"))
    seen = explained(reader("explain", "deploy/orders", "--operation", "Deleted", "-o", "json"))
    assert [check for check in seen[named("name", "right")]["checks"] if check["step"] == "rights"] == [
        {
            "step": "rights",
            "result": "Unknown",
            "message": "it can't be told from here: you may not create subjectaccessreviews",
        }
    ]
    assert seen[named("name", "right")]["verdict"] == "Match"
    assert seen[named("labels of the namespace", "right")]["verdict"] == "Unknown"
    refused = reader("explain", "configmap/absent")
    assert refused.code == 1
    assert "cannot get resource" in refused.err


def test_people_get_the_steps_and_the_body_and_nothing_moves_their_terminal(ground: Ground) -> None:
    name = named("expression", "right")
    done = ground.hookline("explain", "deploy/orders", "--old", str(ground.old), "--subscription", name)
    assert done.code == 0, done.err
    for line in (
        f"Deployment orders in namespace {NAMESPACE}, as if it were Updated now",
        f"{NAMESPACE}/{name}: matches",
        "    expression       yes true",
        "                         oldObject.spec.replicas = 3",
        "  POST https://hooks.example.com",
        "    webhook-signature: (v1 and v1a, made for each attempt)",
        '        "type": "dev.hookline.apps.deployment.updated",',
    ):
        assert line in done.out.splitlines()
    assert "/orders\n" not in done.out.partition("POST")[2].splitlines()[0], "the path may be a secret"
    hostile = json.dumps(DEPLOYMENT | {"metadata": {"name": "a", "annotations": {"x": "\x1b[2J\u202e"}}})
    shown = ground.hookline("explain", "-f", "-", "--subscription", named("kind", "right"), input=hostile)
    assert shown.code == 0, shown.err
    assert not {"\x1b", "\u202e"} & set(shown.out)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("deploy/absent",), 1, 'there is no deployment "absent" in namespace "explained"'),
        (("deploymnt/orders",), 1, 'the cluster serves no "deploymnt"; did you mean "deployment"?'),
        (("deploy/orders", "-f", "x"), 2, "not by both"),
        ((), 2, "say which object"),
        (("-f", "/nowhere"), 1, "it can't be read"),
        (("deploy/orders", "--old", "OLD", "--operation", "Created"), 2, "--old is for an update"),
        (("deploy/orders", "--subscription", "absent"), 1, "absent"),
        (("deploy/orders", "--subscription-file", "OLD"), 1, "it has no WebhookSubscription"),
        (("configmap/kube-root-ca.crt", "--old", "OLD"), 1, "--old: it is another object"),
    ],
)
def test_what_can_not_be_explained_ends_with_a_sentence(
    ground: Ground, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = ground.hookline("explain", *(str(ground.old) if item == "OLD" else item for item in arguments))
    assert done.code == code
    assert words in done.err
    assert len(done.err.strip().splitlines()) == 1
