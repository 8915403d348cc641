"""The chart as Helm renders it: the real program, built once into the user's cache; each different rendering once."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import helm as helm_program
from chart import CHART

KUBERNETES = "1.36.3"
MONITORING = "monitoring.coreos.com/v1"


ALERTS = {
    "groups": [
        {
            "name": "hookline",
            "rules": [
                {"record": "hookline:attempts:rate5m", "expr": "rate(hookline_delivery_attempts_total[5m])"},
                {
                    "alert": "HooklineDelayed",
                    "expr": "time() - hookline_outbox_oldest_due_timestamp_seconds > ${delaySeconds}",
                    "labels": {"severity": "warning"},
                    "annotations": {
                        "summary": "{{ $labels.instance }} is late.",
                        "runbook_url": "https://own.example/x",
                    },
                },
                {"alert": "HooklineDown", "expr": "absent(up)", "annotations": {"summary": "It is down."}},
            ],
        }
    ]
}


class Refused(AssertionError):
    """Helm did not render; the message is what it said."""


class Rendered(list[dict[str, Any]]):
    """The objects of one rendering."""

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [obj for obj in self if obj["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> dict[str, Any]:
        found = [obj for obj in self.all(kind) if name in (None, obj["metadata"]["name"])]
        assert len(found) == 1, f"{len(found)} of {kind} {name}"
        return found[0]

    @property
    def pod(self) -> Any:
        return self.one("Deployment")["spec"]["template"]

    @property
    def container(self) -> Any:
        (container,) = self.pod["spec"]["containers"]
        return container


class Helm:
    """Calls helm."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def __call__(self, *arguments: str, values: Any = None) -> str:
        """Run ``helm ARGUMENTS…`` with ``values``; returns stdout. Raises Refused when it fails."""
        more = [] if values is None else ["--values", "-"]
        done = subprocess.run(
            [self._program, *arguments, *more], input=json.dumps(values), capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            raise Refused(f"{done.stdout}\n{done.stderr}")
        return done.stdout


@pytest.fixture(scope="session")
def helm() -> Helm:
    return Helm(helm_program.provide())


@pytest.fixture(scope="session")
def render(helm: Helm) -> Callable[..., Rendered]:
    """``render({"replicaCount": 0}, name="hookline", …)`` gives the objects."""
    seen: dict[str, str] = {}

    def rendered(
        values: Any = None,
        *,
        name: str = "hookline",
        namespace: str = "hookline",
        apis: tuple[str, ...] = (MONITORING,),
        chart: Path = CHART,
        cached: bool = True,
    ) -> Rendered:
        command = ["template", name, str(chart), f"--namespace={namespace}", f"--kube-version={KUBERNETES}"]
        command += [f"--api-versions={api}" for api in apis]
        key = json.dumps([command, values])
        if not cached or key not in seen:
            seen[key] = helm(*command, values=values or {})
        return Rendered(obj for obj in yaml.load_all(seen[key], Loader=yaml.CSafeLoader) if obj)

    return rendered


@pytest.fixture(scope="session")
def refusal(render: Callable[..., Rendered]) -> Callable[..., str]:
    """What Helm says when it refuses these values; fails when it renders them."""

    def refused(values: Any, **options: Any) -> str:
        with pytest.raises(Refused) as caught:
            render(values, **options)
        return str(caught.value)

    return refused


@pytest.fixture(scope="session")
def ci() -> dict[str, Any]:
    """The values of ``ci/NAME-values.yaml`` by name."""
    paths = (CHART / "ci").glob("*-values.yaml")
    return {path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) for path in paths}


@pytest.fixture(scope="session")
def with_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart with an alert file and a dashboard of this test instead of its own."""
    chart = tmp_path_factory.mktemp("chart") / "hookline"
    shutil.copytree(CHART, chart)
    for folder in ("alerts", "dashboards"):
        shutil.rmtree(chart / "files" / folder, ignore_errors=True)
        (chart / "files" / folder).mkdir()
    (chart / "files" / "alerts" / "some.yaml").write_text(yaml.safe_dump(ALERTS))
    (chart / "files" / "alerts" / "thresholds.yaml").write_text("delaySeconds: 600\n")
    (chart / "files" / "dashboards" / "overview.json").write_text(json.dumps({"title": "{{ instance }}"}, indent=2))
    return chart
