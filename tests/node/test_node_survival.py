"""The operator's pod ends in the midst of changes, in every way that a cluster knows, and another goes on, lossless."""

from support.cluster import eventually
from support.on_node import ready
from support.on_node_changes import held_back

BEFORE = AFTER = 40  # changes before and after the end; more happen meanwhile


def missing(receiver, tenant, journal):
    return set(journal.events) - receiver.events(tenant.namespace)


def all_arrive(receiver, tenant, journal):
    eventually(lambda: not missing(receiver, tenant, journal), "every change arrives", seconds=120)
    assert receiver.events(tenant.namespace) == set(journal.events), "and nothing that did not happen"
    assert len(journal.events) == len(set(journal.events)) > BEFORE + AFTER


def test_a_deleted_pod_is_replaced_and_no_change_is_lost(cluster, release, receiver, tenant, journal):
    release.be()
    tenant.subscribe()
    with journal:
        journal.reaches(BEFORE)
        old = release.delete_pod()
        cluster.await_pod(release.namespace, "hookline", other_than=old)
        journal.reaches(AFTER)
    all_arrive(receiver, tenant, journal)


def test_a_pod_that_is_deleted_by_force_loses_no_change(cluster, release, receiver, tenant, journal):
    old = release.be()["metadata"]
    tenant.subscribe()
    with journal:
        journal.reaches(BEFORE)
        cluster("delete", "pod", old["name"], "-n", release.namespace, "--force", "--grace-period=0")
        cluster.await_pod(release.namespace, "hookline", other_than=old["uid"])
        journal.reaches(AFTER)
    all_arrive(receiver, tenant, journal)


def test_a_process_that_is_killed_is_started_again_in_its_pod_and_no_change_is_lost(
    node, cluster, release, receiver, tenant, journal
):
    pod = release.be()
    before = restarts(pod)
    tenant.subscribe()

    def again():
        found = cluster.json("get", "pod", pod["metadata"]["name"], "-n", release.namespace)
        return ready(found) and restarts(found) == before + 1

    with journal:
        journal.reaches(BEFORE)
        node.run("kill", "-KILL", str(release.process()))
        eventually(again, "the container is started again", seconds=120)
        journal.reaches(AFTER)
    all_arrive(receiver, tenant, journal)


def restarts(pod):
    return pod["status"]["containerStatuses"][0]["restartCount"]


def test_messages_that_wait_are_on_the_volume_and_outlive_the_pod(cluster, release, receiver, tenant, journal):
    release.be()
    held_back(tenant, journal)
    old = release.delete_pod()
    cluster.await_pod(release.namespace, "hookline", other_than=old)
    assert receiver.ids(tenant.namespace) == []
    tenant.subscribe(suspend=False)
    eventually(lambda: not missing(receiver, tenant, journal), "what waited arrives", seconds=60)


def test_without_persistence_messages_that_wait_are_lost_with_the_pod_as_the_chart_warns(
    cluster, release, receiver, tenant, journal
):
    """The control of the test above."""
    release.be(persistence={"enabled": False})
    held_back(tenant, journal)
    lost = set(journal.events)
    old = release.delete_pod()
    cluster.await_pod(release.namespace, "hookline", other_than=old)
    tenant.subscribe(suspend=False)
    journal.object()
    later = set(journal.events) - lost
    eventually(lambda: later <= receiver.events(tenant.namespace), "what happens later arrives", seconds=60)
    assert receiver.events(tenant.namespace) & lost == set()
