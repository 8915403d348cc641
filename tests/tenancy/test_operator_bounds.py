"""What the operator's ServiceAccount can make of its rights, by the API server: as shipped, and without the policy."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rights
from controlplane import ControlPlane
from support.cluster import Kubectl, eventually
from support.policies import refused

POLICY = f"{rights.NAME}-operator"
SPACE = "bounds"
OURS = {"app.kubernetes.io/managed-by": "hookline"}
TYPES = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token", "Opaque", "kubernetes.io/tls")


@pytest.fixture(scope="module")
def operator_account(
    control_plane: ControlPlane, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kubectl]:
    """Kubectl as the operator, with all that it is shipped with and the right to make tokens."""
    for name in (rights.OWN_NAMESPACE, SPACE):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    kubectl.apply(*rights.cluster_mode(tokens=True))
    config = json.loads(control_plane.kubeconfig.read_text())
    token = kubectl("create", "token", rights.NAME, "-n", rights.OWN_NAMESPACE, "--duration=1h").strip()
    config["users"][0]["user"] = {"token": token}
    file = tmp_path_factory.mktemp("operator") / "kubeconfig"
    file.write_text(json.dumps(config))
    yield Kubectl(control_plane, file)
    kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", POLICY, "--ignore-not-found")


def secret(kind: str, labels: dict[str, str]) -> dict[str, Any]:
    annotations = {"kubernetes.io/service-account.name": "default"}
    metadata = {"name": "made", "namespace": SPACE, "labels": labels, "annotations": annotations}
    data = {"tls.crt": "", "tls.key": ""}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "data": data}


def tries(who: Kubectl) -> dict[str, Callable[[], Any]]:
    """What would give the operator the rights of others."""

    def create(kind: str, labels: dict[str, str]) -> Callable[[], Any]:
        body = json.dumps(secret(kind, labels))
        return lambda: who("create", "--dry-run=server", "--validate=false", "-f", "-", input=body)

    def token(*audiences: str) -> Callable[[], Any]:
        flags = [f"--audience={one}" for one in audiences]
        return lambda: who("create", "token", "default", "-n", SPACE, *flags)

    found = {f"a Secret of type {kind}": create(kind, OURS) for kind in TYPES}
    found["another's label"] = create("hookline.dev/signing-key", OURS | {"argocd.argoproj.io/secret-type": "cluster"})
    found["no audience"] = token()
    found |= {f"audience {one}": token("https://hooks.example.com", one) for one in rights.REFUSED_AUDIENCES}
    return found


def test_the_operator_makes_no_token_and_no_secret_that_would_give_it_more_rights(
    kubectl: Kubectl, operator_account: Kubectl
) -> None:
    work = tries(operator_account)
    eventually(lambda: refused(work["a Secret of type Opaque"], POLICY), "the policy is in force")
    assert [what for what, attempt in work.items() if not refused(attempt, POLICY)] == []

    ours = json.dumps(secret("hookline.dev/signing-key", OURS))
    operator_account("create", "--validate=false", "-f", "-", input=ours)
    operator_account("patch", "secret", "made", "-n", SPACE, "--type=merge", "-p", '{"stringData":{"v1":"x"}}')
    label = ("patch", "secret", "made", "-n", SPACE, "--type=merge", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert "no label but its own" in refused(lambda: operator_account(*label), POLICY)
    assert operator_account("create", "token", "default", "-n", SPACE, "--audience=https://hooks.example.com")
    kubectl("create", "secret", "generic", "opaque", "-n", SPACE, "--from-literal=a=b")
    theirs = ("patch", "secret", "opaque", "-n", SPACE, "--type=merge", "-p", '{"stringData":{"a":"c"}}')
    assert "no Secret but those of its own types" in refused(lambda: operator_account(*theirs), POLICY)
    kubectl(*theirs)  # the policy is about nobody else

    kubectl("delete", "secret", "made", "-n", SPACE)
    kubectl("delete", "validatingadmissionpolicybinding", POLICY)
    eventually(lambda: not refused(work["no audience"], POLICY), "the policy is gone")
    assert [what for what, attempt in work.items() if refused(attempt, POLICY)] == [], "the control: RBAC stops none"
