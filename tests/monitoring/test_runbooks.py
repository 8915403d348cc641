"""What a runbook tells to do can be done: its links lead somewhere, and its pod fits the chart's claim and volume."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

import helm
from chart import CHART, ROOT
from support.cluster import Kubectl, KubectlError

RUNBOOKS = ROOT / "docs" / "runbooks"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture
def pod() -> Any:
    """The pod that checks the outbox."""
    text = (RUNBOOKS / "HooklineOutboxFailing.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    return yaml.safe_load(block)


@pytest.fixture(scope="module")
def deployed() -> Any:
    """The pod that the chart deploys, by the names that the runbooks take."""
    command = [str(helm.provide()), "template", "hookline", str(CHART), "--namespace=hookline"]
    text = subprocess.run(
        [*command, "--show-only=templates/deployment.yaml"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    return yaml.safe_load(text)["spec"]["template"]["spec"]


def test_the_pod_that_checks_the_outbox_has_the_operators_image_volume_and_protections(pod: Any, deployed: Any):
    (mine,), (theirs,) = pod["spec"]["containers"], deployed["containers"]
    assert mine["image"] == theirs["image"]
    assert mine["args"] == ["outbox", "check"]
    assert pod["spec"]["securityContext"] == deployed["securityContext"]
    assert mine["securityContext"] == theirs["securityContext"]
    assert mine["volumeMounts"] == [mount for mount in theirs["volumeMounts"] if mount["name"] == "outbox"]
    assert pod["spec"]["volumes"] == [volume for volume in deployed["volumes"] if volume["name"] == "outbox"]
    assert pod["metadata"]["namespace"] == "hookline"


def test_a_namespace_that_enforces_restricted_lets_it_in(kubectl: Kubectl, namespace: str, pod: Any):
    kubectl("label", "namespace", namespace, *(f"{key}={value}" for key, value in RESTRICTED.items()))
    pod["metadata"]["namespace"] = namespace
    options = ("--server-side", "--validate=strict", "--dry-run=server", "-o", "name")
    assert kubectl("apply", *options, "-f", "-", input=json.dumps(pod)).strip() == "pod/outbox-check"
    del pod["spec"]["containers"][0]["securityContext"]  # the control
    with pytest.raises(KubectlError, match="unrestricted capabilities"):
        kubectl("apply", *options, "-f", "-", input=json.dumps(pod))


def test_a_page_is_named_by_a_link():
    for path in RUNBOOKS.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r"\bdocs/[\w/-]+\.md", text), path.name
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
            assert (path.parent / target).is_file(), (path.name, target)
