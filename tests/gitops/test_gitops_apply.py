"""Server-side apply by Flux or Argo CD, and the operator beside it: no conflict, no difference, nothing lingers."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

import rights
from chart import ROOT
from support.cluster import KubectlError, eventually

FLUX, ARGO = "kustomize-controller", "argocd-controller"
OURS = "webhooksubscriptions,webhookreplays"


@pytest.fixture
def apply(kubectl, namespace):
    """``apply(FLUX, obj, …)``: server-side, without force; returns the objects that came of it."""

    def applied(manager, *objects, dry_run=False, force=False):
        options = ["--server-side", f"--field-manager={manager}", f"--namespace={namespace}"]
        options += ["--dry-run=server"] * dry_run + ["--force-conflicts"] * force
        answer = kubectl.json("apply", *options, "-f", "-", input=listed(objects))
        return answer.get("items", [answer])

    return applied


def listed(objects):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def subscription(receiver, name="orders", **spec):
    plain = {"sources": [{"apiVersion": "v1", "kind": "ConfigMap"}], "destination": {"url": receiver.url("/")}}
    head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription", "metadata": {"name": name}}
    return head | {"spec": plain | spec}


@pytest.fixture
def all_samples(namespace):
    """Every subscription and replay of ``crds/samples`` as Git would have it, each with a name of its own."""
    objects = []
    for path in sorted((ROOT / "crds" / "samples").glob("*.yaml")):
        for number, obj in enumerate(yaml.safe_load_all(path.read_text("utf-8"))):
            if obj and obj["kind"] in ("WebhookSubscription", "WebhookReplay"):
                obj["metadata"] = {"name": f"{path.stem}-{number}", "namespace": namespace}
                objects.append(obj)
    assert len(objects) > 20
    return objects


def live(kubectl, namespace):
    objects = kubectl.json("get", OURS, "-n", namespace, "--show-managed-fields")["items"]
    return {obj["metadata"]["name"]: obj for obj in objects}


def in_cases(wanted, lived, predicted):
    """What the judge is asked: each object as Git has it, with what is in the cluster and what would be."""
    would = {obj["metadata"]["name"]: obj for obj in predicted}
    names = [obj["metadata"]["name"] for obj in wanted]
    return [{"wanted": w, "live": lived[n], "predicted": would[n]} for w, n in zip(wanted, names, strict=True)]


@pytest.mark.parametrize("way", ["server-side", "client-side"])
def test_defaults_make_no_difference_of_any_sample(crds, kubectl, namespace, apply, all_samples, judge, way):
    if way == "server-side":
        apply(ARGO, *all_samples)
    else:
        kubectl("apply", f"--namespace={namespace}", "-f", "-", input=listed(all_samples))
    lived = live(kubectl, namespace)
    assert any("operations" in source for obj in lived.values() for source in obj["spec"].get("sources", ()))
    predicted = apply(ARGO, *all_samples, dry_run=True, force=way == "client-side")
    assert {obj["metadata"]["name"]: obj["spec"] for obj in predicted} == {
        name: obj["spec"] for name, obj in lived.items()
    }
    opinions = judge(*in_cases(all_samples, lived, predicted))
    assert not any(found["outOfSync"] or found["outOfSyncServerSide"] for found in opinions)


def test_a_change_in_git_is_a_difference(crds, kubectl, namespace, apply, receiver, judge):
    """The control of the test above."""
    before, after = (subscription(receiver, suspend=suspend) for suspend in (False, True))
    for obj in (before, after):
        obj["metadata"]["namespace"] = namespace
    apply(ARGO, before)
    (found,) = judge(*in_cases([after], live(kubectl, namespace), apply(ARGO, after, dry_run=True)))
    assert found["outOfSync"]
    assert found["outOfSyncServerSide"]


def test_only_a_server_side_comparison_sees_what_somebody_changed_in_a_source_by_hand(
    crds, kubectl, namespace, apply, receiver, judge
):
    obj = subscription(receiver)
    obj["metadata"]["namespace"] = namespace
    apply(ARGO, obj)
    patch = '[{"op": "replace", "path": "/spec/sources/0/operations", "value": ["Deleted"]}]'
    kubectl("patch", "whsub", "orders", "-n", namespace, "--type=json", "-p", patch)
    (found,) = judge(*in_cases([obj], live(kubectl, namespace), apply(ARGO, obj, dry_run=True, force=True)))
    assert (found["outOfSync"], found["outOfSyncServerSide"]) == (False, True)


def managers(obj):
    """Who owns which of the top fields, and through which subresource."""
    entries = obj["metadata"]["managedFields"]
    return {(entry["manager"], entry.get("subresource", ""), *sorted(entry["fieldsV1"])) for entry in entries}


def test_the_operator_owns_the_status_alone_and_applying_again_changes_nothing(
    operator, kubectl, namespace, apply, receiver, subscriptions, config_map
):
    wanted = subscription(receiver, signing={"schemes": ["v1a", "v1"]})
    (applied,) = apply(FLUX, wanted)
    subscriptions.wait("Watching")
    config_map("web", a="1")
    subscriptions.wait("Delivered", kind="Delivering")

    told = live(kubectl, namespace)["orders"]
    assert told["spec"] == applied["spec"]
    assert {field for _, part, *fields in managers(told) if not part for field in fields} == {"f:spec"}
    assert {who for who, part, *_ in managers(told) if not part} == {FLUX}
    (of_status,) = [rest for _, part, *rest in managers(told) if part == "status"]
    assert of_status == ["f:status"]
    assert told["metadata"].keys() & {"annotations", "finalizers", "labels"} == set()

    def unchanged():
        before = live(kubectl, namespace)["orders"]
        apply(FLUX, wanted)
        return live(kubectl, namespace)["orders"] == before

    eventually(unchanged, "applying again changes nothing, not even the resourceVersion")

    # The control: one who claims a field of the spec is in the way.
    kubectl("patch", "whsub", "orders", "-n", namespace, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    with pytest.raises(KubectlError, match="conflict"):
        apply(FLUX, wanted | {"spec": wanted["spec"] | {"suspend": False}})


def test_pruning_waits_for_nobody_and_a_namespace_ends_though_no_operator_runs(
    operator, kubectl, control_plane, namespace, apply, receiver, subscriptions
):
    apply(FLUX, subscription(receiver), subscription(receiver, "pruned"))
    subscriptions.wait("Watching")
    subscriptions.wait("Watching", "pruned")
    operator.kill()
    pruned = subscriptions.get("pruned")
    (owner,) = kubectl.json("get", "secret", key_of(pruned), "-n", namespace)["metadata"]["ownerReferences"]
    assert owner["uid"] == pruned["metadata"]["uid"]  # so that the cluster collects it
    kubectl("delete", "whsub", "pruned", "-n", namespace, "--timeout=10s")
    kubectl("delete", "namespace", namespace, "--timeout=60s")
    control_plane.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})  # for the fixture to delete


def key_of(obj):
    return obj["status"]["signing"]["secretName"]


def aggregated(namespace):
    """The aggregated role and what is added to it, under names and a label of this test's own."""
    found = []
    for obj in rights.cluster_mode():
        if obj["kind"] == "ClusterRole" and obj["metadata"]["name"].startswith(rights.WATCHED_NAME):
            obj["metadata"]["name"] += f"-{namespace}"
            text = json.dumps(obj).replace(rights.WATCHED_LABEL, f"{namespace}.example.com/watched")
            found.append(json.loads(text))
    return found


def test_the_aggregated_role_is_applied_again_beside_its_controller(kubectl, namespace, apply):
    role, added = aggregated(namespace)
    where = f"clusterrole/{role['metadata']['name']}"
    try:
        apply(FLUX, role, added)
        rules = eventually(lambda: kubectl.json("get", where).get("rules"), "the rules are aggregated")
        apply(FLUX, role, added)
        assert kubectl.json("get", where)["rules"] == rules == added["rules"]
        # The control: with rules that are said to be none, each apply would fight with the controller.
        with pytest.raises(KubectlError, match="conflict"):
            apply(FLUX, copy.deepcopy(role) | {"rules": []})
    finally:
        kubectl("delete", where, f"clusterrole/{added['metadata']['name']}")
