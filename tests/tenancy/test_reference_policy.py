"""The admission policy on references: nobody has a Secret sent away that he may not read. Real users and API server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from controlplane import ControlPlane
from support.cluster import Kubectl
from support.policies import POLICY, forced, refused
from support.rights import binding, role, user
from support.schema import SAMPLES, merged, schema_of, walk

SPACE = "references"
OURS = {
    "apiGroups": ["hookline.dev"],
    "resources": ["webhooksubscriptions", "webhookreplays"],
    "verbs": ["get", "create", "update", "patch"],
}
ACCOUNTS = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}
SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
CONFIG_MAPS = SECRETS | {"resources": ["configmaps"]}
PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}

USERS: dict[str, tuple[dict[str, Any], ...]] = {
    "reads-nothing": (),
    "reads-another": (SECRETS | {"resourceNames": ["another"]}, CONFIG_MAPS | {"resourceNames": ["another"]}),
    "reads-the-other-kind": (),
    "lists-them": (SECRETS | {"verbs": ["list", "watch", "create", "update", "patch", "delete"]},),
    "reads-it": (SECRETS | {"resourceNames": ["it"]}, CONFIG_MAPS | {"resourceNames": ["it"]}),
    "reads-all": (SECRETS, CONFIG_MAPS),
    "makes-pods": (PODS,),
}
"""What each may do beside writing subscriptions with any ServiceAccount."""

REF = {"secretKeyRef": {"name": "it", "key": "k"}}
OAUTH = {"tokenUrl": "https://login.example.com/t", "clientIdFrom": REF, "clientSecretFrom": REF}
REFERENCES: dict[str, dict[str, Any]] = {
    ".destination.urlFrom.secretKeyRef": {"destination": {"url": None, "urlFrom": REF}},
    ".destination.headers[].valueFrom.secretKeyRef": {
        "destination": {"headers": [{"name": "X-Plain", "value": "x"}, {"name": "X-Key", "valueFrom": REF}]}
    },
    ".destination.auth.bearer.tokenFrom.secretKeyRef": {"destination": {"auth": {"bearer": {"tokenFrom": REF}}}},
    ".destination.auth.basic.secretRef": {"destination": {"auth": {"basic": {"secretRef": {"name": "it"}}}}},
    ".destination.auth.apiKey.valueFrom.secretKeyRef": {
        "destination": {"auth": {"apiKey": {"header": "X-Key", "valueFrom": REF}}}
    },
    ".destination.auth.oauth2ClientCredentials.clientIdFrom.secretKeyRef": {
        "destination": {"auth": {"oauth2ClientCredentials": OAUTH}}
    },
    ".destination.auth.oauth2ClientCredentials.clientSecretFrom.secretKeyRef": {
        "destination": {"auth": {"oauth2ClientCredentials": OAUTH}}
    },
    ".destination.tls.caBundle.secretKeyRef": {"destination": {"tls": {"caBundle": REF}}},
    ".destination.tls.caBundle.configMapKeyRef": {
        "destination": {"tls": {"caBundle": {"configMapKeyRef": {"name": "it", "key": "k"}}}}
    },
    ".destination.tls.clientCertificate.secretRef": {
        "destination": {"tls": {"clientCertificate": {"secretRef": {"name": "it"}}}}
    },
    ".signing.secretName": {"signing": {"secretName": "it"}},
}
"""For each place of the schema where a Secret or a ConfigMap is named, a spec that does."""


def subscription(name: str, change: Mapping[str, Any]) -> dict[str, Any]:
    spec = {
        "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "destination": {"url": "https://hooks.example.com/x"},
    }
    return {
        "apiVersion": "hookline.dev/v1alpha1",
        "kind": "WebhookSubscription",
        "metadata": {"name": name, "namespace": SPACE},
        "spec": merged(spec, dict(change)),
    }


@pytest.fixture(scope="module")
def users(control_plane: ControlPlane, kubectl: Kubectl, crds: None) -> dict[str, Kubectl]:
    kubectl("create", "namespace", SPACE)
    objects: list[dict[str, Any]] = []
    for name, rules in USERS.items():
        for number, rule in enumerate((OURS, ACCOUNTS, *rules)):
            objects += [role(f"{name}-{number}", SPACE, **rule), binding(f"{name}-{number}", user(name), SPACE)]
    kubectl.apply(*objects)
    return {name: Kubectl(control_plane, control_plane.user_kubeconfig(name)) for name in USERS}


@pytest.fixture(scope="module")
def policy(kubectl: Kubectl, users: dict[str, Kubectl]) -> Iterator[None]:
    """The policy in force."""
    with forced(kubectl, users["reads-nothing"], subscription("probe", REFERENCES[".signing.secretName"])):
        yield


def create(who: Kubectl, body: dict[str, Any]) -> str:
    """What the policy says against it."""
    return refused(lambda: who("create", "--dry-run=server", "-f", "-", input=json.dumps(body)))


def test_every_reference_of_the_schema_is_in_these_tests() -> None:
    ends = ("secretKeyRef", "secretRef", "configMapKeyRef", "secretName")
    spec = schema_of("webhooksubscriptions")["properties"]["spec"]
    paths = {path for path, _ in walk(spec) if path.endswith(ends)}
    assert paths == REFERENCES.keys()
    named = {path for path, _ in walk(spec) if path.rpartition(".")[2].lower().endswith(("ref", "secretname", "from"))}
    others = {path for path in named - paths if not any(known.startswith(path) for known in paths)}
    assert others == {".sources[].namespaces.from"}, "a new kind of reference: let the policy ask about it, too"


def test_without_the_policy_rbac_stops_no_reference(kubectl: Kubectl, users: dict[str, Kubectl]) -> None:
    kubectl("delete", "-f", str(POLICY), "--ignore-not-found")
    assert [create(users["reads-nothing"], subscription("x", change)) for change in REFERENCES.values()] == [""] * 11


@pytest.mark.parametrize("path", REFERENCES)
def test_who_may_not_read_it_may_not_refer_to_it(users: dict[str, Kubectl], policy: None, path: str) -> None:
    body = subscription("x", REFERENCES[path])
    allowed = {name for name, who in users.items() if not create(who, body)}
    assert allowed == {"reads-it", "reads-all", "makes-pods"}
    kind = "ConfigMap" if "configMap" in path else "Secret"
    words = create(users["reads-another"], body)
    assert f"you may not read {kind} 'it'" in words
    assert "the right to `get` it" in words


def test_nobody_changes_a_spec_that_refers_to_a_secret_that_he_may_not_read(
    kubectl: Kubectl, users: dict[str, Kubectl], policy: None
) -> None:
    """The value would go to the URL that he names."""
    kubectl.apply(subscription("theirs", REFERENCES[".destination.auth.bearer.tokenFrom.secretKeyRef"]))

    def patch(who: str, document: dict[str, Any]) -> str:
        change = (
            "patch",
            "whsub",
            "theirs",
            "-n",
            SPACE,
            "--type=merge",
            "--dry-run=server",
            "-p",
            json.dumps(document),
        )
        return refused(lambda: users[who](*change))

    elsewhere = {"spec": {"destination": {"url": "https://mine.example.com/x"}}}
    assert "you may not read Secret 'it'" in patch("reads-another", elsewhere)
    assert not patch("reads-it", elsewhere)
    assert not patch("reads-another", {"spec": {"destination": {"auth": None}}})
    assert not patch("reads-another", {"metadata": {"labels": {"a": "b"}}})


def test_of_many_secrets_each_is_looked_at_and_repeated_names_count_once(
    kubectl: Kubectl, users: dict[str, Kubectl], policy: None
) -> None:
    names = [f"s{number}" for number in range(16)]
    readable = SECRETS | {"resourceNames": names}
    kubectl.apply(role("many", SPACE, **readable), binding("many", user("reads-another"), SPACE))
    who = users["reads-another"]

    def headers(*of: str) -> dict[str, Any]:
        ref = [
            {"name": f"X-{at}", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}} for at, name in enumerate(of)
        ]
        return subscription("many", {"destination": {"headers": ref}, "signing": {"secretName": of[0]}})

    assert not create(who, headers(*names, *names)), "as many references as there may be, to as many Secrets"
    for at in range(16):
        assert "may not read Secret 'it'" in create(who, headers(*names[:at], "it", *names[at + 1 :]))
    assert "more than 16 Secrets" in create(who, headers(*names, "another"))
    assert not create(users["reads-all"], headers(*names, *(f"t{number}" for number in range(16))))


def test_an_ordinary_editor_of_the_namespace_may_apply_every_sample(
    control_plane: ControlPlane, kubectl: Kubectl, users: dict[str, Kubectl], policy: None
) -> None:
    kubectl.apply(
        binding("edit", user("editor"), SPACE, "ClusterRole"),
        role("editors", SPACE, **OURS),
        binding("editors", user("editor"), SPACE),
    )
    editor = Kubectl(control_plane, control_plane.user_kubeconfig("editor"))
    for path in SAMPLES:
        for body in yaml.safe_load_all(path.read_text()):
            assert not create(editor, merged(body, {"metadata": {"namespace": SPACE}})), path.name
