"""Completion as a shell does it: in bash itself, and in zsh and fish where they are installed."""

from __future__ import annotations

import os
import shutil

import pytest

from hookline.cli.completion import candidates
from hookline.cli.main import COMMANDS
from support.terminal import PROGRAMS, Terminal

SUBSCRIPTION = {
    "apiVersion": "hookline.dev/v1alpha1",
    "kind": "WebhookSubscription",
    "spec": {
        "sources": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "destination": {"url": "https://hooks.example.com/a"},
    },
}
NAMES = ("orders", "orphans", "payments")


@pytest.fixture
def subscribed(hookline, kubectl, namespace):
    """A namespace with three subscriptions."""
    kubectl.apply(*[SUBSCRIPTION | {"metadata": {"name": name}} for name in NAMES], namespace=namespace)
    return hookline


def in_bash(hookline, line: str) -> list[str]:
    """What bash would offer at the end of the line."""
    script = (
        f"source <({PROGRAMS}/hookline completion bash)\n"
        'read -r -a COMP_WORDS <<< "$1"\n'
        '[[ $1 == *" " ]] && COMP_WORDS+=("")\n'
        "COMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n"
        "_hookline\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = hookline.run(["bash", "-c", script, "bash", line])
    assert done.err == ""
    words: list[str] = done.out.split()
    return words


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hookline st", ["status"]),
        ("kubectl-hookline re", ["replay"]),
        ("hookline status -o ", ["table", "wide", "json", "yaml", "name"]),
        ("hookline status -o js", ["json"]),
        ("hookline -n somewhere st", ["status"]),
        ("hookline outbox ", ["check", "list", "export"]),
        ("hookline completion z", ["zsh"]),
        ("hookline replay --st", ["--state"]),
        ("hookline nonsense ", []),
        ("hookline status --context ", ["hookline"]),
    ],
)
def test_bash_offers_what_can_follow(line, offered, hookline):
    assert in_bash(hookline, line) == offered


def test_bash_offers_every_command(hookline):
    assert in_bash(hookline, "hookline ") == list(COMMANDS)
    assert in_bash(hookline, "kubectl-hookline ") == [name for name, command in COMMANDS.items() if command.cluster]


def test_bash_offers_the_subscriptions_of_the_namespace(subscribed):
    assert in_bash(subscribed, f"hookline ping -n {subscribed.namespace} or") == ["orders", "orphans"]
    assert in_bash(subscribed, f"hookline status -n {subscribed.namespace} ") == list(NAMES)
    assert in_bash(subscribed, "hookline ping -n elsewhere or") == []


def test_bash_offers_namespaces(subscribed):
    assert in_bash(subscribed, f"hookline status -n {subscribed.namespace[:9]}") != []
    assert subscribed.namespace in in_bash(subscribed, "hookline -n test-")


def test_kubectl_itself_completes_the_plugin(subscribed):
    done = subscribed.run(["kubectl", "__complete", "hookline", "ping", "-n", subscribed.namespace, "or"])
    assert done.out == "orders\norphans\n:4\n"


def test_a_tab_on_a_screen_completes_the_word(subscribed):
    environment = subscribed.environment | {"PS1": "ready> ", "INPUTRC": "/dev/null", "HISTFILE": "/dev/null"}
    shell = Terminal(["bash", "--norc", "--noprofile", "-i"], environment)
    try:
        shell.read("ready> ")
        shell.type(f"source <({PROGRAMS}/hookline completion bash); echo lo''aded\n")
        shell.read("loaded")
        shell.type(f"hookline ping -n {subscribed.namespace} pay\t")
        shell.read("payments ")
    finally:
        shell.close()


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed here")
def test_zsh_completes_on_a_screen(subscribed):
    shell = Terminal(["zsh", "-f", "-i"], subscribed.environment | {"ZDOTDIR": str(subscribed.home)})
    try:
        shell.type("autoload -U compinit; compinit -u -D\n")
        shell.type(f"source <({PROGRAMS}/hookline completion zsh); echo lo''aded\n")
        shell.read("loaded")
        shell.type(f"hookline ping -n {subscribed.namespace} pay\t")
        shell.read("payments")
        shell.type("\x15hookline status --output=js\t")
        shell.read("--output=json")
    finally:
        shell.close()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_completes(subscribed):
    def offered(line: str) -> list[str]:
        done = subscribed.run(["fish", "--no-config", "-c", f"hookline completion fish | source; complete -C '{line}'"])
        assert done.err == ""
        return [found.split("\t")[0] for found in done.out.splitlines()]

    assert offered("hookline st") == ["status"]
    assert offered(f"hookline ping -n {subscribed.namespace} or") == ["orders", "orphans"]
    assert offered("hookline status --output=js") == ["--output=json"]


def test_file_names_may_follow_where_a_file_is_meant():
    assert candidates(["receive", "--config"], "") == ([], ":0")
    assert candidates(["outbox", "list", "--limit"], "") == ([], ":4")


def test_options_come_with_what_they_mean():
    found, _ = candidates(["deliveries"], "--fol")
    assert found == [("--follow", "go on with what changes, until Ctrl-C")]


def test_an_unreachable_cluster_offers_nothing_and_says_nothing(hookline):
    done = hookline.run([str(PROGRAMS / "hookline"), "__complete", "ping", "o"], env={"KUBECONFIG": os.devnull})
    assert (done.code, done.out, done.err) == (0, ":4\n", "")
