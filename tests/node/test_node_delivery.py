"""From one pod to another: a change in a tenant's namespace arrives, signed and verified, and nothing else does."""

import pytest

from hookline import keys
from support.cluster import Kubectl, KubectlError, eventually

REFUSED = "DestinationRefused"


def test_a_change_arrives_signed_at_a_receiver_in_the_cluster(release, receiver, tenant, journal):
    release.be()
    tenant.subscribe()
    for _ in range(3):
        journal.object()
    eventually(lambda: receiver.events(tenant.namespace) == set(journal.events), "all changes arrive", seconds=60)
    assert len(receiver.ids(tenant.namespace)) == len(journal.events) == 7
    assert {"Created", "Updated", "Deleted"} == {operation for operation, _, _ in journal.events}


def test_what_is_signed_with_another_key_is_not_taken(cluster, release, receiver, tenant, journal):
    release.be()
    other = {"v1": keys.encode_hmac(keys.new_hmac())}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other-key"}, "stringData": other}
    cluster.apply(secret, namespace=tenant.namespace)
    tenant.subscribe(signing={"secretName": "other-key", "schemes": ["v1"]})
    journal.object()
    assert "401" in tenant.wait("DeliveryFailing", kind="Delivering")
    assert receiver.ids(tenant.namespace) == []


def test_an_authority_that_nobody_named_is_not_believed(cluster, release, receiver, tenant, journal):
    release.be()
    subscription = tenant.subscription()
    del subscription["spec"]["destination"]["tls"]
    cluster.apply(subscription)
    tenant.wait("Watching")
    journal.object()
    tenant.wait("DeliveryFailing", kind="Delivering")
    assert receiver.ids(tenant.namespace) == []


def test_an_address_of_the_cluster_is_refused_until_an_administrator_allows_its_host(
    release, receiver, tenant, journal
):
    release.be(settings={"allowHosts": []})
    tenant.subscribe(reason=REFUSED)
    journal.object()
    release.be()
    tenant.wait("Watching")
    before = set(journal.events)
    journal.object()
    later = set(journal.events) - before
    eventually(lambda: later <= receiver.events(tenant.namespace), "a change arrives", seconds=60)
    assert receiver.events(tenant.namespace) == later


RULES = {
    "subscriptions": {"apiGroups": ["hookline.dev"], "resources": ["webhooksubscriptions"], "verbs": ["*"]},
    "accounts": {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
}


@pytest.fixture
def user(node, cluster, tenant):
    """Makes kubectl of a real user of the tenant's namespace, who has these rights there."""

    def make(kind, *rights):
        name = f"{kind}-{tenant.namespace}"
        metadata = {"name": name, "namespace": tenant.namespace}
        subject = {"kind": "User", "name": name, "apiGroup": "rbac.authorization.k8s.io"}
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        cluster.apply(
            {**role, "kind": "Role", "rules": [RULES[right] for right in rights]},
            {**role, "kind": "RoleBinding", "subjects": [subject], "roleRef": reference},
        )
        return Kubectl(node, node.user_kubeconfig(name))

    return make


def test_a_tenant_may_name_only_a_service_account_that_it_may_use(cluster, release, tenant, user):
    release.be()
    writer, owner = user("writer", "subscriptions"), user("owner", "subscriptions", "accounts")
    with pytest.raises(KubectlError, match="you may not use ServiceAccount 'default'"):
        writer.apply(tenant.subscription())
    owner.apply(tenant.subscription())
    tenant.wait("Watching")


def test_who_may_edit_a_namespace_may_have_subscriptions_there_and_in_no_other(
    node, cluster, release, make_tenant, receiver
):
    release.be()
    mine, other = make_tenant(), make_tenant()
    name = f"editor-{mine.namespace}"
    cluster("create", "rolebinding", "editor", "--clusterrole=edit", f"--user={name}", "-n", mine.namespace)
    editor = Kubectl(node, node.user_kubeconfig(name))
    eventually(lambda: allowed(editor, mine), "the chart's roles are part of edit")
    editor.apply(mine.subscription())
    mine.wait("Watching")
    with pytest.raises(KubectlError, match="forbidden"):
        editor.apply(other.subscription())


def allowed(kubectl, tenant):
    try:
        return kubectl("auth", "can-i", "create", "webhooksubscriptions.hookline.dev", "-n", tenant.namespace)
    except KubectlError:
        return False
