"""Reads ``tests/docs/not_run.txt``: what of the pages is not run, and why."""

from __future__ import annotations

from support.snippets.blocks import ROOT

LIST = ROOT / "tests" / "docs" / "not_run.txt"


def lines() -> list[str]:
    """All lines but the heads."""
    return [line for line in LIST.read_text("utf-8").splitlines() if line and not line.startswith("#")]


def commands(page: str) -> list[str]:
    """The commands of a page that are looked at only, with the reasons."""
    return sorted(line.removeprefix(f"{page}: ") for line in lines() if line.startswith(f"{page}: "))
