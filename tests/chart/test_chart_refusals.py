"""What the chart refuses: by a sentence in ``templates/requirements.yaml``, or by the closed schema."""

from __future__ import annotations

import re

import pytest

from chart import CHART

REFUSED = [
    ({"replicaCount": 2}, "replicaCount: must be 0 or 1: the outbox is one SQLite file on one volume"),
    ({"persistence": {"enabled": False, "existingClaim": "mine"}}, "persistence.existingClaim: is not used while"),
    ({"serviceAccount": {"create": False}}, "serviceAccount.name: name a ServiceAccount, because"),
    ({"rbac": {"watched": [{"apiGroup": "*", "resources": ["pods"]}]}}, "rbac.watched: name API groups and resources"),
    ({"rbac": {"watched": [{"apiGroup": "", "resources": ["*"]}]}}, "rbac.watched: name API groups and resources"),
    ({"rbac": {"watched": [{"apiGroup": "", "resources": ["secrets"]}]}}, "rbac.watched: must not name secrets"),
    (
        {"rbac": {"watched": [{"apiGroup": "", "resources": ["secrets"]}]}, "settings": {"allowSecretMetadata": False}},
        "rbac.watched: must not name secrets",
    ),
    ({"terminationGracePeriodSeconds": 24}, "terminationGracePeriodSeconds: must be at least 25"),
    (
        {"terminationGracePeriodSeconds": 16, "settings": {"shutdownGraceSeconds": 1}},
        "terminationGracePeriodSeconds: must be at least 17",
    ),
    (
        {"terminationGracePeriodSeconds": "39", "settings": {"shutdownGraceSeconds": "29.5"}},
        "terminationGracePeriodSeconds: must be at least 40",
    ),
    ({"extraEnv": [{"name": "HOOKLINE_DATA_DIR", "value": "/x"}]}, "extraEnv: HOOKLINE_DATA_DIR is set by other"),
    (
        {"extraEnv": [{"name": "HOOKLINE_LOG_LEVEL", "value": "info"}], "settings": {"logLevel": "debug"}},
        "extraEnv: HOOKLINE_LOG_LEVEL is set by other values",
    ),
    ({"api": {"port": 8080}}, "api.port: must not be service.port"),
    ({"api": {"enabled": False, "tls": {"secretName": "x"}}}, "api.tls.secretName: is not used while"),
    (
        {"monitoring": {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}},
        "monitoring: enable serviceMonitor or podMonitor, not both",
    ),
    (
        {"monitoring": {"serviceMonitor": {"enabled": True}}, "service": {"enabled": False}},
        "monitoring.serviceMonitor: needs the Service",
    ),
    (
        {"monitoring": {"prometheusRule": {"thresholds": {"outboxBytes": 8 * 1024**3}}}},
        "monitoring.prometheusRule.thresholds.outboxBytes: must be less than persistence.size (8Gi, which",
    ),
    (
        {"podAnnotations": {"checksum/config": "x"}},
        "podAnnotations: must not have checksum/config, which the chart sets",
    ),
    (
        {"podAnnotations": {"kubectl.kubernetes.io/default-container": "x"}},
        "podAnnotations: must not have kubectl.kubernetes.io/default-container",
    ),
    (
        {"commonLabels": {"app.kubernetes.io/name": "x"}},
        "commonLabels: must not have app.kubernetes.io/name, which the",
    ),
    ({"podLabels": {"app.kubernetes.io/instance": "x"}}, "podLabels: must not have app.kubernetes.io/instance"),
    ({"podLabels": {"app.kubernetes.io/component": "x"}}, "podLabels: must not have app.kubernetes.io/component"),
    (
        {"monitoring": {"podMonitor": {"labels": {"app.kubernetes.io/part-of": "x"}}}},
        "monitoring.podMonitor.labels: must not have app.kubernetes.io/part-of",
    ),
    ({"settings": {"keyOverlapSeconds": "604801"}}, "settings.keyOverlapSeconds: must be at most 604800"),
    ({"settings": {"leaseDurationSeconds": "0.5"}}, "settings.leaseDurationSeconds: must be at least 1"),
    (
        {"settings": {"leaseDurationSeconds": 5}},
        "settings.leaseRenewDeadlineSeconds: must lie between settings.leaseRetrySeconds and settings.leaseDuration",
    ),
    ({"settings": {"refuseCidrs": ["10.0.0.1/8"]}}, "settings.refuseCidrs: must hold ranges of addresses"),
    ({"settings": {"egressProxyConnect": "name"}}, "settings.egressProxy: must be set where"),
]
TYPOS = [
    ({"replicas": 1}, "replicas"),
    ({"image": {"repo": "x"}}, "repo"),
    ({"settings": {"loglevel": "debug"}}, "loglevel"),
    ({"settings": {"dataDir": "/elsewhere"}}, "dataDir"),
    ({"networkPolicy": {"deliveries": {"port": [443]}}}, "port"),
    ({"rbac": {"watched": [{"group": "", "resources": ["pods"]}]}}, "group"),
    ({"monitoring": {"prometheusRule": {"thresholds": {"delay": 30}}}}, "delay"),
]
WRONG = [
    ({"image": {"digest": "sha256:short"}}, "/image/digest"),
    ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
    ({"settings": {"logLevel": "loud"}}, "/settings/logLevel"),
    ({"settings": {"maxBodyBytes": 1023}}, "/settings/maxBodyBytes"),
    ({"settings": {"maxBodyBytes": 2048.5}}, "/settings/maxBodyBytes"),
    ({"settings": {"maxBodyBytes": "2 MiB"}}, "/settings/maxBodyBytes': '2 MiB' does not match pattern '^[0-9]*$'"),
    ({"settings": {"maxBodyBytes": "2048.5"}}, "/settings/maxBodyBytes"),
    ({"settings": {"secretPollSeconds": "1."}}, "/settings/secretPollSeconds"),
    ({"settings": {"tracing": "yes"}}, "/settings/tracing"),
    ({"terminationGracePeriodSeconds": "1m"}, "/terminationGracePeriodSeconds"),
    ({"settings": {"allowHosts": ["a,b"]}}, "/settings/allowHosts"),
    ({"persistence": {"accessMode": "ReadWriteMany"}}, "/persistence/accessMode"),
    ({"persistence": {"size": "8 GB"}}, "/persistence/size"),
    ({"namespaces": ["a", "a"]}, "/namespaces"),
    ({"namespaces": ["Bad_Name"]}, "/namespaces/0"),
    ({"namespaces": [""]}, "/namespaces/0"),
    ({"fullnameOverride": "Bad_Name"}, "/fullnameOverride"),
    ({"nameOverride": "-x"}, "/nameOverride"),
    ({"monitoring": {"prometheusRule": {"disabled": ["Nope"]}}}, "/monitoring/prometheusRule/disabled/0"),
    *(
        (
            {"monitoring": {"prometheusRule": {"thresholds": {name: text}}}},
            f"/monitoring/prometheusRule/thresholds/{name}",
        )
        for name, text in (("outboxBytes", "6Gi"), ("delaySeconds", "10m"), ("failureRatio", -1), ("failureRatio", ""))
    ),
    ({"service": {"port": 0}}, "/service/port"),
    ({"replicaCount": -1}, "/replicaCount"),
]


@pytest.mark.parametrize(("values", "sentence"), REFUSED, ids=[sentence[:50] for _, sentence in REFUSED])
def test_it_is_refused_with_the_reason_and_what_to_do(refusal, values, sentence):
    assert sentence in refusal(values)


@pytest.mark.parametrize("name", ["serviceMonitor", "podMonitor", "prometheusRule"])
def test_an_object_of_an_api_that_the_cluster_does_not_serve_is_refused(refusal, name):
    message = refusal({"monitoring": {name: {"enabled": True}}}, apis=())
    assert (
        "the cluster does not serve monitoring.coreos.com/v1; install the Prometheus operator's CRDs first" in message
    )


def test_every_refusal_of_the_template_is_tested_here_and_no_other_template_refuses():
    text = (CHART / "templates" / "requirements.yaml").read_text()
    starts = re.findall(r'fail \(?(?:printf )?"([^":]+: \S+ \S+)', text)
    tested = [sentence for _, sentence in REFUSED] + ["monitoring: the cluster does not serve"]
    assert len(starts) == text.count("fail ")
    forms = [re.compile(re.escape(start).replace("%s", r"\S+")) for start in starts]
    assert [form.pattern for form in forms if not any(form.match(sentence) for sentence in tested)] == []
    others = {
        path.name for path in (CHART / "templates").iterdir() if re.search(r"\b(fail|required) ", path.read_text())
    }
    assert others == {"requirements.yaml"}


@pytest.mark.parametrize(("values", "key"), TYPOS)
def test_a_typo_is_refused_by_the_schema(refusal, values, key):
    assert f"additional properties '{key}' not allowed" in refusal(values)


@pytest.mark.parametrize(("values", "where"), WRONG)
def test_a_value_of_the_wrong_form_is_refused_by_the_schema(refusal, values, where):
    assert f"at '{where}" in refusal(values)


@pytest.mark.parametrize("values", [{"global": {"anything": 1}}, {"enabled": True}])
def test_what_a_parent_chart_adds_is_allowed(render, values):
    assert render(values) == render()
