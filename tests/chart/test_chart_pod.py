"""The Deployment, its volume and its environment: one restricted pod that the product's own settings understand."""

from __future__ import annotations

from dataclasses import fields

import pytest

from chart import CHART_OWNED, CHART_SETS, CHOICES, camel
from hookline.errors import SettingsError
from hookline.settings import Settings

OURS = [item for item in fields(Settings) if item.name not in CHART_OWNED]


def environment(rendered):
    return rendered.one("ConfigMap", "hookline")["data"]


def other(item):
    """A value that is not the default."""
    if isinstance(item.default, bool):
        return not item.default
    if isinstance(item.default, tuple):
        return ["10.0.0.0/8", "fd00::/8"] if item.name.endswith("cidrs") else ["a.example", "b.example"]
    if isinstance(item.default, (int, float)):
        return item.default + type(item.default)(1)
    if item.name in CHOICES:
        return next(choice for choice in CHOICES[item.name] if choice != item.default)
    if item.name == "egress_proxy":
        return "http://proxy.example:3128"
    return __file__


def test_the_deployment_ends_its_pod_before_it_starts_another_because_the_outbox_has_one_writer(render):
    spec = render().one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_pod_and_its_container_have_everything_that_restricted_asks_for(render):
    rendered = render()
    pod = rendered.pod["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert {pod["securityContext"][key] for key in ("runAsUser", "runAsGroup", "fsGroup")} == {65532}
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert rendered.container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_pod_says_that_it_takes_a_token_and_takes_no_service_links(render):
    rendered = render()
    assert rendered.pod["spec"]["automountServiceAccountToken"] is True
    assert rendered.pod["spec"]["enableServiceLinks"] is False
    assert rendered.one("ServiceAccount")["automountServiceAccountToken"] is False


def test_probes_ask_the_paths_that_the_operator_serves_at_the_port_that_it_listens_on(render):
    rendered = render({"service": {"port": 9090}})
    container = rendered.container
    assert container["ports"] == [{"name": "metrics", "containerPort": 9090}]
    asked = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "metrics"},
        "liveness": {"path": "/healthz", "port": "metrics"},
        "readiness": {"path": "/readyz", "port": "metrics"},
    }
    assert Settings.parse([], environment(rendered)).listen_port == 9090


def test_what_must_be_written_is_on_volumes_and_nothing_else_is(render):
    rendered = render()
    mounts = {mount["mountPath"]: mount["name"] for mount in rendered.container["volumeMounts"]}
    assert mounts == {"/var/lib/hookline": "outbox", "/tmp": "tmp"}
    assert str(Settings.parse([], environment(rendered)).data_dir) == "/var/lib/hookline"


def test_resources_are_requested_and_memory_is_limited(render):
    resources = render().container["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert set(resources["limits"]) == {"memory"}


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "localhost/hookline:0.1.0"),
        ({"registry": "r.example:5000", "repository": "a/b", "tag": "2"}, "r.example:5000/a/b:2"),
        ({"repository": "a", "digest": "sha256:" + "1" * 64}, "a:0.1.0@sha256:" + "1" * 64),
    ],
)
def test_the_image_is_registry_repository_tag_and_digest(render, image, reference):
    assert render({"image": image}).container["image"] == reference


@pytest.mark.parametrize(
    ("values", "seconds"),
    [
        ({}, 30),
        ({"settings": {"shutdownGraceSeconds": 40.5}}, 56),
        ({"settings": {"shutdownGraceSeconds": 0}}, 30),
        ({"settings": {"shutdownGraceSeconds": "40.5"}}, 56),
        ({"terminationGracePeriodSeconds": 100}, 100),
        ({"terminationGracePeriodSeconds": "100"}, 100),
    ],
)
def test_the_kubelet_waits_longer_than_the_operator_takes_to_stop(render, values, seconds):
    assert render(values).pod["spec"]["terminationGracePeriodSeconds"] == seconds


def test_a_change_of_a_setting_makes_a_new_pod_and_a_change_of_the_service_does_not(render):
    def checksum(values):
        return render(values).pod["metadata"]["annotations"]["checksum/config"]

    assert checksum({}) != checksum({"settings": {"logLevel": "debug"}})
    assert checksum({}) == checksum({"service": {"annotations": {"a": "b"}}})


def test_with_default_values_every_setting_is_the_products_own_but_where_the_chart_decides(render):
    parsed = Settings.parse([], environment(render()))
    plain = Settings.parse([], {})
    assert {item.name for item in fields(Settings) if getattr(parsed, item.name) != getattr(plain, item.name)} <= {
        "data_dir",
        "lease_name",
    }


def test_every_setting_that_is_set_arrives_as_the_operator_reads_it(render):
    chosen = {item.name: other(item) for item in OURS}
    rendered = render({"settings": {camel(name): value for name, value in chosen.items()}})
    parsed = Settings.parse([], environment(rendered))
    arrived = {item.name: getattr(parsed, item.name) for item in OURS}
    assert arrived == {name: tuple(v) if isinstance(v, list) else v for name, v in chosen.items()}


def test_the_chart_decides_the_rest_namespaces_and_the_name_of_the_lease_among_them(render):
    rendered = render({"namespaces": ["team-a", "team-b"]}, name="two")
    parsed = Settings.parse([], rendered.one("ConfigMap", "two-hookline")["data"])
    assert (parsed.namespaces, parsed.lease_name) == (("team-a", "team-b"), "two-hookline")
    plain = ("DATA_DIR", "LISTEN_PORT", "LEASE_NAME", "API_PORT")
    assert set(environment(render())) == {f"HOOKLINE_{name}" for name in plain}
    every = environment(render({"namespaces": ["team-a"], "api": {"tls": {"secretName": "x"}}}))
    assert set(every) == {f"HOOKLINE_{name.upper()}" for name in CHART_SETS}


@pytest.mark.parametrize("number", [268_435_456, 1_000_000_000_000, 0])
def test_a_large_number_is_no_power_of_ten_and_zero_is_a_value(render, number):
    rendered = render({"settings": {"deadRetentionBytes": number}})
    assert Settings.parse([], environment(rendered)).dead_retention_bytes == number


@pytest.mark.parametrize("name", ["log_level", "log_format"])
def test_the_choices_of_the_schema_are_those_of_the_operator(name):
    for choice in CHOICES[name]:
        Settings.parse([], {f"HOOKLINE_{name.upper()}": choice})
    with pytest.raises(SettingsError):
        Settings.parse([], {f"HOOKLINE_{name.upper()}": "another"})


def test_the_outbox_is_on_a_claim_that_an_uninstall_keeps(render):
    claim = render().one("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Gi"}}}
    assert volume(render()) == {"name": "outbox", "persistentVolumeClaim": {"claimName": "hookline"}}
    assert "annotations" not in render({"persistence": {"keep": False}}).one("PersistentVolumeClaim")["metadata"]


def test_an_existing_claim_is_used_and_none_is_made(render):
    rendered = render({"persistence": {"existingClaim": "mine"}})
    assert volume(rendered)["persistentVolumeClaim"] == {"claimName": "mine"}
    assert rendered.all("PersistentVolumeClaim") == []


def test_without_persistence_the_outbox_is_an_empty_dir_of_limited_size(render):
    rendered = render({"persistence": {"enabled": False}})
    assert volume(rendered) == {"name": "outbox", "emptyDir": {"sizeLimit": "8Gi"}}
    assert rendered.all("PersistentVolumeClaim") == []


def test_where_a_pod_runs_and_what_else_it_has_is_as_the_values_say(render, ci):
    values = ci["everything"]
    pod = render(values).pod["spec"]
    for key in ("nodeSelector", "tolerations", "affinity", "topologySpreadConstraints", "priorityClassName"):
        assert pod[key] == values[key]
    assert pod["imagePullSecrets"] == values["image"]["pullSecrets"]
    (container,) = pod["containers"]
    assert container["env"] == values["extraEnv"]
    assert container["volumeMounts"][-1:] == values["extraVolumeMounts"]
    assert pod["volumes"][-1:] == values["extraVolumes"]


def volume(rendered):
    (found,) = [volume for volume in rendered.pod["spec"]["volumes"] if volume["name"] == "outbox"]
    return found


def test_a_setting_may_be_text_as_set_string_writes_it(render):
    numbers = {"maxBodyBytes": 2000000, "secretPollSeconds": 2.5, "auditSeconds": 0, "tracing": True}
    texts = {name: str(value).lower() for name, value in numbers.items()}
    environment = render({"settings": texts}).one("ConfigMap", "hookline")["data"]
    assert environment["HOOKLINE_MAX_BODY_BYTES"] == "2000000"
    assert environment == render({"settings": numbers}).one("ConfigMap", "hookline")["data"]
