"""The operator's rights as files: they are those of the one list, and hold nothing that makes a service an owner."""

from __future__ import annotations

from itertools import product

import pytest

import rights

DANGEROUS_VERBS = {"*", "escalate", "bind", "impersonate", "approve", "sign", "delete", "deletecollection"}
SECRET_VERBS = {"get", "create", "patch"}
BOUNDED = {("", "secrets", "create"), ("", "secrets", "patch"), ("", "serviceaccounts/token", "create")}
"""Ways to more rights as far as RBAC is concerned, which stand only beside the policy that bounds them."""


def defects(objects, namespace=rights.OWN_NAMESPACE):
    """What is wrong with the rules of these objects."""
    found = []
    bounded = all(bound in objects for bound in rights.bounds(namespace))
    for obj in objects:
        for rule in obj.get("rules") or ():
            for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"]):
                if "*" in (group, resource) or verb in DANGEROUS_VERBS:
                    found.append(f"{verb} {group}/{resource}")
                if group == "" and resource in ("nodes/proxy", "pods/exec", "pods/attach", "services/proxy"):
                    found.append(f"{verb} {resource}")
                if (group, resource, verb) in BOUNDED and not bounded:
                    found.append(f"{verb} {resource}, without the policy")
                if group == "" and resource == "secrets" and verb not in SECRET_VERBS:
                    found.append(f"{verb} secrets")
            if "nonResourceURLs" in rule:
                found.append("nonResourceURLs")
    return found


def test_the_files_are_what_is_generated():
    found = {path.name: path.read_text(encoding="utf-8") for path in rights.DIRECTORY.iterdir()}
    assert found == rights.files(), "run: .venv/bin/python hack/rights.py"


@pytest.mark.parametrize(
    ("objects", "namespace"),
    [
        (rights.cluster_mode(), "hookline"),
        (rights.cluster_mode("h", tokens=True), "h"),
        (rights.namespaced_mode("h", ["a", "b"]), "h"),
    ],
)
def test_no_rule_has_a_wildcard_a_proxy_or_an_unbounded_way_to_more_rights(objects, namespace):
    assert defects(objects, namespace) == []


def test_tokens_of_service_accounts_are_granted_only_where_somebody_asks_for_it():
    for objects in (rights.cluster_mode(), rights.namespaced_mode("h", ["a"])):
        assert not any("serviceaccounts/token" in rule["resources"] for obj in objects for rule in obj.get("rules", ()))


@pytest.mark.parametrize(
    ("group", "resource", "verb"),
    [
        ("", "pods", "*"),
        ("*", "pods", "get"),
        ("apps", "*", "get"),
        ("", "nodes/proxy", "get"),
        ("", "secrets", "list"),
        ("rbac.authorization.k8s.io", "roles", "escalate"),
        ("", "users", "impersonate"),
        ("", "secrets", "create"),
        ("", "serviceaccounts/token", "create"),
    ],
)
def test_the_check_finds_such_a_rule(group, resource, verb):
    rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    assert defects([{"rules": [rule]}])


def test_nothing_is_granted_on_what_the_operator_watches_but_to_watch_it():
    assert {verb for rule in rights.watch_rules() for verb in rule["verbs"]} == {"list", "watch"}
    assert not any("secrets" in rule["resources"] for rule in rights.watch_rules())


def test_in_namespaced_mode_nothing_in_a_namespace_is_granted_for_all():
    for obj in rights.namespaced_mode("h", ["a", "b"]):
        if obj["kind"] == "ClusterRole":
            assert obj["rules"] == rights.rules(rights.Where.CLUSTER)
