"""RBAC as the chart grants it: exactly what ``hack/rights.py`` says that the code needs."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

import rights

KINDS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def granted(rendered):
    """The objects of RBAC, without what Helm adds, and without the roles for people."""
    found = {}
    for obj in copy.deepcopy(rendered):
        labels = obj["metadata"].pop("labels", {})
        if obj["kind"] in KINDS and not any("aggregate-to" in label for label in labels):
            watched = {key: value for key, value in labels.items() if key == rights.WATCHED_LABEL}
            if watched:
                obj["metadata"]["labels"] = watched
            obj.pop("automountServiceAccountToken", None)
            found[obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]] = obj
    return found


def golden(name):
    return list(yaml.safe_load_all((rights.DIRECTORY / name).read_text()))


def test_in_all_namespaces_it_is_what_config_rbac_grants(render):
    assert granted(render()) == granted(golden("cluster.yaml"))


def test_in_one_namespace_it_is_what_config_rbac_grants(render):
    assert granted(render({"namespaces": ["hookline"]})) == granted(golden("namespaced.yaml"))


def test_in_several_namespaces_it_is_the_same_in_each(render):
    rendered = render({"namespaces": ["team-a", "team-b"]}, namespace="ops")
    assert granted(rendered) == granted(rights.namespaced_mode("ops", ["team-a", "team-b"]))


def test_the_watched_resources_of_the_values_are_watched_and_nothing_else(render):
    watched = [{"apiGroup": "example.com", "resources": ["things"]}]
    rule = [{"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["list", "watch"]}]
    assert render({"rbac": {"watched": watched}}).one("ClusterRole", "hookline-watched-default")["rules"] == rule
    rendered = render({"rbac": {"watched": watched}, "namespaces": ["team-a"]})
    assert rendered.one("Role", "hookline-watched")["rules"] == rule


def bounds(rendered):
    policy = rendered.one("ValidatingAdmissionPolicy", "hookline-operator")
    binding = rendered.one("ValidatingAdmissionPolicyBinding", "hookline-operator")
    return policy["spec"], binding["spec"]


def test_the_operators_user_is_bounded_where_rbac_can_not_be(render):
    policy, binding = (obj["spec"] for obj in rights.bounds("ops"))
    more = {"rbac": {"bounds": {"refusedAudiences": ["https://issuer.example.com"]}}}
    for values, audiences in (({}, []), ({"rbac": {"create": False}}, []), (more, ["https://issuer.example.com"])):
        found, bound = bounds(render(values, namespace="ops"))
        refused = json.loads(found["variables"][0]["expression"])
        assert refused == [*rights.REFUSED_AUDIENCES, *audiences]
        assert bound == binding
        assert found | {"variables": []} == policy | {"variables": []}
    none = render({"rbac": {"bounds": {"enabled": False}}})
    assert [obj for obj in none if obj["metadata"]["name"] == "hookline-operator"] == []


def test_another_account_of_another_release_is_bounded_by_its_own_policy(render):
    rendered = render({"fullnameOverride": "other", "serviceAccount": {"name": "somebody"}}, namespace="ops")
    policy = rendered.one("ValidatingAdmissionPolicy", "other-operator")
    user = policy["spec"]["matchConditions"][0]["expression"]
    assert user == "request.userInfo.username == 'system:serviceaccount:ops:somebody'"
    assert rendered.one("ValidatingAdmissionPolicyBinding", "other-operator")["spec"]["policyName"] == "other-operator"


@pytest.mark.parametrize("namespaces", [[], ["team-a"]])
def test_tokens_are_granted_only_with_the_setting_that_lets_subscriptions_send_them(render, namespaces):
    for allowed in (True, False):
        values = {"namespaces": namespaces, "settings": {"allowServiceAccountTokens": allowed}}
        rules = [rule for obj in render(values) if "Role" in obj["kind"] for rule in obj.get("rules") or ()]
        assert (rights.TOKENS.rule in rules) is allowed
        assert any("serviceaccounts/token" in rule["resources"] for rule in rules) is allowed


def test_a_role_with_the_label_adds_to_what_is_watched(render):
    role = render().one("ClusterRole", "hookline-watched")
    assert role["aggregationRule"] == {"clusterRoleSelectors": [{"matchLabels": {rights.WATCHED_LABEL: "true"}}]}
    assert "rules" not in role


def test_people_who_view_or_edit_a_namespace_do_so_with_our_kinds_and_never_with_a_status(render):
    rendered = render()
    view, edit = (rendered.one("ClusterRole", f"hookline-{name}") for name in ("view", "edit"))
    to = "rbac.authorization.k8s.io/aggregate-to"
    assert {f"{to}-{name}" for name in ("view", "edit", "admin")} <= view["metadata"]["labels"].keys()
    assert {f"{to}-{name}" for name in ("edit", "admin")} <= edit["metadata"]["labels"].keys()
    assert f"{to}-view" not in edit["metadata"]["labels"]
    (sees,), (changes, reads) = view["rules"], edit["rules"]
    assert sees["verbs"] == reads["verbs"] == ["get", "list", "watch"]
    assert sees["resources"] == changes["resources"] == ["webhooksubscriptions", "webhookreplays"]


def test_deliveries_are_read_by_who_may_edit_and_not_by_who_may_only_view(render):
    """A body may show what the subscription's ServiceAccount may read, and who views the namespace may not."""
    holders = {
        role["metadata"]["name"]
        for role in render().all("ClusterRole")
        if any("webhooksubscriptions/deliveries" in rule["resources"] for rule in role.get("rules") or ())
    }
    assert holders == {"hookline-edit"}


def test_without_rbac_create_nothing_is_granted_to_anybody(render):
    rendered = render({"rbac": {"create": False}})
    assert [obj["kind"] for obj in rendered if "Role" in obj["kind"]] == []


def test_the_roles_for_people_can_be_left_out(render):
    rendered = render({"rbac": {"aggregateToUserRoles": False}})
    assert [role["metadata"]["name"] for role in rendered.all("ClusterRole")] == [
        "hookline",
        "hookline-watched",
        "hookline-watched-default",
    ]


@pytest.mark.parametrize("namespaces", [[], ["team-a"]])
def test_no_rule_of_the_operator_has_a_wildcard(render, namespaces):
    for obj in render({"namespaces": namespaces}):
        for rule in obj.get("rules") or [] if "Role" in obj["kind"] else []:
            assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
