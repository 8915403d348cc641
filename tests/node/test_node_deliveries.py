"""``kubectl hookline deliveries`` reaches the operator in its pod through ``kubectl port-forward``, as a tenant."""

import json
import os
import subprocess
import sys

import pytest

from support.cluster import eventually

READ = [{"apiGroups": ["hookline.dev"], "resources": ["webhooksubscriptions/deliveries"], "verbs": ["get", "list"]}]


@pytest.fixture
def hookline(node, cluster, tenant, tmp_path):
    """The command, with the token of a ServiceAccount that may read the deliveries of the tenant's namespace."""
    where = {"name": "reader", "namespace": tenant.namespace}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": where}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"}
    cluster.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where},
        {**role, "kind": "Role", "rules": READ},
        {**role, "kind": "RoleBinding", "subjects": [{"kind": "ServiceAccount", **where}], "roleRef": reference},
    )
    token = tmp_path / "token"
    token.write_text(cluster("create", "token", "reader", "-n", tenant.namespace, "--audience=hookline.dev"))
    path = f"{node.programs['kubectl'].parent}:{os.environ['PATH']}"
    environment = os.environ | {"KUBECONFIG": str(node.kubeconfig), "PATH": path}

    def run(*arguments):
        command = [sys.executable, "-m", "hookline", "deliveries", *arguments, f"--token-file={token}"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_a_tenant_reads_its_deliveries_through_a_forwarded_port_and_nobody_elses(
    release, receiver, tenant, make_tenant, journal, hookline
):
    release.be()
    other = make_tenant()
    other.subscribe()
    tenant.subscribe()
    for _ in range(3):
        journal.object()
    eventually(lambda: receiver.events(tenant.namespace) == set(journal.events), "all changes arrive", seconds=60)

    def listed():
        done = hookline("watched", "-n", tenant.namespace, "-o", "json")
        assert done.returncode == 0, done.stderr
        items = json.loads(done.stdout)["items"]
        return items if all(item["status"]["state"] == "Delivered" for item in items) else None

    items = eventually(listed, "all verdicts are stored", seconds=60)
    assert {item["metadata"]["name"] for item in items} == set(receiver.ids(tenant.namespace))

    shown = hookline("show", items[0]["metadata"]["name"], "-s", "watched", "-n", tenant.namespace, "-o", "json")
    assert shown.returncode == 0, shown.stderr
    body = json.loads(json.loads(shown.stdout)["request"]["body"])
    assert body["data"]["object"]["metadata"]["namespace"] == tenant.namespace

    refused = hookline("watched", "-n", other.namespace, "-o", "json")
    assert refused.returncode == 1
    assert "webhooksubscriptions/deliveries" in refused.stderr
