"""``hookline explain``: a dry run that says why an object would match a subscription or not, and what would be sent.

In: an object of the cluster, of a file or pasted, and the subscriptions of a namespace, or one that is not applied yet.
Out: for each of them every test with its result, and the request. Everything is worked out here, as the user of the
kubeconfig, with the operator's own code; nothing is written, the operator is not asked. ``hookline.cli.explaining``
does it.
"""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

from hookline.cli import arguments, cluster
from hookline.cli.arguments import Parser
from hookline.cli.cluster import Cluster
from hookline.cli.output import Output

if TYPE_CHECKING:
    from hookline.cli.explaining.looking import Explainer, Explanation

OPERATIONS = ("Created", "Updated", "Deleted")

_EPILOG = """examples:
  kubectl hookline explain deployment/orders
  kubectl get deployment orders -o yaml > before.yaml   # and after the change:
  kubectl hookline explain deployment/orders --old before.yaml
  kubectl hookline explain -f object.yaml --operation Deleted --subscription-file subscription.yaml
"""


def configure(parser: Parser) -> None:
    """The object, what happens to it, and the subscriptions to ask."""
    from argparse import RawDescriptionHelpFormatter

    parser.description = (
        "Say for each subscription why an object would match or not, and show what would be sent. Nothing is changed."
    )
    parser.epilog, parser.formatter_class = _EPILOG, RawDescriptionHelpFormatter
    parser.add_argument(
        "object", nargs="*", metavar="TYPE/NAME", help="an object of the cluster, such as deployment/orders"
    )
    parser.add_argument("-f", "--filename", default="", metavar="FILE", help="the object in YAML or JSON; - is stdin")
    where = parser.add_argument(
        "--object-namespace",
        type=arguments.namespace_name,
        default="",
        metavar="NAME",
        help="the object's namespace (default: as -n)",
    )
    parser.add_argument("--old", default="", metavar="FILE", help="its state before an update; - is stdin")
    parser.add_argument(
        "--operation",
        choices=OPERATIONS,
        default="",
        metavar="WHAT",
        help="default: Updated with --old, else the first that a source listens to",
    )
    which = parser.add_mutually_exclusive_group()
    one = which.add_argument(
        "--subscription",
        type=arguments.subscription_name,
        default=None,
        metavar="NAME",
        help="ask this one (default: all)",
    )
    which.add_argument("--subscription-file", default="", metavar="FILE", help="ask those in a file, not applied yet")
    parser.add_argument(
        "--cluster-name",
        default="",
        metavar="NAME",
        help="the operator's --cluster-name, which events name in their source",
    )
    parser.completes(one, arguments.SUBSCRIPTIONS)
    parser.completes(where, arguments.NAMESPACES)
    arguments.add_cluster(parser, everywhere=True)
    arguments.add_output(parser, ("table", "json", "yaml"))
    parser.set_defaults(run=explain)


def explain(options: Namespace) -> int:
    """Returns 0, whatever the verdicts. Raises SettingsError and CommandError."""
    return cluster.run(options, _explain)


async def _explain(cluster: Cluster, options: Namespace, out: Output) -> int:
    import time

    from hookline.cli.explaining.looking import Explainer
    from hookline.cli.explaining.report import plain, show
    from hookline.cli.explaining.subject import subject_of
    from hookline.watch.discovery import Discovery

    discovery = Discovery(cluster.kube, clock=time.monotonic)
    subject = await subject_of(options, cluster, discovery)
    explainer = Explainer(cluster, discovery, subject, options.cluster_name)
    try:
        explanations = await _explanations(explainer, cluster, options, out)
    finally:
        await explainer.close()
    if not explanations:
        out.note(f"there is no subscription {cluster.place.words}; -A asks all, --subscription-file one of a file")
    if subject.lacks:
        out.note(f"the object has no {' and no '.join(subject.lacks)}: placeholders stand for what the API server sets")
    if out.human:
        show(out, subject, explanations)
    else:
        out.value(plain(subject, explanations))
    return 0


async def _explanations(explainer: Explainer, cluster: Cluster, options: Namespace, out: Output) -> list[Explanation]:
    if not options.subscription_file:
        name, scope = options.subscription, cluster.place.scope
        listed = [await cluster.get(name)] if name else await cluster.every(namespace=scope)
        return [await explainer.look(obj, applied=True) for obj in listed]
    from hookline.cli.explaining.subject import read_objects
    from hookline.cli.explaining.unapplied import dry_run, subscriptions_of

    source = f"--subscription-file {options.subscription_file}"
    found: list[Any] = []
    for written in subscriptions_of(read_objects(options.subscription_file, "--subscription-file"), source):
        unapplied = await dry_run(cluster, written)
        if unapplied.unknown:
            out.note(unapplied.unknown)
        explanation = await explainer.look(unapplied.object, applied=False)
        found.append(explanation.refused(unapplied.refusal) if unapplied.refusal else explanation)
    return found
