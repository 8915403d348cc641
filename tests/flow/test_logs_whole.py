"""Claims about the log of a whole operator, through a life in which much changes; see also docs/logs.md."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import subprocess
import sys
from collections import Counter

import pytest

from support.cluster import eventually
from support.loglines import faults
from support.receiver import Answer

RUN = (sys.executable, "-m", "hookline", "run", "--listen-host", "127.0.0.1", "--listen-port", "0")
ADDRESS = re.compile(r"\b\d{1,3}(\.\d{1,3}){3}\b")


class Log:
    """The log of an operator, read anew at each look."""

    def __init__(self, operator):
        self._file = operator.log

    @property
    def text(self):
        return self._file.read_text()

    @property
    def lines(self):
        return [json.loads(line) for line in self.text.splitlines()]

    def find(self, begin, **fields):
        """The lines whose message begins so, and that have these fields."""
        return [
            line
            for line in self.lines
            if line["message"].startswith(begin) and all(line.get(name) == value for name, value in fields.items())
        ]

    def wait(self, begin, **fields):
        eventually(lambda: self.find(begin, **fields), f"the log says: {begin} {fields}", 60)


def test_each_change_of_state_is_a_line_with_its_fields_and_every_line_keeps_to_the_schema(
    make_operator, subscriptions, receiver, config_map, kubectl, namespace
):
    flags = ("--lease-namespace", namespace, "--lease-name", "here", "--key-overlap-seconds", "60")
    operator = make_operator(*flags).start()
    log = Log(operator)
    log.wait("this process leads", lease="here", epoch=1, level="info")
    name = f"{namespace}/orders"
    url = receiver.url("/s3cr3t-path")
    once = {"maxInFlight": 1, "retry": {"maxAttempts": 1}}
    subscriptions.ready(destination={"url": url}, delivery=once)
    log.wait("the subscription is ready", subscription=name, reason="Watching", level="info")
    log.wait("a watch is started", watch=f"v1/configmaps@{namespace}", level="info")
    # Ten failures in a row open the breaker; each is a dead letter, of which one has a line.
    receiver.do(lambda live: live.answer(503, body=b"s3cret answer"))
    for number in range(10):
        config_map(f"web-{number}", planted="s3cret-object")
    log.wait("the circuit breaker opens", subscription=name, reason="HTTP503", level="info")
    dead = log.find("a message is dead", subscription=name, reason="HTTP503", status_code=503, attempt=1)
    assert [line["level"] for line in dead] == ["warning"]
    receiver.do(lambda live: live.answer(200))
    config_map("web-again", a="1")
    log.wait("the circuit breaker closes", subscription=name, level="info")
    kubectl.apply(
        {
            "apiVersion": "hookline.dev/v1alpha1",
            "kind": "WebhookReplay",
            "metadata": {"name": "again"},
            "spec": {"subscriptionName": "orders"},
        },
        namespace=namespace,
    )
    log.wait("a replay is begun", subscription=name, replay=f"{namespace}/again", count=10, level="info")
    log.wait("a replay is done", subscription=name, replay=f"{namespace}/again", count=10, level="info")
    kubectl("annotate", "whsub", "orders", "hookline.dev/rotate-key=1", "-n", namespace)
    log.wait("the signing keys are changed", subscription=name, new=True, level="info")
    receiver.do(lambda live: live.answers(Answer(410)))
    config_map("web-gone", a="1")
    log.wait("the endpoint is given up", subscription=name, reason="EndpointGone", level="warning")
    log.wait("the subscription is not ready", subscription=name, reason="EndpointGone", level="info")
    kubectl("delete", "whsub", "orders", "-n", namespace)
    log.wait("a subscription is gone", subscription=name, level="info")
    log.wait("a watch is stopped", watch=f"v1/configmaps@{namespace}", level="info")
    assert operator.stop() == 0
    log.wait("this process leads no longer", lease="here", level="info")
    assert faults(log.text.splitlines()) == []
    # One line for each change.
    states = [(line["message"], line["reason"]) for line in log.find("the subscription is", subscription=name)]
    assert all(before != after for before, after in itertools.pairwise(states))
    changes = Counter(line["message"].partition(":")[0] for line in log.lines)
    assert changes["the endpoint is given up"] == changes["a watch is started"] == changes["a watch is stopped"] == 1
    # One line for each verdict.
    verdicts = log.find("verdict", level="debug", subscription=name)
    assert Counter(line["webhook_id"] for line in verdicts) == Counter(receiver.ids)
    assert {line["outcome"] for line in verdicts} == {"delivered", "dead"}
    assert all(line["duration"] > 0 and line["attempt"] == 1 for line in verdicts)
    # Nothing that is nobody's business.
    assert not ADDRESS.search(log.text)
    assert "s3cr" not in log.text
    assert "://" not in "".join(line["message"] for line in log.lines)


def test_at_info_verdicts_are_not_told(make_operator, subscriptions, receiver, config_map):
    operator = make_operator("--log-level", "info").start()
    subscriptions.ready()
    config_map("web", a="1")
    eventually(lambda: receiver.requests, "it is delivered")
    assert operator.stop() == 0
    assert Log(operator).find("verdict") == []
    assert "debug" not in {line["level"] for line in Log(operator).lines}


def test_a_subscription_that_can_not_be_used_is_said_once_however_often_it_is_looked_at(make_operator, subscriptions):
    operator = make_operator().start()
    subscriptions.apply("secretless", destination={"urlFrom": {"secretKeyRef": {"name": "absent", "key": "url"}}})
    subscriptions.wait("SecretNotFound", "secretless")
    log = Log(operator)
    log.wait("the subscription is not ready", reason="SecretNotFound")
    operator.kill()
    operator.start()
    subscriptions.ready("other")
    assert len(log.find("the subscription is not ready", reason="SecretNotFound")) == 1, "not again after a restart"
    assert operator.stop() == 0
    assert faults(log.text.splitlines()) == []


@pytest.mark.parametrize("way", ["error", "defect"])
def test_also_an_end_by_an_error_is_told_in_lines_of_json(tmp_path, way):
    """A kubeconfig that is absent; and a defect, which Python itself would print."""
    defect = "import hookline.app as app; app.App.run = None; from hookline.cli.main import main; main()"
    start = RUN if way == "error" else (sys.executable, "-c", defect, *RUN[3:])
    command = [*start, "--kubeconfig", str(tmp_path / "absent"), "--data-dir", str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (2 if way == "error" else 1)
    lines = done.stderr.splitlines()
    assert faults(lines) == []
    last = json.loads(lines[-1])
    assert last["level"] == "critical"
    assert ("exception" in last) is (way == "defect")


def test_on_a_terminal_the_log_is_text(tmp_path):
    command = [*RUN, "--kubeconfig", str(tmp_path / "absent"), "--data-dir", str(tmp_path / "data")]
    ours, theirs = pty.openpty()
    subprocess.run(command, stderr=theirs, stdout=subprocess.DEVNULL, timeout=60, check=False)
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert re.match(r"\d\d:\d\d:\d\d\.\d{3} ", text), text
    assert "CRITICAL" in text
    assert "{" not in text
