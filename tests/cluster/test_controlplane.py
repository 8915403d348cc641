"""The control plane for tests is a real one, minds its own business, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from controlplane import ControlPlane, ControlPlaneError, binaries, build
from controlplane.directories import Scratch
from controlplane.pki import Authority
from controlplane.process import start_time
from support.cluster import Kubectl, KubectlError, eventually

HACK = Path(build.__file__).parents[1]


def config_map(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"key": "value"}}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(HACK / "controlplane"), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with a control plane."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_it_serves_the_pinned_version(control_plane: ControlPlane) -> None:
    assert control_plane.request("GET", "/version")["gitVersion"] == binaries.kubernetes_version()


def test_its_certificate_is_verified_and_another_authority_is_refused(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger.crt"
    stranger.write_bytes(Authority().certificate)
    own = ssl.create_default_context(cafile=control_plane.directory / "pki" / "ca.crt")
    with urllib.request.urlopen(f"{control_plane.server}/readyz", context=own) as answer:
        assert answer.read() == b"ok"
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(f"{control_plane.server}/readyz", context=ssl.create_default_context(cafile=stranger))


def test_every_file_with_a_key_is_for_its_owner_alone(control_plane: ControlPlane) -> None:
    secrets = [control_plane.kubeconfig, control_plane.user_kubeconfig("reader")]
    secrets += [path for path in (control_plane.directory / "pki").iterdir() if path.suffix != ".crt"]
    assert {oct(path.stat().st_mode & 0o777) for path in secrets} == {"0o600"}
    assert "insecure" not in control_plane.kubeconfig.read_text()


def test_a_user_may_do_nothing_until_rbac_grants_it(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str
) -> None:
    user = Kubectl(control_plane, control_plane.user_kubeconfig("jane", ["shop"]))
    with pytest.raises(KubectlError, match=r'Forbidden.*User "jane" cannot list resource "configmaps"'):
        user("get", "configmaps", "-n", namespace)
    kubectl("create", "rolebinding", "shop-reads", "--clusterrole=view", "--group=shop", "-n", namespace)
    eventually(lambda: user("auth", "can-i", "list", "cm", "-n", namespace) == "yes\n", "the group may read")
    assert "kube-root-ca.crt" in user("get", "configmaps", "-n", namespace)


def test_an_anonymous_request_is_refused(control_plane: ControlPlane) -> None:
    anonymous = ssl.create_default_context(cafile=control_plane.directory / "pki" / "ca.crt")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{control_plane.server}/api/v1/namespaces", context=anonymous)


def test_objects_go_with_their_owner(kubectl: Kubectl, namespace: str) -> None:
    kubectl.apply(config_map("owner"), namespace=namespace)
    uid = kubectl.json("get", "cm", "owner", "-n", namespace)["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    kubectl.apply(config_map("owned", ownerReferences=[reference]), config_map("free"), namespace=namespace)
    kubectl("delete", "cm", "owner", "-n", namespace)
    eventually(lambda: "owned" not in kubectl("get", "cm", "-n", namespace), "the owned object is collected")
    assert "free" in kubectl("get", "cm", "-n", namespace)


def test_a_deleted_namespace_goes_with_its_contents(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "short-lived")
    kubectl.apply(config_map("inside"), namespace="short-lived")
    kubectl("delete", "namespace", "short-lived", "--timeout=60s")
    assert "short-lived" not in kubectl("get", "namespaces")


def test_a_service_account_gets_a_token_that_names_it(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "serviceaccount", "robot", "-n", namespace)
    token = kubectl("create", "token", "robot", "-n", namespace).strip()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    reviewed = kubectl.json("create", "-f", "-", input=json.dumps(review))
    assert reviewed["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:robot"


def test_two_run_side_by_side_and_know_nothing_of_each_other(
    control_plane: ControlPlane, kubectl: Kubectl, namespace: str
) -> None:
    kubectl.apply(config_map("here"), namespace=namespace)
    with ControlPlane() as other:
        assert other.server != control_plane.server
        with pytest.raises(KubectlError, match="NotFound"):
            Kubectl(other)("get", "cm", "here", "-n", namespace)
    assert "here" in kubectl("get", "cm", "-n", namespace)


def test_a_component_that_is_killed_comes_back_with_address_data_and_identity() -> None:
    with ControlPlane() as plane:
        plane.request("POST", "/api/v1/namespaces/default/configmaps", config_map("kept"))
        plane.kill("kube-apiserver")
        with pytest.raises(ControlPlaneError, match="no answer"):
            plane.request("GET", "/version")
        plane.kill("etcd")
        assert set(plane.pids) == {"kube-controller-manager"}
        plane.start("etcd")
        plane.start("kube-apiserver")
        assert plane.request("GET", "/api/v1/namespaces/default/configmaps/kept")["data"] == {"key": "value"}


def test_etcd_takes_no_more_than_it_was_told_to() -> None:
    big = config_map("big") | {"data": {"key": "x" * 200_000}}
    with ControlPlane(max_request_bytes=100_000) as plane:
        with pytest.raises(ControlPlaneError, match="too large"):
            plane.request("POST", "/api/v1/namespaces/default/configmaps", big)
        plane.extra_flags["etcd"].append("--max-request-bytes=1000000")
        plane.kill("etcd")
        plane.start("etcd")
        eventually(lambda: created(plane, big), "the API server has found etcd again and took the object")


def created(plane: ControlPlane, body: dict[str, Any]) -> bool:
    try:
        plane.request("POST", "/api/v1/namespaces/default/configmaps", body)
    except ControlPlaneError:
        return False
    return True


def test_stopping_leaves_no_process_and_no_directory() -> None:
    with ControlPlane() as plane:
        directory, pids = plane.directory, plane.pids
        assert directory.is_dir()
        assert len(pids) == 3
    assert not directory.exists()
    assert not directory.parent.exists()
    assert [pid for pid in pids.values() if start_time(pid)] == []


PARENT = """
import json, subprocess, sys, time
from controlplane import ControlPlane
plane = ControlPlane()
plane.start()
unprotected = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
print(json.dumps([plane.pids, unprotected.pid, str(plane.directory)]), flush=True)
time.sleep(600)
"""


@pytest.fixture
def own_scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where another control plane that starts meanwhile sweeps nothing; short, for the sockets in it."""
    with tempfile.TemporaryDirectory(prefix="hookline-") as directory:
        monkeypatch.setenv("TMPDIR", directory)
        monkeypatch.setattr(tempfile, "tempdir", directory)
        yield


def test_a_killed_parent_takes_every_component_with_it(own_scratch: None) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=os.environ | {"PYTHONPATH": str(HACK)}, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids, unprotected, directory = json.loads(parent.stdout.readline())
        born = {pid: start_time(pid) for pid in pids.values()}
        assert None not in born.values()
        parent.kill()
    try:
        eventually(lambda: not any(start_time(pid) == at for pid, at in born.items()), "the components are gone")
        assert start_time(unprotected), "the control: a child that isn't tied to its parent survives it"
    finally:
        os.kill(unprotected, signal.SIGKILL)
    assert Path(directory).is_dir(), "nobody was left to remove it"
    Scratch().remove()
    assert not Path(directory).exists(), "the next one sweeps it"


def test_up_survives_its_command_and_down_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "instance"
    up = run("up", f"--dir={directory}")
    assert up.returncode == 0, up.stderr
    try:
        assert f"export KUBECONFIG={directory / 'kubeconfig'}" in up.stdout
        record = json.loads((directory / "instance.json").read_text())
        assert run("status", f"--dir={directory}").returncode == 0
        assert run("kubectl", f"--dir={directory}", "get", "--raw", "/readyz").stdout == "ok"
        again = run("up", f"--dir={directory}")
        assert record["server"] in again.stdout, "one that is up is kept"
    finally:
        down = run("down", f"--dir={directory}")
    assert down.returncode == 0, down.stderr
    assert not directory.exists()
    assert [pid for pid in [record["pid"], *record["components"].values()] if start_time(pid)] == []
    assert run("status", f"--dir={directory}").returncode == 3


def test_down_spares_a_process_that_was_given_the_recorded_pid(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    born = start_time(bystander.pid)
    assert born is not None
    record = tmp_path / "instance.json"
    record.write_text(json.dumps({"pid": bystander.pid, "started": born - 1}))
    assert "no control plane is up" in run("down", f"--dir={tmp_path}").stdout
    assert bystander.poll() is None
    tmp_path.mkdir(exist_ok=True)
    record.write_text(json.dumps({"pid": bystander.pid, "started": born}))
    assert "is down" in run("down", f"--dir={tmp_path}").stdout
    assert bystander.wait(30) == -signal.SIGTERM, "the control: the process that is meant is ended"


def test_up_refuses_a_directory_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "precious").touch()
    refused = run("up", f"--dir={tmp_path}")
    assert refused.returncode == 1
    assert "choose another directory" in refused.stderr
    assert (tmp_path / "logs" / "precious").exists()


def test_a_flag_that_a_component_does_not_know_is_reported_in_its_own_words() -> None:
    plane = ControlPlane(extra_flags={"kube-apiserver": ["--no-such-flag"]})
    with pytest.raises(ControlPlaneError, match=r"kube-apiserver ended with code 1:\n(.*\n)*.*--no-such-flag"):
        plane.start()
    assert plane.pids == {}
    assert not plane.directory.exists()


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (None, "there is no go on PATH"),
        ("echo go1.20.3", "is too old to build etcd"),
        ("echo 'go.mod requires go >= 1.26.0' >&2; exit 1", "is too old to build etcd"),
    ],
)
def test_without_a_new_enough_go_the_error_says_what_to_install(
    tmp_path: Path, script: str | None, complaint: str
) -> None:
    if script is not None:
        go = tmp_path / "go"
        go.write_text(f"#!/bin/sh\n{script}\n")
        go.chmod(0o755)
    done = run("build", PATH=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"), KUBEBUILDER_ASSETS="")
    assert done.returncode == 1
    assert complaint in done.stderr
    assert "Install Go 1.26.0 or newer (https://go.dev/dl/)" in done.stderr
    assert "KUBEBUILDER_ASSETS" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_assets_of_envtest_are_used_where_they_are(control_plane: ControlPlane, tmp_path: Path) -> None:
    for name, program in control_plane.programs.items():
        (tmp_path / name).symlink_to(program)
    found = run("build", PATH="/nonexistent", XDG_CACHE_HOME="/nonexistent", KUBEBUILDER_ASSETS=str(tmp_path))
    assert found.stdout.split() == [str(tmp_path / name) for name in build.PACKAGES], found.stderr
    (tmp_path / "etcd").unlink()
    assert "lacks etcd" in run("build", KUBEBUILDER_ASSETS=str(tmp_path)).stderr


def test_a_missing_controller_manager_beside_assets_is_the_only_one_built(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    for name in ("etcd", "kube-apiserver", "kubectl"):
        (tmp_path / name).symlink_to(control_plane.programs[name])
    done = run("build", PATH="/nonexistent", XDG_CACHE_HOME=str(tmp_path), KUBEBUILDER_ASSETS=str(tmp_path))
    assert "Building kube-controller-manager needs Go" in done.stderr
