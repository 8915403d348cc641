"""What each condition, reason and annotation means, for ``docs/reference/api.md``.

In: ``words.yaml`` beside this file. Out: ``page``, sections of Markdown. ``tests/docs`` compares its words with those
of ``hookline.reasons`` and of the rooms.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from docs.schema import table

WORDS: Mapping[str, Any] = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text(encoding="utf-8"))
KINDS = ("WebhookSubscription", "WebhookReplay")


def page() -> str:
    """The sections on conditions, failures, drops and annotations."""
    parts = []
    for kind in KINDS:
        parts.append(f"## Conditions of a {kind}")
        for name, condition in WORDS[kind].items():
            parts += [f"### {name}", condition["meaning"], _reasons(f"{kind}-{name}", condition.get("reasons", {}))]
    parts += ["## Reasons of a failed attempt", "In `status.lastFailure.reason`.", _list("failure", WORDS["failures"])]
    parts += ["## Reasons of a drop", "In `status.lastDrop.reason`. What is dropped is not delivered later."]
    parts += [_list("drop", WORDS["drops"]), "## Annotations"]
    rows = [(note["on"], f"`{note['name']}`", note["meaning"]) for note in WORDS["annotations"]]
    parts.append(table(("on", "annotation", "what"), rows))
    return "\n\n".join(part for part in parts if part)


def _reasons(where: str, reasons: Mapping[str, Mapping[str, str]]) -> str:
    rows = [
        (_word(where, word), said["status"], said["meaning"], said.get("heals", "")) for word, said in reasons.items()
    ]
    return table(("reason", "status", "meaning", "what heals it"), rows) if rows else ""


def _list(where: str, words: Mapping[str, str]) -> str:
    return table(("reason", "what"), [(_word(where, word), text) for word, text in words.items()])


def _word(where: str, word: str) -> str:
    """A reason with its anchor, such as ``webhooksubscription-ready-overflow``."""
    return f'<a id="{where.lower()}-{word.lower()}"></a>`{word}`'
