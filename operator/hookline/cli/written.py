"""Values as the YAML that people and kubectl read: keys in their order, longer texts as blocks.

In: what JSON can hold, text also as enumerations. Every command writes its YAML here. Out: text that
means the same to readers of YAML 1.1 and 1.2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

# What the YAML of Go, which kubectl reads with, may take for a truth value or a number, though Python's does not.
_ODD = re.compile(r"[-+.0-9]|[yYnN]$")


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 (the name is the base class's)
        """Write a thing twice rather than refer to it."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if _ODD.match(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style=style)


_Dumper.add_multi_representer(str, _text)
_Dumper.add_representer(str, _text)


def dump(documents: Sequence[Any], *, escaped: bool = False) -> str:
    """Documents, separated by ``---``; ``escaped``: every character that is not ASCII as an escape."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=not escaped, width=120)
