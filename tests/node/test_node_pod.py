"""What runs on the node is what the chart renders, and runs with the rights that it says."""

import json
import re

import pytest
import yaml

from support.cluster import KubectlError
from support.on_node import IMAGE

USER = 65532
TRY = "import sys; open(sys.argv[1], 'w').close()"


def rendered(release, kind):
    """The one object of this kind in the release's manifest."""
    (found,) = (
        obj for obj in yaml.safe_load_all(release.helm("get", "manifest", "hookline")) if obj and obj["kind"] == kind
    )
    return found


def held(wanted, found):
    """What of ``wanted`` is otherwise in ``found``, which the server completed with defaults."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return {key: wrong for key in wanted if (wrong := held(wanted[key], found.get(key)))}
    if isinstance(wanted, list) and isinstance(found, list) and len(found) >= len(wanted):
        return [wrong for pair in zip(wanted, found, strict=False) if (wrong := held(*pair))]
    return None if wanted == found else f"{found!r} instead of {wanted!r}"


def test_the_running_pod_is_the_one_that_the_chart_renders(cluster, release):
    pod = release.be()
    wanted = rendered(release, "Deployment")["spec"]["template"]["spec"]
    (container,) = wanted["containers"]
    assert {"startupProbe", "livenessProbe", "readinessProbe", "securityContext", "resources"} <= container.keys()
    assert wanted["securityContext"]["runAsUser"] == USER
    assert held(wanted, pod["spec"]) == {}
    assert container["image"] == IMAGE
    weaker = {**wanted, "securityContext": {**wanted["securityContext"], "runAsUser": 0}}
    assert held(weaker, pod["spec"]), "the control: a difference is seen"


def test_the_network_policy_is_in_the_cluster_as_rendered(cluster, release):
    release.be()
    found = cluster.json("get", "networkpolicy", "hookline", "-n", release.namespace)
    assert held(rendered(release, "NetworkPolicy")["spec"], found["spec"]) == {}


def test_the_process_has_the_user_and_no_right_beyond(node, release):
    release.be()
    status = node.run("cat", f"/proc/{release.process()}/status")
    told = dict(re.findall(r"^(\w+):\s+(.*)$", status, re.MULTILINE))
    assert told["Uid"].split() == told["Gid"].split() == [str(USER)] * 4
    assert {told[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (told["NoNewPrivs"], told["Seccomp"]) == ("1", "2")
    own = node.run("cat", "/proc/1/status")
    assert re.search(r"^CapEff:\s+0+$", own, re.MULTILINE) is None, "the control: the node's own first process has some"


def test_the_root_is_read_only_and_the_volume_and_tmp_are_not(cluster, release):
    name = release.be()["metadata"]["name"]

    def write(path):
        cluster("exec", name, "-n", release.namespace, "--", "/opt/hookline/bin/python", "-c", TRY, path)

    for path in ("/x", "/opt/hookline/x", "/etc/x"):
        with pytest.raises(KubectlError, match="Read-only file system"):
            write(path)
    for path in ("/tmp/x", "/var/lib/hookline/x"):
        write(path)
    written = release.outbox / "x"
    assert written.stat().st_uid == USER
    written.unlink()


def test_a_weaker_pod_is_not_let_into_the_namespaces_of_these_tests(cluster, release):
    """The control of the pod's becoming Ready here: the namespace does refuse."""
    release.be()
    weak = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "weak"}}
    weak["spec"] = {"containers": [{"name": "weak", "image": IMAGE}]}
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        cluster("apply", "-n", release.namespace, "-f", "-", input=json.dumps(weak))


def test_the_service_leads_to_the_metrics(cluster, release):
    release.be()
    path = f"/api/v1/namespaces/{release.namespace}/services/hookline:metrics/proxy/metrics"
    assert "hookline_delivery_attempts_total" in cluster("get", "--raw", path)
