"""Names and labels: short enough, unique for a release, and selectors that never change."""

from __future__ import annotations

import pytest

from hookline.cli.tunnel import LABEL

LONG = "a-" * 26 + "z"  # 53 characters, the longest name that Helm takes
SELECTED_BY = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
SHARED = {"webhooksubscriptions.hookline.dev", "webhookreplays.hookline.dev", "serviceaccounts.hookline.dev"}
"""Names that the API or the code fixes: one release of a cluster has them."""


@pytest.mark.parametrize(
    ("values", "release", "name"),
    [
        ({}, "hookline", "hookline"),
        ({}, "prod", "prod-hookline"),
        ({}, "my-hookline-2", "my-hookline-2"),
        ({"nameOverride": "hooks"}, "prod", "prod-hooks"),
        ({"fullnameOverride": "hooks"}, "prod", "hooks"),
    ],
)
def test_objects_are_named_after_release_and_chart(render, values, release, name):
    assert render(values, name=release).one("Deployment")["metadata"]["name"] == name


@pytest.mark.parametrize("values", [{}, {"nameOverride": "n" * 80}, {"fullnameOverride": "f" * 62 + "-" + "g" * 9}])
def test_no_name_and_no_label_is_longer_than_63_characters(render, values):
    rendered = render(values, name=LONG)
    named = [rendered.one(kind) for kind in ("Deployment", "Service", "NetworkPolicy", "PersistentVolumeClaim")]
    names = [obj["metadata"]["name"] for obj in named]
    labels = [label for obj in rendered for label in obj["metadata"]["labels"].values()]
    assert max(map(len, [*names, *labels])) <= 63
    assert not any(text.endswith("-") for text in [*names, *labels])


def test_a_service_account_of_the_values_has_that_name_everywhere(render):
    rendered = render({"serviceAccount": {"create": False, "name": "mine"}})
    assert rendered.all("ServiceAccount") == []
    bound = {subject["name"] for obj in rendered if "subjects" in obj for subject in obj["subjects"]}
    assert bound == {rendered.pod["spec"]["serviceAccountName"]} == {"mine"}


def test_every_object_has_the_standard_labels_and_the_common_ones(render, ci):
    values = ci["everything"]
    ours = [obj for obj in render(values) if "extra" not in obj["metadata"]["name"]]
    for obj in [*ours, render(values).pod]:
        labels = obj["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == "0.1.0"
        assert labels["helm.sh/chart"] == "hookline-0.1.0"
        assert labels["team"] == "platform"


def test_common_labels_and_pod_labels_change_no_label_that_selects_and_those_of_the_pod_win(render):
    rendered = render({"commonLabels": {"team": "a", "zone": "a"}, "podLabels": {"team": "b"}})
    selector = rendered.one("Deployment")["spec"]["selector"]["matchLabels"]
    assert set(selector) == SELECTED_BY
    assert selector.items() <= rendered.pod["metadata"]["labels"].items()
    assert {"team": "b", "zone": "a"}.items() <= rendered.pod["metadata"]["labels"].items()


@pytest.mark.parametrize("values", [{}, {"nameOverride": "hooks"}])
def test_kubectl_hookline_finds_the_pod_whatever_it_is_called(render, values):
    rendered = render(values, name="prod")
    wanted = dict(part.split("=") for part in LABEL.split(","))
    assert wanted.items() <= rendered.pod["metadata"]["labels"].items()
    assert not wanted.items() <= rendered.one("Service")["metadata"]["labels"].items()


def test_all_that_selects_pods_selects_ours(render, ci):
    rendered = render(ci["everything"])
    selectors = [
        rendered.one("Service")["spec"]["selector"],
        rendered.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
        rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        rendered.one("PodMonitor")["spec"]["selector"]["matchLabels"],
    ]
    assert selectors == [rendered.one("Deployment")["spec"]["selector"]["matchLabels"]] * 4


def test_two_releases_in_a_cluster_share_no_name_but_those_that_the_api_fixes(render):
    def names(release):
        return {
            (obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]) for obj in render(name=release)
        }

    assert {name for _, _, name in names("hookline") & names("second")} == SHARED


def test_extra_objects_are_objects_or_templates(render, ci):
    rendered = render(ci["everything"])
    assert rendered.one("ConfigMap", "extra-object")["data"] == {"release": "hookline"}
    assert rendered.one("ConfigMap", "hookline-extra-text")
