"""The life of a release with a real pod: an upgrade keeps the outbox, and what uninstalling leaves goes on later."""

from support.cluster import eventually
from support.on_node import CHART
from support.on_node_changes import held_back

LEFT = {
    "customresourcedefinition.apiextensions.k8s.io/webhookreplays.hookline.dev",
    "customresourcedefinition.apiextensions.k8s.io/webhooksubscriptions.hookline.dev",
    "persistentvolumeclaim/hookline",
}
NAMESPACED = (
    "deployments,pods,services,configmaps,persistentvolumeclaims,serviceaccounts,roles,rolebindings,networkpolicies"
)
LEASE = "lease.coordination.k8s.io/hookline"
SHARED = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,crds"


def variables(cluster, release):
    """The environment of the process as the kubelet made it, read in the node."""
    told = cluster.node.run("cat", f"/proc/{release.process()}/environ")
    return dict(item.split("=", 1) for item in told.split("\0") if item)


def arrived(receiver, tenant, journal):
    return receiver.events(tenant.namespace) == set(journal.events)


def test_an_upgrade_brings_the_new_value_and_keeps_what_waits(cluster, release, receiver, tenant, journal):
    old = release.be()
    held_back(tenant, journal)
    new = release.be(settings={"logLevel": "debug"})
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert variables(cluster, release)["HOOKLINE_LOG_LEVEL"] == "debug"
    assert tenant.status()["pending"] == len(journal.events)
    tenant.subscribe(suspend=False)
    eventually(lambda: arrived(receiver, tenant, journal), "what waited arrives", seconds=60)


def test_an_upgrade_in_the_midst_of_changes_loses_none(release, receiver, tenant, journal):
    release.be()
    tenant.subscribe()
    with journal:
        journal.reaches(30)
        release.be(settings={"logLevel": "warning"})
        journal.reaches(30)
    eventually(lambda: arrived(receiver, tenant, journal), "every change arrives", seconds=120)


def test_another_version_of_the_chart_takes_over_the_outbox(cluster, release, receiver, tenant, journal, tmp_path):
    """There is no earlier release to come from; this one under an older number has the same way to go."""
    release.be()
    release.helm("package", str(CHART), "--version=0.0.1", f"--destination={tmp_path}")
    release.helm(
        "upgrade", "hookline", str(tmp_path / "hookline-0.0.1.tgz"), "--reuse-values", "--wait", "--timeout=180s"
    )
    assert deployed(cluster, release) == "hookline-0.0.1"
    held_back(tenant, journal)
    release.be(podAnnotations={"upgraded": "yes"})
    assert deployed(cluster, release) != "hookline-0.0.1"
    tenant.subscribe(suspend=False)
    eventually(lambda: arrived(receiver, tenant, journal), "what waited arrives", seconds=60)


def deployed(cluster, release):
    return cluster.json("get", "deployment", "hookline", "-n", release.namespace)["metadata"]["labels"]["helm.sh/chart"]


def test_uninstalling_leaves_crds_subscriptions_and_messages_and_installing_goes_on_with_them(
    cluster, release, receiver, tenant, journal
):
    release.be()
    held_back(tenant, journal)
    ours = ["--selector=app.kubernetes.io/part-of=hookline", "-n", release.namespace, "-o", "name"]
    before = set(cluster("get", f"{NAMESPACED},{SHARED}", *ours).split())
    assert before > LEFT
    assert {name.partition("/")[0] for name in before} >= {"pod", "deployment.apps", "networkpolicy.networking.k8s.io"}

    release.uninstall()
    assert set(cluster("get", f"{NAMESPACED},{SHARED}", *ours).split()) == LEFT
    # The operator made it, so it has no label of ours; it gave it up when it ended.
    assert cluster("get", "leases", "-n", release.namespace, "-o", "name").split() == [LEASE]
    assert cluster.json("get", LEASE, "-n", release.namespace)["spec"]["holderIdentity"] == ""
    assert cluster("get", "whsub", "-n", tenant.namespace, "-o", "name").split() == [
        "webhooksubscription.hookline.dev/watched"
    ]
    journal.object()  # while nobody watches

    release.be()
    tenant.subscribe(suspend=False)
    eventually(lambda: arrived(receiver, tenant, journal), "what waited and what happened since", seconds=120)
