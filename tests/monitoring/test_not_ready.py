"""An operator that runs and can't work: what it says of itself, on an API server of its own that lacks our kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chart import ROOT
from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.live import LiveOperator, LiveReceiver

NOBODY = "nobody"


@pytest.fixture(scope="module")
def bare() -> Iterator[ControlPlane]:
    """A control plane without our CRDs, which those of other tests have."""
    with ControlPlane() as plane:
        yield plane


@pytest.fixture
def crippled(
    bare: ControlPlane, receiver: LiveReceiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LiveOperator]:
    """An operator that runs, of a user without any right, and with a setting misspelt."""
    monkeypatch.setenv("HOOKLINE_ALOW_HOSTS", "localhost")
    operator = LiveOperator(bare.user_kubeconfig(NOBODY), tmp_path / "operator", receiver.ca_pem)
    operator.launch()
    operator.port = eventually(operator._port, "the operator names its port")
    yield operator
    operator.kill()


def said(operator: LiveOperator, begin: str) -> list[str]:
    """The lines of its log that begin so."""
    lines = [json.loads(line)["message"] for line in operator.log.read_text().splitlines()]
    return [line for line in lines if line.startswith(begin)]


def test_without_our_kinds_or_the_right_to_read_them_it_leads_and_is_not_ready_and_says_why(
    bare: ControlPlane, crippled: LiveOperator
):
    def unready(text: str) -> bool:
        code, told = crippled.get("/readyz")
        return code == 503 and text in told

    kubectl = Kubectl(bare)
    eventually(lambda: unready("install the CustomResourceDefinitions"), "it says that the CRDs are missing")
    assert (crippled.metric("hookline_leading"), crippled.metric("hookline_ready")) == (1, 0)

    kubectl(
        "apply", "--server-side", *(f"--filename={path}" for path in sorted((ROOT / "crds").glob("hookline*.yaml")))
    )
    eventually(lambda: unready("forbidden"), "it says that it has no right to read them")
    assert crippled.metric("hookline_ready") == 0

    kubectl("create", "clusterrolebinding", NOBODY, "--clusterrole=cluster-admin", f"--user={NOBODY}")
    eventually(lambda: crippled.get("/readyz")[0] == 200, "it is ready")
    assert crippled.metric("hookline_ready") == 1
    complaints = said(crippled, "not started yet")
    assert 2 <= len(complaints) == len(set(complaints)) <= 3, complaints
    (misspelt,) = said(crippled, "HOOKLINE_")
    assert misspelt == "HOOKLINE_ALOW_HOSTS is no setting and counts for nothing: did you mean HOOKLINE_ALLOW_HOSTS?"


def test_an_api_server_that_is_away_at_the_start_is_said_to_be_waited_for(bare: ControlPlane, crippled: LiveOperator):
    crippled.kill()
    bare.stop("kube-apiserver")
    try:
        crippled.launch()
        crippled.port = eventually(crippled._port, "the operator names its port")
        eventually(lambda: said(crippled, "not started yet: waiting for the API server"), "it says what it waits for")
        assert "waiting for the API server" in crippled.get("/readyz")[1]
        assert crippled.metric("hookline_ready") == 0
    finally:
        bare.start("kube-apiserver")
