"""Figures and codes that pages repeat: they are those of the page that measured them, and of the code."""

from __future__ import annotations

import re
from pathlib import Path

from hookline.cli.output import instant
from hookline.cli.rotate import sentences

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def test_the_milliseconds_of_sizing_are_those_that_were_measured() -> None:
    processor = (DOCS / "operate" / "sizing.md").read_text().partition("## Processor")[2].partition("\n## ")[0]
    measured = set(re.findall(r"\d+\.\d+", (DOCS / "performance.md").read_text()))
    named = {figure for line in re.findall(r"(?m)^\|.* ms.*$", processor) for figure in re.findall(r"\d+\.\d+", line)}
    assert len(named) >= 4
    assert named <= measured


def test_every_code_that_the_operators_api_refuses_with_is_on_its_page() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "operator" / "hookline" / "serve").glob("*.py"))
    used = set(re.findall(r"Refused\(\s*(\d{3}),", sources))
    told = (DOCS / "api-access.md").read_text().partition("Refusals are")[2].partition("\n## ")[0]
    assert {"400", "405", "500"} <= used
    assert used <= set(re.findall(r"\b\d{3}\b", told))


def test_the_page_s_rotation_says_what_the_command_says() -> None:
    page = (DOCS / "kubectl.md").read_text()
    [(line, day, clock)] = re.findall(r"(?m)^(The old ones sign beside them until (\S+) (\S+)Z, for \w+\.)$", page)
    [made] = re.findall(r"New keys sign: v1\.(\d{8}T\d{6})Z,", page)
    ends = f"{day}T{clock}Z"
    assert made[9:] == clock.replace(":", "")
    now = (instant(ends) or 0) - 86400 + 0.5  # the command asked a moment before the key was made
    keys = [{"entry": f"v1.{made}Z"}, {"entry": "v1", "signsUntil": ends}]
    rotated = {
        "metadata": {"name": "orders", "namespace": "shop"},
        "status": {"signing": {"secretName": "s", "keys": keys}},
    }
    assert line in sentences(rotated, now)
