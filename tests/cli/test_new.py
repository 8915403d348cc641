"""``hookline new`` as a process against a real API server: by flags, and by answers in a terminal."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import rights
from hookline.api.parse import parse
from hookline.cli.asking.selector import label_selector
from hookline.cli.asking.watched import ALLOWED, LABEL
from hookline.errors import SettingsError
from hookline.match.selectors import selects
from support.cluster import Kubectl
from support.terminal import CommandLine, Terminal

URL = ("--url", "https://hooks.example.com/orders")
SECRET = ("--url-secret", "orders-webhook/url")
LABELS = "app=orders,tier!=test,env in (a,b),x,!y"
TWO = "default,kube-system"
CHOICES: dict[str, tuple[str, ...]] = {
    "smallest": ("--watch", "cm", *URL),
    "a cluster-scoped kind": ("--watch", "nodes", "--format", "CloudEventsBinary", *URL),
    "all namespaces": ("--watch", "pods", "--watch-namespaces", "all", "--field-selector", "status.phase=Failed", *URL),
    "named namespaces": (
        "--watch",
        "jobs.batch",
        "--watch-namespaces",
        "default,kube-system",
        "--format",
        "Teams",
        *SECRET,
    ),
    "chosen namespaces": (
        "--watch",
        "deploy",
        "--watch-namespaces",
        "team in (a,b),!old",
        "--format",
        "Slack",
        *SECRET,
    ),
    "a chat": ("--watch", "ev", "--format", "Telegram", "--telegram-chat", "-100123", *SECRET),
    "everything": (
        *(
            "--watch",
            "Deployment",
            "--operations",
            "updated,deleted",
            "--labels",
            LABELS,
        ),
        *("--changed", "status.availableReplicas", "--changed", "metadata.annotations['example.com/owner']"),
        *("--expression", "object.spec.replicas > 3", "--format", "StandardWebhooks", "--content", "Changes"),
        *("--service-account", "watcher", *URL),
    ),
    "an allowed address": ("--watch", "cm", "--url", "https://10.0.0.1/x", "--destination-allowed"),
    "the metadata of Secrets": ("--watch", "secrets", *URL, "--content", "Metadata"),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_what_is_written_is_accepted_by_the_api_server(hookline: CommandLine, kubectl: Kubectl, choice: str) -> None:
    done = hookline("new", "orders", *CHOICES[choice], "--rights", "always", "--service-account", "watcher")
    assert done.code == 0, done.err
    applied = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=done.out)
    assert "webhooksubscription.hookline.dev/orders" in applied
    assert "serviceaccount/watcher" in applied
    assert "rolebinding.rbac.authorization.k8s.io/hookline-" in applied


def test_json_is_one_object_that_the_api_server_accepts(hookline: CommandLine, kubectl: Kubectl) -> None:
    one = hookline("new", "orders", "--watch", "cm", *URL, "--rights", "never", "-o", "json")
    plain = hookline("new", "orders", "--watch", "cm", *URL, "--rights", "never", "-o", "yaml")
    assert [json.loads(one.out)] == written(plain.out)
    several = hookline("new", "orders", "--watch", "cm", *URL, "--rights", "always", "-o", "json").out
    assert [item["kind"] for item in json.loads(several)["items"]] == ["Role", "RoleBinding", "WebhookSubscription"]
    applied = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-", input=several)
    assert "webhooksubscription.hookline.dev/orders" in applied


def test_the_smallest_has_nothing_but_what_must_be_there(hookline: CommandLine) -> None:
    done = hookline("new", "orders", "--watch", "cm", *URL)
    assert written(done.out) == [
        {
            "apiVersion": "hookline.dev/v1alpha1",
            "kind": "WebhookSubscription",
            "metadata": {"name": "orders", "namespace": hookline.namespace},
            "spec": {
                "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
                "destination": {"url": "https://hooks.example.com/orders"},
            },
        }
    ]


def test_everything_that_was_said_is_written(hookline: CommandLine) -> None:
    done = hookline("new", "orders", *CHOICES["everything"], "--rights", "never")
    assert written(done.out)[0]["spec"] == {
        "serviceAccountName": "watcher",
        "sources": [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "labelSelector": {
                    "matchLabels": {"app": "orders"},
                    "matchExpressions": [
                        {"key": "tier", "operator": "NotIn", "values": ["test"]},
                        {"key": "env", "operator": "In", "values": ["a", "b"]},
                        {"key": "x", "operator": "Exists"},
                        {"key": "y", "operator": "DoesNotExist"},
                    ],
                },
                "operations": ["Updated", "Deleted"],
            }
        ],
        "filter": {
            "changed": ["status.availableReplicas", "metadata.annotations['example.com/owner']"],
            "expression": "object.spec.replicas > 3",
        },
        "payload": {"format": "StandardWebhooks", "content": "Changes"},
        "destination": {"url": "https://hooks.example.com/orders"},
    }


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "what is missing: NAME, --watch, --url or --url-secret"),
        (("orders", "--watch", "ev", "--format", "telegram", *SECRET), 2, "what is missing: --telegram-chat"),
        (
            ("orders", "--watch", "cm", "--url", "https://169.254.169.254/x"),
            2,
            "--url: the destination resolves to an address",
        ),
        (
            ("orders", "--watch", "cm", "--url", "http://hooks.example.com"),
            2,
            "--url: the URL must begin with https://",
        ),
        (
            ("orders", "--watch", "cm", *URL, "--expression", "object.x =="),
            2,
            "--expression: line 1, column 12: Syntax error",
        ),
        (("orders", "--watch", "cm", *URL, "--content", "Changes"), 2, "--content: Changes has nothing to report"),
        (
            ("orders", "--watch", "secrets", *URL, "--content", "Full"),
            2,
            "--content: the values of Secrets are never sent",
        ),
        (("orders", "--watch", "whsub", *URL), 2, "--watch: webhooksubscriptions.hookline.dev can't be watched"),
        (("orders", "--watch", "cm", *URL, "--field-selector", "data.key=1"), 2, "the API server can't select by it"),
        (("orders", "--watch", "cm", *URL, "-n", "no-such"), 2, "--namespace: there is no namespace 'no-such'"),
    ],
)
def test_an_answer_that_will_not_do_is_refused_with_its_reason(
    hookline: CommandLine, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = hookline("new", *arguments)
    assert done.code == code
    assert words in done.err
    assert done.out == ""
    assert len(done.err.strip().splitlines()) == 1


def test_what_an_administrator_must_have_allowed_is_said(hookline: CommandLine) -> None:
    def told(resource: str, *more: str) -> str:
        done = hookline("new", "orders", "--watch", resource, *URL, *more, "--rights", "never")
        assert done.code == 0, done.err
        return done.err

    assert "The operator may not watch nodes by default" in told("nodes")
    assert 'the label rbac.hookline.dev/watched: "true"' in told("leases.coordination.k8s.io")
    assert "settings.allowSecretMetadata" in told("secrets", "--content", "Metadata")
    assert "administrator" not in told("deploy")


def test_what_needs_no_word_is_what_the_operator_may_watch_by_default() -> None:
    allowed = {(group, name) for group, names in ALLOWED.items() for name in names}
    own = {
        (right.group, name)
        for right in rights.RIGHTS
        if right.where is rights.Where.CLUSTER and {"list", "watch"} <= set(right.verbs)
        for name in right.resources
    }
    assert allowed == own | {(group, name) for group, names in rights.WATCHED for name in names}
    assert rights.WATCHED_LABEL == LABEL


def test_a_file_is_never_overwritten_unless_forced(hookline: CommandLine, tmp_path: Path) -> None:
    file = tmp_path / "orders.yaml"
    arguments = ("new", "orders", "--watch", "cm", *URL, "--output-file", str(file))
    assert hookline(*arguments).code == 0
    first = file.read_text()
    again = hookline(*arguments, "--labels", "app=orders")
    assert again.code == 1
    assert "exists already" in again.err
    assert file.read_text() == first
    assert hookline(*arguments, "--labels", "app=orders", "--force").code == 0
    assert "matchLabels" in file.read_text()


def test_a_name_that_is_taken_is_refused_unless_it_is_to_be_replaced(hookline: CommandLine) -> None:
    arguments = ("new", "orders", "--watch", "cm", *URL)
    assert hookline(*arguments, "--apply").code == 0
    taken = hookline(*arguments)
    assert taken.code == 2
    assert "NAME: there is a subscription 'orders'" in taken.err
    assert hookline(*arguments, "--replace", "--labels", "app=orders", "--apply").code == 0


DIALOGUE = (
    ("Name of the subscription: ", "Orders", "'Orders' is no name"),
    ("Name of the subscription: ", "", "It can't be left out."),
    ("Name of the subscription: ", "orders", ""),
    ("Resource [", "deploymnts", 'did you mean "deployment"?'),
    ("Resource [", "deployments", ""),
    ("In which namespaces", "Team_A", "'Team_A' is no namespace"),
    ("In which namespaces", "", ""),
    ("Which operations [", "Changed", "'changed' is none of Created, Updated, Deleted"),
    ("Which operations [", "updated", ""),
    ("Only objects with these labels", "app=", ""),
    ("Only when one of these fields differs", "spec..x", "can't be read at character"),
    ("Only when one of these fields differs", "status.availableReplicas", ""),
    ("Filter (empty for none): ", "object.spec.replicas +", "line 1, column 23: Syntax error"),
    ("Filter (empty for none): ", "object.spec.replicas + 1", "must be true or false, but this yields"),
    ("Filter (empty for none): ", "object.spec.replicas > 1", ""),
    ("Format of the messages", "xml", "'xml' is none of Slack, Teams, Telegram"),
    ("Format of the messages", "standardwebhooks", ""),
    ("How much of the object", "metadata", ""),
    ("URL (https://...)", "http://hooks.example.com", "the URL must begin with https://"),
    ("URL (https://...)", "https://hooks.example.com\\x", "must be at most 2048 ASCII characters"),
    ("URL (https://...)", "https://127.0.0.1/x", "an administrator can allow it"),
    ("Has an administrator of Hookline allowed it? [y/N]: ", "n", "then choose another destination"),
    ("URL (https://...)", "https://hooks.example.com/orders", ""),
    ("ServiceAccount whose rights", "", ""),
)


def play(screen: Terminal, *answers: tuple[str, str, str]) -> None:
    for question, answer, reply in answers:
        screen.read(until=question)
        screen.screen = b""
        screen.type(answer + "\n")
        if reply:
            screen.read(until=reply)


def test_a_wrong_answer_is_refused_at_once_and_asked_again(
    terminal: Callable[..., Terminal], kubectl: Kubectl, namespace: str
) -> None:
    screen = terminal("new", "--service-account", "default")
    play(screen, *DIALOGUE[:-1], ("Apply it now? [y/N]: ", "yes", "WebhookSubscription orders applied"))
    code, _ = screen.end()
    assert code == 0
    applied = kubectl.json("get", "whsub", "orders", "-n", namespace)
    wanted = parse(applied)
    assert (wanted.changed, wanted.expression) == (("status.availableReplicas",), "object.spec.replicas > 1")
    assert (str(wanted.payload.format), str(wanted.payload.content)) == ("StandardWebhooks", "Metadata")
    assert [str(operation) for operation in wanted.sources[0].operations] == ["Updated"]


@pytest.mark.parametrize(("ending", "code"), [("\x04", 1), (signal.SIGINT, 130)], ids=["end", "interrupt"])
def test_who_stops_in_the_middle_gets_nothing(
    terminal: Callable[..., Terminal], tmp_path: Path, ending: str | signal.Signals, code: int
) -> None:
    file = tmp_path / "orders.yaml"
    screen = terminal("new", "orders", "--output-file", str(file))
    screen.read(until="Resource [")
    if isinstance(ending, str):
        screen.type(ending)
    ended, text = screen.end(None if isinstance(ending, str) else ending)
    assert ended == code
    assert "Traceback" not in text
    assert not file.exists()


SELECTORS = (
    "app=a",
    "app==a,tier",
    "app!=a",
    "!tier",
    "app in (a,b)",
    "app notin (a, b)",
    "app=a,!tier",
    "tier=,app",
    "x/y=1",
)


def test_selectors_mean_what_they_mean_to_kubectl(kubectl: Kubectl, namespace: str) -> None:
    labels: list[dict[str, str]] = [{}, {"app": "a"}, {"app": "a", "tier": "x"}, {"app": "b", "tier": ""}, {"x/y": "1"}]
    kubectl.apply(
        *(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}", "labels": each}}
            for number, each in enumerate(labels)
        ),
        namespace=namespace,
    )
    for text in SELECTORS:
        listed = kubectl("get", "cm", "-n", namespace, "-l", text, "-o", "name").split()
        found = {name.removeprefix("configmap/") for name in listed} - {"kube-root-ca.crt"}
        source: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "labelSelector": label_selector(text)}
        made = parse(
            {
                "metadata": {"uid": "u", "name": "n", "namespace": "shop"},
                "spec": {"sources": [source], "destination": {"url": "https://hooks.example.com"}},
            }
        )
        ours = {f"c{number}" for number, each in enumerate(labels) if selects(made.sources[0].labels, each)}
        assert ours == found, text


@pytest.mark.parametrize("text", ["=a", "a in b", "a=b c", "a in ()", "a=ü", "a=b,,c", "a in (b", "a~b"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        label_selector(text)


def written(text: str) -> list[Any]:
    return [document for document in yaml.safe_load_all(text) if document]
