"""Files that are generated are up to date, and the chart is well formed."""

from __future__ import annotations

import json
import os
import re
import tarfile

import pytest
import yaml

import chart
import chartvalues
import written
from hookline import __version__

SNAPSHOT = chart.ROOT / "tests" / "chart" / "golden" / "default.yaml"
AGAIN = "run: make chart"
KUBERNETES = "1.36.3"


def test_every_generated_file_is_what_is_generated():
    differing = [str(path) for path, text in chart.generated().items() if path.read_text(encoding="utf-8") != text]
    assert differing == [], AGAIN
    assert chart.stale() == [], AGAIN


def test_writing_touches_what_differs_alone_and_removes_what_is_stale(tmp_path, capsys):
    same, changed, new, old = (tmp_path / name for name in ("same", "changed", "in/new", "old"))
    for path in (same, changed, old):
        path.write_text("before")
    os.utime(same, (1, 1))
    written.write({same: "before", changed: "after", new: "after"}, [old])
    assert {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == {
        "same": "before",
        "changed": "after",
        "new": "after",
    }
    assert same.stat().st_mtime == 1
    assert capsys.readouterr().out.split("\n") == [f"removed {old}", str(changed), str(new), ""]


def test_the_default_values_render_what_is_in_the_snapshot(render):
    rendered = render({"crds": {"enabled": False}})
    assert list(yaml.safe_load_all(SNAPSHOT.read_text())) == list(rendered), AGAIN


def test_the_schema_is_closed_wherever_it_names_keys():
    def open_ones(schema, path=""):
        if isinstance(schema, dict):
            if "properties" in schema and schema.get("additionalProperties") is not False:
                yield path
            for key, value in schema.items():
                yield from open_ones(value, f"{path}/{key}")

    found = set(open_ones(json.loads((chart.CHART / "values.schema.json").read_text())))
    # What Kubernetes itself checks, and where more keys than the required ones may stand.
    assert found == {f"/properties/{name}/items" for name in ("extraEnv", "extraVolumes", "extraVolumeMounts")}


def test_a_key_without_documentation_is_an_error():
    with pytest.raises(ValueError, match=r"a\.c has no documentation"):
        chartvalues.parse("a:\n  # -- Said.\n  b: 1\n  c: 2\n")


def test_an_empty_map_that_nobody_explains_is_an_error():
    with pytest.raises(ValueError, match="is empty and has no '# @schema'"):
        chartvalues.parse("# -- Said.\na: {}\n")


def test_every_value_is_used_by_a_template():
    templates = "".join(path.read_text() for path in (chart.CHART / "templates").iterdir())
    used = set(re.findall(r"\.(\w+)", templates))

    def unused(keys, path=""):
        for key in keys:
            if key.below and key.name != "settings":
                yield from unused(key.below, f"{path}{key.name}.")
            elif key.name not in used:
                yield path + key.name

    keys = chartvalues.parse((chart.CHART / "values.yaml").read_text())
    assert list(unused(keys)) == []
    assert list(unused(chartvalues.parse("# -- Never used.\nneverUsed: 1\n"))) == ["neverUsed"]


def test_the_chart_has_the_version_of_the_product_and_tells_artifact_hub_of_our_kinds():
    described = yaml.safe_load((chart.CHART / "Chart.yaml").read_text())
    assert described["version"] == described["appVersion"] == __version__
    kinds = yaml.safe_load(described["annotations"]["artifacthub.io/crds"])
    assert [kind["kind"] for kind in kinds] == ["WebhookSubscription", "WebhookReplay"]
    examples = yaml.safe_load(described["annotations"]["artifacthub.io/crdsExamples"])
    assert {example["kind"] for example in examples} == {"WebhookSubscription", "WebhookReplay"}


@pytest.mark.parametrize("name", ["default", "everything", "namespaced", "smallest"])
def test_helm_lint_finds_nothing(helm, ci, name):
    said = helm("lint", str(chart.CHART), "--strict", values=ci[name] | {"monitoring": {"whenMissing": "Always"}})
    assert "1 chart(s) linted, 0 chart(s) failed" in said
    assert not re.search(r"\[(INFO|WARNING|ERROR)\]", said), said


def test_there_is_a_test_for_each_file_of_ci_values(ci):
    assert set(ci) == {"default", "everything", "namespaced", "smallest"}


def test_the_packed_chart_renders_the_same_and_holds_nothing_for_developers(helm, render, tmp_path):
    helm("package", str(chart.CHART), f"--destination={tmp_path}")
    (packed,) = tmp_path.iterdir()
    assert packed.name == f"hookline-{__version__}.tgz"
    assert render(chart=packed) == render()
    with tarfile.open(packed) as archive:
        assert {name.split("/")[1] for name in archive.getnames()} == {
            ".helmignore",
            "Chart.yaml",
            "README.md",
            "files",
            "templates",
            "values.schema.json",
            "values.yaml",
        }


def test_the_values_and_the_commands_that_the_readme_shows_work(helm, render):
    text = (chart.CHART / "README.md").read_text(encoding="utf-8")
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    for values in (item for item in shown if "kind" not in item):
        assert render(values) != render()
    flags = re.findall(r"--set[= ](\S+?)`?(?=\s)", text)
    assert len(flags) == 3
    for flag in flags:
        helm("template", "hookline", str(chart.CHART), f"--kube-version={KUBERNETES}", "--set", flag)


def test_a_kubernetes_without_the_policies_api_is_refused(helm):
    def template(version):
        return helm("template", "hookline", str(chart.CHART), f"--kube-version={version}")

    assert template("1.30.0-eks-1234")
    with pytest.raises(AssertionError, match="chart requires kubeVersion"):
        template("1.29.9")


def switches(keys, path=()):
    """Every value that is on or off: its path, and the other position."""
    for key in keys:
        yield from switches(key.below, (*path, key.name))
        if isinstance(key.default, bool):
            yield (*path, key.name), not key.default


SWITCHES = dict(switches(chartvalues.parse((chart.CHART / "values.yaml").read_text(encoding="utf-8"))))


@pytest.mark.parametrize("path", SWITCHES, ids=".".join)
def test_every_switch_can_be_turned_by_itself(render, path):
    values = SWITCHES[path]
    for name in reversed(path):
        values = {name: values}
    if path == ("serviceAccount", "create"):
        values["serviceAccount"]["name"] = "mine"
    rendered = render(values)
    nothing_to_show = path in {("monitoring", "prometheusRule", "enabled"), ("monitoring", "dashboards", "enabled")}
    assert nothing_to_show or rendered != render()
