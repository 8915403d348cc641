"""Service, NetworkPolicy and PodDisruptionBudget."""

from __future__ import annotations


def ports(rule):
    return [(port["port"], port["protocol"]) for port in rule["ports"]]


def test_the_service_leads_to_the_port_of_the_container_by_name(render):
    (port,) = render({"service": {"port": 9090}}).one("Service")["spec"]["ports"]
    assert port == {"name": "metrics", "port": 9090, "targetPort": "metrics"}


def test_the_service_can_be_left_out(render):
    assert render({"service": {"enabled": False}}).all("Service") == []


def test_by_default_nothing_comes_in_but_to_the_port_of_metrics_and_probes(render):
    policy = render().one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["ingress"] == [{"ports": [{"port": "metrics", "protocol": "TCP"}]}]


def test_by_default_dns_the_api_server_and_https_go_out(render):
    dns, api, deliveries = render().one("NetworkPolicy")["spec"]["egress"]
    assert ports(dns) == [(53, "UDP"), (53, "TCP")]
    assert ports(api) == [(443, "TCP"), (6443, "TCP")]
    assert ports(deliveries) == [(443, "TCP")]
    assert not any("to" in rule for rule in (dns, api, deliveries))


def test_peers_and_ports_of_the_values_narrow_and_widen_it(render, ci):
    values = ci["everything"]["networkPolicy"]
    policy = render(ci["everything"]).one("NetworkPolicy")["spec"]
    assert policy["ingress"][0]["from"] == values["ingressFrom"]
    dns, api, deliveries, extra = policy["egress"]
    assert [dns["to"], api["to"], deliveries["to"]] == [values[key]["to"] for key in ("dns", "apiServer", "deliveries")]
    assert ports(deliveries) == [(443, "TCP"), (8443, "TCP")]
    assert [extra] == values["extraEgress"]


def test_the_network_policy_can_be_left_out(render):
    assert render({"networkPolicy": {"enabled": False}}).all("NetworkPolicy") == []


def test_there_is_no_disruption_budget_unless_asked_for_and_then_it_lets_drains_pass(render):
    assert render().all("PodDisruptionBudget") == []
    budget = render({"podDisruptionBudget": {"enabled": True}}).one("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert (
        render({"podDisruptionBudget": {"enabled": True, "maxUnavailable": 0}}).one("PodDisruptionBudget")["spec"][
            "maxUnavailable"
        ]
        == 0
    )


API_TLS = {"api": {"tls": {"secretName": "api-certificate"}}}


def test_without_a_certificate_the_api_listens_at_the_loopback_alone_and_nothing_leads_to_it(render):
    rendered = render()
    environment = rendered.one("ConfigMap", "hookline")["data"]
    assert environment["HOOKLINE_API_PORT"] == "8443"
    assert not any("TLS" in name or "API_HOST" in name for name in environment)
    assert [port["name"] for port in rendered.one("Service")["spec"]["ports"]] == ["metrics"]
    assert [port["name"] for port in rendered.container["ports"]] == ["metrics"]


def test_with_a_certificate_service_and_network_policy_lead_to_the_api(render):
    rendered = render(API_TLS | {"networkPolicy": {"apiFrom": [{"podSelector": {}}]}})
    environment = rendered.one("ConfigMap", "hookline")["data"]
    (mount,) = (mount for mount in rendered.container["volumeMounts"] if mount["name"] == "api-tls")
    (volume,) = (volume for volume in rendered.pod["spec"]["volumes"] if volume["name"] == "api-tls")
    assert volume["secret"] == {"secretName": "api-certificate", "defaultMode": 0o440}
    assert mount == {"name": "api-tls", "mountPath": "/etc/hookline/api-tls", "readOnly": True}
    for file, name in (("CERT", "tls.crt"), ("KEY", "tls.key")):
        assert environment[f"HOOKLINE_API_TLS_{file}_FILE"] == f"{mount['mountPath']}/{name}"
    assert {"name": "api", "port": 8443, "targetPort": "api"} in rendered.one("Service")["spec"]["ports"]
    assert {"name": "api", "containerPort": 8443} in rendered.container["ports"]
    _, api = rendered.one("NetworkPolicy")["spec"]["ingress"]
    assert api == {"ports": [{"port": "api", "protocol": "TCP"}], "from": [{"podSelector": {}}]}


def test_the_api_can_be_left_out(render):
    assert render({"api": {"enabled": False}}).one("ConfigMap", "hookline")["data"]["HOOKLINE_API_PORT"] == "0"
