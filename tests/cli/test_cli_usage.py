"""How the command is called: by kubectl, with options before or after, wrongly, and without a cluster."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from hookline import __version__
from hookline.cli.arguments import subscription_name
from hookline.cli.main import COMMANDS, main, parser_of
from hookline.cli.remote import NAMESPACE
from support.terminal import PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("aiohttp", "kubernetes", "yaml", "orjson", "kopf", "cel_expr_python", "cryptography", "apsw")


def options(name: str) -> set[str]:
    """All options of a command."""
    return {option for action in parser_of(name, "hookline").known for option in action.option_strings}


NAMESPACED = {name for name, command in COMMANDS.items() if command.cluster and "--namespace" in options(name)}


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.cluster])
def test_help_loads_nothing_heavy(name):
    code = (
        "import sys; from hookline.cli.main import kubectl\n"
        "try: kubectl(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, name, "--help"], capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(f"usage: kubectl hookline {name}"), done.stderr
    assert done.stderr == "[]\n"


def test_the_work_itself_loads_them():
    """The control of the test above: such modules are seen when they are loaded."""
    code = f"import sys, hookline.kube; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "aiohttp" in done.stdout


def test_the_operator_is_looked_for_where_the_documents_install_it():
    helm = re.search(r"helm install hookline \S+ --namespace (\S+)", (ROOT / "docs" / "start.md").read_text())
    kustomize = re.search(r"^  name: (\S+)$", (ROOT / "config" / "base" / "namespace.yaml").read_text(), re.MULTILINE)
    assert helm is not None
    assert kustomize is not None
    assert {helm[1], kustomize[1]} == {NAMESPACE}


def test_kubectl_finds_the_plugin(hookline):
    done = hookline.run(["kubectl", "hookline", "version"])
    assert (done.code, done.out) == (0, f"{__version__}\n")
    done = hookline.run(["kubectl", "hookline", "status", "-n", hookline.namespace])
    assert (done.code, done.out) == (0, "")
    assert done.err == (
        f'There is no WebhookSubscription in namespace "{hookline.namespace}"; kubectl hookline new writes one.\n'
    )


def test_the_plugin_offers_what_is_for_a_cluster_and_no_more(hookline):
    plugin, whole = hookline.run(["kubectl", "hookline"]), hookline.run([str(PROGRAMS / "hookline")])
    assert (plugin.code, whole.code) == (2, 2)
    assert "\n  run " in whole.out
    assert "\n  run " not in plugin.out
    assert hookline.run(["kubectl", "hookline", "run"]).code == 2


@pytest.mark.parametrize("help_", ["--help", "-h", "help"])
def test_asking_for_help_is_no_failure(help_, capsys):
    assert main([help_]) == 0
    assert "commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "hookline: there is no command 'nonsense'"),
        (["status", "--nonsense"], "hookline status: unrecognized arguments: --nonsense"),
        (["status", "--outpu", "json"], "hookline status: unrecognized arguments: --outpu"),
        (["status", "-o", "xml"], "hookline status: argument -o/--output: invalid choice: 'xml'"),
        (["status", "UPPER"], "hookline status: argument SUBSCRIPTION: 'UPPER' is no name of a WebhookSubscription"),
        (["status", "a", "-A"], "hookline status: -A: it is for all subscriptions"),
        (["ping"], "hookline ping: the following arguments are required: SUBSCRIPTION"),
        (["ping", "a", "--timeout", "soon"], "hookline ping: argument --timeout: 'soon' is no time; write for example"),
        (["replay", "a", "--since", "1x"], "hookline replay: argument --since: '1x' is no time; write how long ago"),
        (["replay", "a", "--since", "2026-01-31T12:00:00"], "has no time zone; write Z at its end for UTC"),
        (["replay", "a", "--id", "m", "--since", "1h"], "hookline replay: --id: it chooses messages by itself"),
        (["replay", "a", "--since", "1h", "--until", "2h"], "hookline replay: --until: it must be later than --since"),
        (["deliveries", "show"], "hookline deliveries: show: give one webhook-id"),
        (["deliveries", "show", "a", "-f"], "hookline deliveries: show: it is about one delivery"),
        (["deliveries", "a", "b"], "hookline deliveries: give one SUBSCRIPTION or none"),
        (["deliveries", "a", "-A"], "hookline deliveries: -A: it is for all subscriptions"),
        (["deliveries", "UPPER"], "hookline deliveries: SUBSCRIPTION: 'UPPER' is no name of a WebhookSubscription"),
        (["deliveries", "../x"], "hookline deliveries: SUBSCRIPTION: '../x' is no name of a WebhookSubscription"),
        (["status", "whsub/whsub/a"], "'whsub/whsub/a' is no name of a WebhookSubscription"),
        (["status", "pod/a"], "'pod/a' is no name of a WebhookSubscription"),
        (["explain", "pod/a", "--object-namespace", "a/b"], "argument --object-namespace: 'a/b' is no name of a"),
        (["deliveries", "--operator-namespace", "a/b"], "argument --operator-namespace: 'a/b' is no name of a"),
        (["new", "-o", "orders.yaml"], "hookline new: argument -o/--output: invalid choice: 'orders.yaml'"),
        (["completion", "tcsh"], "hookline completion: argument SHELL: invalid choice: 'tcsh'"),
        (["status", "\x1b[2J"], "\\x1b[2J"),
    ],
)
def test_wrong_usage_is_told_in_a_sentence_and_exits_with_2(arguments, sentence, capsys):
    code: object
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = ended.code
    printed = capsys.readouterr()
    assert (code, printed.out) == (2, "")
    assert sentence in printed.err
    assert "Traceback" not in printed.err
    assert "\x1b" not in printed.err


@pytest.mark.parametrize("name", sorted(NAMESPACED))
@pytest.mark.parametrize("namespace", ["b/../d", "..", "Shop", "-", "a" * 64])
def test_what_is_no_namespace_is_refused_before_any_request(name, namespace, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, f"--namespace={namespace}"])
    assert ended.value.code == 2
    assert f"argument -n/--namespace: '{namespace}' is no name of a namespace: it must be" in capsys.readouterr().err


def test_the_commands_that_are_for_a_namespace_are_known():
    """The control of the test above: these are the commands that it is about."""
    assert {"status", "deliveries", "replay", "ping", "rotate-key", "explain", "new"} == NAMESPACED


@pytest.mark.parametrize("text", ["orders", "whsub/orders", "webhooksubscription.hookline.dev/orders", "whsub/a.b"])
def test_a_subscription_is_called_as_kubectl_calls_it(text):
    assert subscription_name(text) == text.rpartition("/")[2]


def test_the_modules_that_docstrings_name_exist():
    named = set()
    for file in (ROOT / "operator" / "hookline" / "cli").rglob("*.py"):
        docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
        named |= set(re.findall(r"``(hookline\.cli(?:\.\w+)+)``", docstring))
    assert "hookline.cli.remote" in named
    for name in named:
        importlib.import_module(name)


def test_shared_options_may_stand_before_the_command(hookline):
    done = hookline.run([str(PROGRAMS / "hookline"), "-n", hookline.namespace, "--context", "hookline", "status"])
    assert (done.code, done.err.count(hookline.namespace)) == (0, 1)


def test_the_namespace_of_the_context_counts(hookline, tmp_path):
    config = json.loads(hookline.kubeconfig.read_text())
    config["contexts"][0]["context"]["namespace"] = "from-the-context"
    config["contexts"].append({"name": "bare", "context": {"cluster": "hookline", "user": "hookline"}})
    (tmp_path / "config").write_text(json.dumps(config))
    program = [str(PROGRAMS / "hookline"), "status", "--kubeconfig", str(tmp_path / "config")]
    assert '"from-the-context"' in hookline.run(program).err
    assert '"default"' in hookline.run([*program, "--context", "bare"]).err
    assert '"chosen"' in hookline.run([*program, "-n", "chosen"]).err
    assert "in any namespace" in hookline.run([*program, "-A"]).err or hookline.run([*program, "-A"]).out
    config["contexts"][0]["context"]["namespace"] = "b/../d"
    (tmp_path / "config").write_text(json.dumps(config))
    no_name = hookline.run(program)
    assert no_name.code == 2
    assert "kubeconfig: the namespace of its context can't be used: 'b/../d' is no name of a namespace" in no_name.err
    wrong = hookline.run([*program, "--context", "nope"])
    assert wrong.code == 2
    assert wrong.err == ('hookline status: --context: the kubeconfig has no context "nope"; it has bare, hookline\n')


def test_without_a_kubeconfig_that_is_said(hookline, tmp_path):
    done = hookline("status", env={"KUBECONFIG": str(tmp_path / "none")})
    assert done.code == 2
    assert done.err.startswith("hookline status: kubeconfig: ")
    assert "Traceback" not in done.err


def test_a_cluster_that_can_not_be_reached_is_told(hookline, tmp_path):
    config = json.loads(hookline.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").write_text(json.dumps(config))
    done = hookline("status", "--kubeconfig", str(tmp_path / "config"))
    assert done.code == 1
    assert done.err == (
        "hookline status: no usable answer from the API server https://127.0.0.1:1 (Connection refused). Does the "
        "cluster of the kubeconfig run, and can you reach it?\n"
    )


@pytest.mark.parametrize(
    "command",
    [
        ("status",),
        ("explain", "cm/a"),
        ("new", "orders", "--watch", "cm", "--url", "https://hooks.example.com/a"),
    ],
    ids=lambda command: command[0],
)
def test_an_api_server_whose_certificate_is_not_trusted_is_said_to_have_it(hookline, tmp_path, command):
    authority = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(authority))
    config = json.loads(hookline.kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    cluster.pop("certificate-authority-data", None)
    cluster["certificate-authority"] = str(authority)
    (tmp_path / "config").write_text(json.dumps(config))
    done = hookline(*command, "--kubeconfig", str(tmp_path / "config"))
    assert done.code == 1
    assert f"the API server {cluster['server']} has a certificate that is not trusted: " in done.err
    assert "certificate-authority-data and tls-server-name of the cluster of the kubeconfig" in done.err
    assert "Does the cluster" not in done.err


def test_a_reader_that_has_seen_enough_is_no_failure(hookline, control_plane):
    command = f"{PROGRAMS}/hookline completion bash | head -1; echo ${{PIPESTATUS[0]}}"
    done = hookline.run(["bash", "-c", command])
    assert done.out.splitlines()[-1] == "0"
    assert done.err == ""
