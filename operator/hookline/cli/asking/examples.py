"""Filters to start from, by kind, and the messages of chats. Every text is compiled by a test.

In: a kind, or a chat. Out: CEL source.
"""

from __future__ import annotations

from collections.abc import Mapping

CHATS = ("Slack", "Teams", "Telegram")

_ANY = (
    "object.metadata.?labels['team'].orValue('') == 'shop'",
    "object.metadata.name.startsWith('orders-')",
)
_BY_KIND: Mapping[str, tuple[str, ...]] = {
    "Deployment": (
        "object.status.?availableReplicas.orValue(0) < object.spec.replicas",
        "object.spec.template.spec.containers[0].image != oldObject.spec.template.spec.containers[0].image",
    ),
    "Job": ("object.status.?conditions.orValue([]).exists(c, c.type == 'Failed' && c.status == 'True')",),
    "Pod": (
        "object.status.phase == 'Failed'",
        "object.status.?containerStatuses.orValue([]).exists(c, c.restartCount > 5)",
    ),
    "Node": ("object.status.conditions.exists(c, c.type == 'Ready' && c.status != 'True')",),
    "Event": ("object.type == 'Warning'",),
    "ConfigMap": ("object.?data['enabled'].orValue('') == 'true'",),
}
CHANGED: Mapping[str, str] = {
    "Deployment": "status.availableReplicas",
    "Job": "status.conditions",
    "Pod": "status.phase",
    "Node": "status.conditions",
    "ConfigMap": "data",
}
"""A field worth watching, by kind."""


def filters(kind: str) -> tuple[str, ...]:
    """Expressions that make sense for a kind."""
    return (*_BY_KIND.get(kind, ()), *_ANY)


def message(chat: str, *, namespaced: bool, chat_id: str = "") -> str:
    """The transform that makes a chat's message of a change: what happened to which object. ``chat`` is of CHATS."""
    where = " + ' in ' + object.metadata.namespace" if namespaced else ""
    name = "source.kind + ' ' + object.metadata.name"
    what = f"{where} + ' was ' + operation.lowerAscii()"
    match chat:
        case "Slack":
            return f"{{\n  'text': '*' + {name} + '*'{what}\n}}"
        case "Telegram":
            return f"{{\n  'chat_id': '{chat_id}',\n  'text': {name}{what}\n}}"
        case _:
            return _CARD.replace("TEXT", f"{name}{what}")


_CARD = """{
  'type': 'message',
  'attachments': [{
    'contentType': 'application/vnd.microsoft.card.adaptive',
    'contentUrl': null,
    'content': {
      '$schema': 'http://adaptivecards.io/schemas/adaptive-card.json',
      'type': 'AdaptiveCard',
      'version': '1.4',
      'body': [{'type': 'TextBlock', 'wrap': true, 'text': TEXT}]
    }
  }]
}"""
