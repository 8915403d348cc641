"""A real API server takes what ``config`` makes, and the samples for Argo CD and Flux, whose own CRDs it serves."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml

import kustomize
from chart import CHART, ROOT
from controlplane import ControlPlane
from support.cluster import Kubectl, KubectlError, eventually

CONFIG = kustomize.CONFIG
SAMPLES = sorted(path for tool in ("argocd", "flux") for path in (CONFIG / "samples" / tool).iterdir())
APPLY = ("apply", "--server-side", "--validate=strict", "--field-manager=kustomize-controller")
NEVER = {"kustomize.toolkit.fluxcd.io/prune": "disabled"}
OURS = ("webhooksubscriptions.hookline.dev", "webhookreplays.hookline.dev")


@pytest.fixture(scope="module")
def kube(oracle):
    """A control plane of this module's own, with the kinds of Argo CD, Flux and the Prometheus operator."""
    with ControlPlane() as plane:
        kube = Kubectl(plane)
        folders = (oracle.crds, ROOT / "tests" / "chart" / "monitoring")
        names = kube("apply", "--server-side", *(f"--filename={folder}" for folder in folders), "-o", "name").split()
        kube("wait", "--for=condition=Established", "--timeout=60s", *names)
        for name in ("argocd", "flux-system", "team-a"):
            kube("create", "namespace", name)
        yield kube


@pytest.fixture(scope="module")
def installed(kube):
    """The base in force, applied as Flux does it."""
    kube(*APPLY, f"--kustomize={CONFIG / 'base'}")
    kube("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{name}" for name in OURS))
    return kube


def dry_run(kube, objects):
    """The names of these objects, none of which has a field that the server does not know."""
    items = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    return kube(*APPLY, "--force-conflicts", "--dry-run=server", "-o", "name", "-f", "-", input=items).split()


def pods(kube):
    return kube.json("get", "pods", "--namespace=hookline")["items"]


def test_the_base_is_let_in_as_a_whole_and_a_second_time_changes_nothing(installed):
    eventually(lambda: installed.json("get", "clusterrole/hookline-watched").get("rules"), "the rules are aggregated")
    # It ends with 1 where there is a difference, and without --force-conflicts where another one claims a field.
    installed("diff", "--server-side", "--field-manager=kustomize-controller", f"--kustomize={CONFIG / 'base'}")
    installed(*APPLY, f"--kustomize={CONFIG / 'base'}")


def test_the_diff_of_a_change_is_one(installed, tmp_path):
    """The control of the test above."""
    body = {"resources": [f"../{CONFIG.name}/base"], "images": [{"name": "localhost/hookline", "newTag": "other"}]}
    (tmp_path / CONFIG.name).symlink_to(CONFIG)
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "kustomization.yaml").write_text(json.dumps(body))
    with pytest.raises(KubectlError, match="ended with 1"):
        installed(
            "diff", "--server-side", "--field-manager=kustomize-controller", f"--kustomize={tmp_path / 'overlay'}"
        )


def test_the_operators_pod_is_let_into_its_namespace_and_a_weaker_one_is_not(installed):
    (pod,) = eventually(lambda: pods(installed), "the pod of the Deployment is made")
    assert pod["spec"]["serviceAccountName"] == "hookline"
    with pytest.raises(KubectlError, match="violates PodSecurity"):
        installed("run", "weaker", "--namespace=hookline", "--image=localhost/hookline:0.1.0")


@pytest.mark.parametrize("folder", ["crds", "base", "overlays/monitoring", "overlays/namespaced", "samples/overlay"])
def test_the_server_takes_every_object_that_kustomize_builds(installed, build, folder):
    objects = build(CONFIG / folder)
    assert len(dry_run(installed, objects)) == len(objects) > 1


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_server_takes_the_samples_with_the_kinds_of_argo_cd_and_flux(installed, path):
    objects = list(yaml.safe_load_all(path.read_text("utf-8")))
    assert len(dry_run(installed, objects)) == len(objects) > 0


@pytest.mark.parametrize(
    ("name", "field"), [("argocd/hookline.yaml", "syncPolicy"), ("flux/hookline-helm.yaml", "chartRef")]
)
def test_the_server_refuses_a_sample_with_a_misspelt_field(installed, name, field):
    """The control of the test above."""
    objects = list(yaml.safe_load_all((CONFIG / "samples" / name).read_text("utf-8").replace(field, f"{field}s")))
    with pytest.raises(KubectlError, match=f"{field}s"):
        dry_run(installed, objects)


def listed(objects):
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def of_namespace(build, tmp_path, name):
    """The base in a namespace of its own: the namespace and what is in it, but nothing that others share."""
    (tmp_path / CONFIG.name).symlink_to(CONFIG)
    (tmp_path / name).mkdir()
    body = {"resources": [f"../{CONFIG.name}/base"], "namespace": name}
    (tmp_path / name / "kustomization.yaml").write_text(json.dumps(body))
    return [obj for obj in build(tmp_path / name) if obj["kind"] == "Namespace" or obj["metadata"].get("namespace")]


def pruned(kube, objects):
    """Delete of these what Flux may prune, as its Kustomization does when it is deleted; the names."""
    gone = [obj for obj in objects if NEVER.items() - (obj["metadata"].get("annotations") or {}).items()]
    kube("delete", "--ignore-not-found", "--wait=false", "-f", "-", input=listed(gone))
    return {obj["kind"] for obj in gone}


def claim(kube, name):
    return kube.json("get", "pvc/hookline", "-n", name)["metadata"]


def test_what_is_pruned_takes_no_message_with_it(installed, build, tmp_path):
    objects = of_namespace(build, tmp_path, "pruned")
    installed(*APPLY, "-f", "-", input=listed(objects))
    kinds = pruned(installed, objects)
    assert {"Deployment", "ServiceAccount"} <= kinds
    installed("wait", "--for=delete", "--timeout=60s", "-n", "pruned", "deployment/hookline", "serviceaccount/hookline")
    assert "deletionTimestamp" not in installed.json("get", "namespace/pruned")["metadata"] | claim(installed, "pruned")

    # The control: a namespace that may be pruned takes the claim with it, whatever that says of itself.
    (namespace,) = [obj for obj in objects if obj["kind"] == "Namespace"]
    del namespace["metadata"]["annotations"]
    assert "Namespace" in pruned(installed, objects)
    eventually(lambda: gone(installed, "pruned"), "the claim is deleted, too")


def gone(kube, name):
    try:
        return "deletionTimestamp" in claim(kube, name)
    except KubectlError as error:
        return "NotFound" in str(error)


def test_an_operator_that_was_moved_is_bounded_by_the_policy_and_another_account_is_not(installed, build, tmp_path):
    objects = of_namespace(build, tmp_path, "moved")
    granted = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "makes-secrets"}}
    installed(*APPLY, "-f", "-", input=listed([*objects, role | {"rules": granted}]))
    everybody = ("create", "clusterrolebinding", "makes-secrets", "--clusterrole=makes-secrets")
    installed(*everybody, "--group=system:serviceaccounts:moved")

    def make(account):
        who = f"--as=system:serviceaccount:moved:{account}"
        groups = [f"--as-group=system:{name}" for name in ("serviceaccounts", "serviceaccounts:moved", "authenticated")]
        try:
            return installed("create", "secret", "generic", account, "-n", "moved", "--dry-run=server", who, *groups)
        except KubectlError as error:
            return str(error)

    eventually(lambda: "may write no Secret but those of its own types" in make("hookline"), "the policy is in force")
    eventually(lambda: "secret/another created" in make("another"), "the right is in force")


def samples(kind):
    objects = [obj for path in SAMPLES for obj in yaml.safe_load_all(path.read_text("utf-8"))]
    return [obj for obj in objects if obj["kind"] == kind]


def test_the_folders_that_the_samples_name_are_there_and_can_be_built(build):
    sources = [obj["spec"]["source"] for obj in samples("Application")]
    paths = [source["path"] for source in sources if source["repoURL"].endswith("/hookline.git")]
    paths += [obj["spec"]["path"] for obj in samples("Kustomization") if obj["metadata"]["name"] == "hookline"]
    assert len(paths) == 2
    assert all(build(ROOT / path) for path in paths)


def test_the_chart_takes_the_values_of_the_samples(helm_program):
    values = [
        obj["spec"]["source"]["helm"]["valuesObject"]
        for obj in samples("Application")
        if "helm" in obj["spec"]["source"]
    ]
    values += [obj["spec"]["values"] for obj in samples("HelmRelease")]
    assert len(values) == 2
    for each in values:
        command = [helm_program, "template", "hookline", CHART, f"--api-versions={kustomize.MONITORING}", "--values=-"]
        done = subprocess.run(command, input=json.dumps(each), capture_output=True, text=True, timeout=60, check=True)
        assert 'image: "registry.example.com/hookline:' in done.stdout
        assert "kind: ServiceMonitor" in done.stdout


def test_a_namespace_that_a_sample_makes_is_pruned_by_nobody():
    made = samples("Namespace")
    assert [obj["metadata"]["name"] for obj in made] == ["hookline"]
    assert all(NEVER.items() <= obj["metadata"]["annotations"].items() for obj in made)


def test_the_samples_wait_for_kinds_of_ours_that_are_served(installed):
    checks = [check for obj in samples("Kustomization") for check in obj["spec"].get("healthChecks", ())]
    served = installed("api-resources", "--api-group=hookline.dev", "--no-headers").split()
    assert {(check["apiVersion"], check["kind"]) for check in checks} == {
        ("hookline.dev/v1alpha1", "WebhookSubscription")
    }
    assert {"hookline.dev/v1alpha1", "WebhookSubscription"} <= set(served)
