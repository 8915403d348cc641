"""From answers to the objects that are written. Pure.

In: ``Answers``, each of them checked. Out: a ``WebhookSubscription``, and the objects that give its ServiceAccount what
it needs. Nothing is written that is the default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hookline.cli.asking.examples import CHATS, message
from hookline.cli.explaining.served import Served
from hookline.reasons import GROUP, KIND, VERSION
from hookline.spec import Operation

Object = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"
VERBS = ("get", "list", "watch")


@dataclass(frozen=True, slots=True)
class Answers:
    """All that was asked; empty where it was left out.

    ``listening`` is ``sources[].namespaces``, ``destination`` the url or where it is kept. ``format`` is a format of
    the spec, or a chat.
    """

    name: str
    namespace: str
    watched: Served
    listening: Mapping[str, Any]
    operations: Sequence[str]
    labels: Mapping[str, Any]
    fields: str
    changed: Sequence[str]
    expression: str
    format: str
    content: str
    chat_id: str
    destination: Mapping[str, Any]
    service_account: str


def subscription(answers: Answers) -> Object:
    """The subscription."""
    filters = _present({"changed": list(answers.changed), "expression": answers.expression})
    account = answers.service_account if answers.service_account != "default" else ""
    spec = _present(
        {
            "serviceAccountName": account,
            "sources": [_source(answers)],
            "filter": filters,
            "payload": _payload(answers),
            "destination": dict(answers.destination),
        }
    )
    metadata = {"name": answers.name, "namespace": answers.namespace}
    return {"apiVersion": f"{GROUP}/{VERSION}", "kind": KIND, "metadata": metadata, "spec": spec}


def account(answers: Answers) -> Object:
    """The ServiceAccount."""
    metadata = {"name": answers.service_account, "namespace": answers.namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def roles(answers: Answers) -> list[Object]:
    """What the ServiceAccount needs to listen: a Role and its binding in each namespace, or those of the cluster."""
    chosen = answers.listening.get("from", "Same")
    if answers.watched.resource.namespaced and chosen in ("Same", "Names"):
        places = answers.listening.get("names") or [answers.namespace]
    else:
        places = [""]
    return [one for place in places for one in _role(answers, place)]


def _role(answers: Answers, place: str) -> list[Object]:
    resource, kind = answers.watched.resource, "" if place else "Cluster"
    # Objects of the cluster have no namespace that would keep two of the same name apart.
    name = f"hookline-{answers.name}" if place else f"hookline-{answers.namespace}-{answers.name}"
    metadata = {"name": name} | ({"namespace": place} if place else {})
    rule = {"apiGroups": [resource.group], "resources": [resource.plural], "verbs": list(VERBS)}
    subject = {"kind": "ServiceAccount", "name": answers.service_account, "namespace": answers.namespace}
    return [
        {"apiVersion": f"{_RBAC}/v1", "kind": f"{kind}Role", "metadata": metadata, "rules": [rule]},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": f"{kind}RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": _RBAC, "kind": f"{kind}Role", "name": name},
            "subjects": [subject],
        },
    ]


def _source(answers: Answers) -> Object:
    resource = answers.watched.resource
    every = len(answers.operations) == len(Operation)
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        **_present(
            {
                "namespaces": dict(answers.listening),
                "labelSelector": dict(answers.labels),
                "fieldSelector": answers.fields,
                "operations": [] if every else list(answers.operations),
            }
        ),
    }


def _payload(answers: Answers) -> Object:
    if answers.format in CHATS:
        namespaced = answers.watched.resource.namespaced
        transform = message(answers.format, namespaced=namespaced, chat_id=answers.chat_id)
        return {"format": "Raw", "transform": transform}
    return _present(
        {
            "format": answers.format if answers.format != "CloudEvents" else "",
            "content": answers.content if answers.content != "Full" else "",
        }
    )


def _present(fields: Mapping[str, Any]) -> Object:
    return {name: value for name, value in fields.items() if value}
