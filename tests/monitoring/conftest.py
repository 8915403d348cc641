"""The alerts as the chart renders them, and the programs that judge them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

import helm
import prometheus
from chart import CHART
from support.prometheus_live import NAMESPACE
from support.whole import config_map, make_operator, operator, receiver, subscriptions

__all__ = ["config_map", "make_operator", "operator", "receiver", "subscriptions"]
MONITORING = "monitoring.coreos.com/v1"


@pytest.fixture(scope="session")
def programs() -> prometheus.Programs:
    """Prometheus and promtool; the test is skipped without them."""
    try:
        return prometheus.provide()
    except prometheus.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``rules({"delaySeconds": 1})`` writes the file of rules that the chart renders with these thresholds."""

    def render(thresholds: Mapping[str, float] | None = None) -> Path:
        monitoring = {
            "prometheusRule": {
                "enabled": True,
                "thresholds": thresholds or {},
                "runbookUrl": "https://runbooks.example/hookline",
            }
        }
        command = [
            *(str(helm.provide()), "template", "hookline", str(CHART), f"--api-versions={MONITORING}"),
            *("--kube-version=1.36.3", "--show-only=templates/prometheusrule.yaml", "--values=-"),
            f"--namespace={NAMESPACE}",
            "--skip-schema-validation",  # which allows no threshold that is passed while all is well
        ]
        size = {"persistence": {"size": "100P"}} if "outboxBytes" in (thresholds or {}) else {}
        values = json.dumps({"monitoring": monitoring, **size})
        text = subprocess.run(command, input=values, capture_output=True, text=True, check=True, timeout=120).stdout
        path = tmp_path_factory.mktemp("rules") / "rules.yaml"
        path.write_text(json.dumps(yaml.safe_load(text)["spec"]))
        return path

    return render
