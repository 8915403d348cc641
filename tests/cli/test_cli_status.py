"""``hookline status`` against a real API server, with statuses as an operator writes them. The texts: ``golden/``.

Times lie in the year 2099, so that each is ``0s`` ago whenever the test runs.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.terminal import Done

GOLDEN = Path(__file__).parent / "golden"
LATER = "2099-01-01T00:00:00Z"
CAN_UPDATE = os.environ.get("HOOKLINE_GOLDEN") == "write"


def condition(kind: str, status: str, reason: str, message: str) -> dict[str, Any]:
    head = {"type": kind, "status": status, "reason": reason, "message": message}
    return head | {"observedGeneration": 1, "lastTransitionTime": LATER}


READY = condition("Ready", "True", "Watching", "watching configmaps")
DELIVERED = condition("Delivering", "True", "Delivered", "the last attempt succeeded")
FAILING = condition("Delivering", "False", "DeliveryFailing", "the last attempt failed: HTTP503")
ENDPOINT = {"observedGeneration": 1, "endpoint": "https://hooks.example.com"}
WATCHING = [{"resource": "configmaps", "namespaces": ["*"], "since": LATER}]
SIGNING = {
    "secretName": "orders-signing",
    "keys": [{"entry": "v1.20260131T120000Z"}, {"entry": "v1", "signsUntil": LATER}],
}
STATUSES: dict[str, dict[str, Any]] = {
    "fine": ENDPOINT
    | {
        "conditions": [READY, DELIVERED],
        "pending": 0,
        "deadLettered": 0,
        "watching": WATCHING,
        "lastDelivery": {"id": "msg_a", "time": LATER, "statusCode": 204},
    },
    "orders": ENDPOINT
    | {
        "conditions": [READY, FAILING],
        "pending": 3,
        "deadLettered": 2,
        "dropped": 1,
        "watching": WATCHING,
        "failingSince": LATER,
        "lastDelivery": {"id": "msg_a", "time": LATER, "statusCode": 200},
        "lastFailure": {"id": "msg_b", "time": LATER, "reason": "HTTP503", "statusCode": 503},
        "lastDrop": {"reason": "TooLarge", "time": LATER, "message": "the body has 3 MiB"},
        "signing": SIGNING,
    },
    "refused": ENDPOINT
    | {
        "conditions": [
            condition("Ready", "False", "AccessDenied", "ServiceAccount 'watcher' may not list secrets"),
            condition("Reconciling", "True", "AccessDenied", "ServiceAccount 'watcher' may not list secrets"),
        ],
        "pending": 0,
        "deadLettered": 0,
    },
    "resting": ENDPOINT
    | {"conditions": [condition("Ready", "True", "Suspended", "spec.suspend is true")], "pending": 7},
    "young": {},
}


@pytest.fixture
def statuses(kubectl, namespace, crds) -> Callable[..., None]:
    """Makes subscriptions with these statuses, as an operator would."""

    def make(**wanted: dict[str, Any]) -> None:
        for name, status in wanted.items():
            spec = {
                "serviceAccountName": "watcher",
                "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
                "destination": {"url": "https://hooks.example.com/a"},
            }
            head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription", "metadata": {"name": name}}
            kubectl.apply(head | {"spec": spec}, namespace=namespace)
            if status:
                patch = json.dumps({"status": status})
                where = ("whsub", name, "-n", namespace, "--subresource=status", "--type=merge")
                kubectl("patch", *where, "-p", patch)

    return make


def same_as_golden(done: Done, name: str, namespace: str) -> None:
    """Compare; what changes from run to run, the namespace and the age of the objects, is replaced."""
    assert done.code == 0
    text = done.out.replace(namespace, "NAMESPACE")
    text = re.sub(r"\b\d\d?s\b", lambda age: "0s".ljust(len(age[0])), text)
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    path = GOLDEN / f"{name}.txt"
    if CAN_UPDATE:
        path.write_text(text)
    assert text == path.read_text()


def test_all_subscriptions_in_one_table_with_what_to_do(hookline, statuses, namespace):
    statuses(**STATUSES)
    same_as_golden(hookline("status"), "status-table", namespace)
    same_as_golden(hookline("status", "-o", "wide"), "status-wide", namespace)


def test_one_subscription_on_a_page(hookline, statuses, namespace):
    statuses(orders=STATUSES["orders"], young={})
    same_as_golden(hookline("status", "orders"), "status-page", namespace)
    same_as_golden(hookline("status", "young"), "status-page-young", namespace)


def test_all_namespaces_name_themselves(hookline, statuses, namespace):
    statuses(orders=STATUSES["orders"])
    lines = hookline("status", "-A").out.splitlines()
    assert lines[0].split()[:2] == ["NAMESPACE", "NAME"]
    assert [line for line in lines if line.startswith(f"{namespace} ") and " orders " in line]
    assert [line for line in lines if line.startswith(f"  {namespace}/orders: ")]


def test_objects_are_given_as_they_are(hookline, statuses, kubectl, namespace):
    statuses(orders=STATUSES["orders"], young={})
    real = kubectl.json("get", "whsub", "-n", namespace)
    assert json.loads(hookline("status", "-o", "json").out) == real
    assert json.loads(hookline("status", "young", "-o", "json").out) == real["items"][1]
    import yaml

    assert yaml.safe_load(hookline("status", "-o", "yaml").out) == real
    names = kubectl("get", "whsub", "-n", namespace, "-o", "name")
    assert hookline("status", "-o", "name").out == names


def test_no_escape_of_a_tenant_reaches_the_terminal_of_an_administrator(
    terminal, hookline, statuses, kubectl, namespace
):
    attack = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    broken = condition("Ready", "False", "WatchFailing", f"it fails{attack}")
    statuses(orders=ENDPOINT | {"conditions": [broken], "endpoint": f"https://{attack}"})
    real = kubectl.json("get", "whsub", "orders", "-n", namespace)
    assert real["status"]["conditions"][0]["message"] == f"it fails{attack}", "the control: the API server keeps it"
    for arguments in (["status", "-o", "wide"], ["status", "orders"]):
        code, screen = terminal(*arguments).end()
        assert code == 0
        assert "\\x1b]0;owned\\x07" in screen, "it is seen, and does nothing"
        assert not {"\x07", "\x9b", "\u202e"} & set(screen)
        assert set(re.findall(r"\x1b[^m]*m", screen)) <= {"\x1b[31m", "\x1b[1m", "\x1b[0m", "\x1b[33m", "\x1b[32m"}
    for form in ("json", "yaml"):
        code, screen = terminal("status", "orders", "-o", form).end()
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(screen)
    exact = json.loads(hookline("status", "orders", "-o", "json").out)
    assert exact == real


def test_colours_are_for_terminals_that_want_them(terminal, hookline, statuses):
    statuses(orders=STATUSES["orders"])
    assert "\x1b[31mfailing\x1b[0m" in terminal("status").end()[1]
    assert "\x1b" not in terminal("status", env={"NO_COLOR": "1"}).end()[1]
    assert "\x1b" not in terminal("status", env={"TERM": "dumb"}).end()[1]
    assert "\x1b" not in hookline("status").out


def test_a_name_that_is_not_there_comes_with_those_that_are(hookline, statuses, namespace):
    statuses(orders={}, young={})
    done = hookline("status", "ordesr")
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f'hookline status: there is no webhooksubscription "ordesr" in namespace "{namespace}"; there is "orders"\n'
    )
    assert hookline("status", "nothing").err.endswith("; there are: orders, young\n")


def test_a_list_of_several_pages_is_read_to_its_end(hookline, statuses, control_plane, namespace, monkeypatch):
    spec = {
        "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "destination": {"url": "https://hooks.example.com/a"},
    }
    path = f"/apis/hookline.dev/v1alpha1/namespaces/{namespace}/webhooksubscriptions"
    head = {"apiVersion": "hookline.dev/v1alpha1", "kind": "WebhookSubscription", "spec": spec}
    for number in range(501):
        control_plane.request("POST", path, head | {"metadata": {"name": f"n{number:03}"}})
    assert len(hookline("status", "-o", "name").out.splitlines()) == 501


def test_an_interrupt_ends_with_130_and_without_a_word(terminal, statuses):
    statuses(young={})
    waiting = terminal("ping", "young", "--timeout", "0")
    waiting.read("waiting for the operator")
    code, screen = waiting.end(signal.SIGINT)
    assert code == 130
    assert "Traceback" not in screen
    waiting = terminal("ping", "young", "--timeout", "0")
    waiting.read("waiting for the operator")
    assert waiting.end(signal.SIGTERM)[0] == 143
