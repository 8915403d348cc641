"""The CRDs and the policy in the chart: those of ``crds/``, installed, upgraded and kept as the values say."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chart import CHART, ROOT


def sources(kind):
    objects = [obj for path in (ROOT / "crds").glob("*.yaml") for obj in yaml.safe_load_all(path.read_text())]
    return {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == kind}


@pytest.mark.parametrize(
    "kind", ["CustomResourceDefinition", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
)
def test_what_is_rendered_is_the_top_level_folder_but_for_labels_and_annotations(render, kind):
    rendered = {obj["metadata"]["name"]: obj for obj in render({"rbac": {"bounds": {"enabled": False}}}).all(kind)}
    assert rendered.keys() == sources(kind).keys() != set()
    for name, obj in rendered.items():
        assert obj["spec"] == sources(kind)[name]["spec"]


def test_no_file_of_the_folder_is_left_out():
    copied = {
        path.name: path.read_bytes() for folder in ("crds", "policies") for path in (CHART / "files" / folder).iterdir()
    }
    assert copied == {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}


def test_crds_are_templates_because_helm_never_upgrades_those_in_its_own_folder():
    assert not Path(CHART / "crds").exists()


def test_an_uninstall_keeps_the_crds_and_so_the_subscriptions_unless_it_is_told_not_to(render):
    kept = [crd["metadata"]["annotations"] for crd in render().all("CustomResourceDefinition")]
    assert kept == [{"helm.sh/resource-policy": "keep"}] * 2
    loose = render({"crds": {"keep": False}}).all("CustomResourceDefinition")
    assert ["annotations" in crd["metadata"] for crd in loose] == [False, False]


def test_crds_and_policy_can_be_left_to_another_release(render):
    rendered = render({"crds": {"enabled": False}, "admissionPolicy": {"enabled": False}})
    assert not any("Definition" in obj["kind"] or "Policy" in obj["apiVersion"] for obj in rendered)
    policies = {obj["metadata"]["name"] for obj in rendered if obj["kind"].startswith("ValidatingAdmission")}
    assert policies == {"hookline-operator"}, "the bounds of an operator are its own release's"
