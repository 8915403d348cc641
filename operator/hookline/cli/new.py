"""``hookline new``: asks what is wanted, checks each answer at once, and writes the YAML of a subscription.

In: answers on a terminal, or the same as flags. Out: YAML or JSON on stdout or in a file: the subscription, and before
it the ServiceAccount, Role and RoleBinding that it needs, where they are not there yet. The API server has accepted the
subscription in a dry run before anything is written. ``hookline.cli.asking`` does it.
"""

from __future__ import annotations

import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hookline.cli import arguments, cluster
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster, CommandError
from hookline.cli.output import Output, as_list, to_json
from hookline.errors import SettingsError

if TYPE_CHECKING:
    from hookline.cli.asking.manifest import Answers, Object

RIGHTS = ("needed", "always", "never")

_EPILOG = """examples:
  kubectl hookline new
  kubectl hookline new orders --watch deployments --changed status.availableReplicas \\
    --format Slack --url-secret slack/url --non-interactive > orders.yaml
"""


def configure(parser: Parser) -> None:
    """Every answer as an option, and what to do with what is made of them."""
    from argparse import RawDescriptionHelpFormatter

    parser.description = "Ask what is wanted, check it, and write the YAML of a subscription with the rights it needs."
    parser.epilog, parser.formatter_class = _EPILOG, RawDescriptionHelpFormatter
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="name of the new subscription")
    answers = parser.add_argument_group("answers")
    for flag, metavar, text in (
        ("--watch", "RESOURCE", "what to watch, such as deployments, pods or widgets.example.com"),
        ("--watch-namespaces", "WHICH", "same, all, names with commas, or labels such as team=a (default: same)"),
        ("--operations", "LIST", "of Created,Updated,Deleted (default: all)"),
        ("--labels", "SELECTOR", "labels of the objects, such as app=orders"),
        ("--field-selector", "SELECTOR", "fields that the API server can select by, such as status.phase=Failed"),
        ("--expression", "CEL", "a filter, such as object.spec.replicas > 3"),
        (
            "--format",
            "FORMAT",
            "CloudEvents (default), CloudEventsBinary, StandardWebhooks, Raw, Slack, Teams, Telegram",
        ),
        ("--content", "WHAT", "Full (default), Metadata or Changes"),
        ("--telegram-chat", "ID", "the chat, for the format Telegram"),
        ("--url", "URL", "where to send"),
        ("--url-secret", "NAME/KEY", "the Secret and its key that hold the URL"),
        ("--service-account", "NAME", "whose rights bound what is watched (default: default)"),
    ):
        answers.add_argument(flag, default=None, metavar=metavar, help=text)
    answers.add_argument(
        "--changed", action="append", default=None, metavar="PATH", help="a field that must differ; may be repeated"
    )
    answers.add_argument(
        "--destination-allowed",
        action="store_true",
        help="the administrator allows this destination, though by default it would be refused",
    )
    parser.add_argument("--non-interactive", action="store_true", help="ask nothing; the default without a terminal")
    arguments.add_output(parser, ("yaml", "json"))
    parser.add_argument("--output-file", default="", metavar="FILE", help="write it there (default: stdout)")
    parser.add_argument("--force", action="store_true", help="overwrite FILE")
    parser.add_argument("--replace", action="store_true", help="allow the name of a subscription that exists")
    parser.add_argument(
        "--rights",
        choices=RIGHTS,
        default="needed",
        help="write the roles too: where they are missing (needed), always, never",
    )
    parser.add_argument("--apply", action="store_true", help="apply it at once, too")
    arguments.add_cluster(parser)
    parser.set_defaults(run=new)


def new(options: Namespace) -> int:
    """Returns 0. Raises SettingsError for answers that are missing or wrong, CommandError for what else fails."""
    if options.url and options.url_secret:
        raise SettingsError("--url and --url-secret exclude each other")
    if options.output_file and not options.force and Path(options.output_file).exists():
        raise CommandError(f"{options.output_file} exists already: choose another file, or add --force to overwrite it")
    return cluster.run(options, _new)


async def _new(cluster: Cluster, options: Namespace, out: Output) -> int:
    from hookline.cli.asking.applying import apply
    from hookline.cli.asking.prompt import Prompt
    from hookline.cli.asking.wizard import Wizard
    from hookline.cli.explaining.served import served
    from hookline.expressions.evaluator import Evaluator
    from hookline.settings import Settings

    await cluster.check_served()  # before anything is asked
    limits = Settings()
    interactive = sys.stdin.isatty() and sys.stderr.isatty() and not options.non_interactive
    evaluator = Evaluator(
        limits.expression_limit_milliseconds / 1000,
        limits.expression_memory_bytes,
        limits.max_body_bytes,
        lambda _: None,
    )
    try:
        wizard = Wizard(options, cluster, await served(cluster) if interactive or options.watch else (), evaluator)
        if interactive:
            # The event loop's own handler would let Ctrl-C wait until a line is read.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            wizard.prompt = Prompt()
        elif missing := wizard.missing():
            raise SettingsError(f"what is missing: {', '.join(missing)} (without a terminal nothing is asked)")
        answers = await wizard.answers()
    finally:
        await evaluator.close()
    documents = await _documents(cluster, answers, options.rights, out)
    _write(documents, options, out)
    applying = options.apply or (wizard.prompt is not None and wizard.prompt.confirm("Apply it now?"))
    for document in documents if applying else ():
        out.note(f"{await apply(cluster, document)} applied")
    _hint(answers, options, out, applied=applying)
    return 0


async def _documents(cluster: Cluster, answers: Answers, rights: str, out: Output) -> list[Object]:
    """What is to be written, in the order in which it is applied. Raises CommandError when it would be refused."""
    from hookline.cli.asking import manifest
    from hookline.cli.asking.checks import exists
    from hookline.cli.asking.validation import lacks_rights, validate

    wanted = manifest.subscription(answers)
    stored = await validate(cluster, wanted, out)
    if rights == "never" or (rights == "needed" and not await lacks_rights(cluster, stored, out)):
        return [wanted]
    found = answers.service_account == "default"
    if not found:
        path = f"/api/v1/namespaces/{answers.namespace}/serviceaccounts/{answers.service_account}"
        found = await exists(cluster, path)
    return [*([] if found else [manifest.account(answers)]), *manifest.roles(answers), wanted]


def _write(documents: list[Any], options: Namespace, out: Output) -> None:
    text = _text(documents, out.format)
    if not options.output_file:
        print(text, end="")
        return
    try:
        with Path(options.output_file).open("w" if options.force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise CommandError(f"{options.output_file} exists already: nothing was written") from None
    out.note(f"{options.output_file} written")


def _text(documents: list[Any], format_: str) -> str:
    """Documents of YAML; one JSON object, which is a List where they are several."""
    if format_ == "json":
        return to_json(documents[0] if len(documents) == 1 else as_list(documents)) + "\n"
    from hookline.cli.written import dump

    return dump(documents)


def _hint(answers: Answers, options: Namespace, out: Output, *, applied: bool) -> None:
    from hookline.cli.asking.watched import permission

    if text := permission(answers.watched.resource):
        out.note(text)
    ref = answers.destination.get("urlFrom", {}).get("secretKeyRef")
    if ref is not None:
        command = f"kubectl create secret generic {ref['name']} -n {answers.namespace} --from-literal={ref['key']}=https://..."
        out.note(f"The URL is read from a Secret. If it is not there yet: {command}")
    if not applied:
        out.note(f"To apply it: kubectl apply -f {options.output_file or '-, with this as its input'}")
    out.note(f"Then: kubectl wait --for=condition=Ready -n {answers.namespace} whsub/{answers.name}")
