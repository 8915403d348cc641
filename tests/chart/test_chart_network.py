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
