"""The pages on what Prometheus sees: ``docs/reference/metrics.md`` and ``docs/reference/alerts.md``.

In: the code's registry, the rules of ``charts/hookline/files/alerts``, and the panels of ``hack/dashboardpanels.py``.
Out: the text of the two pages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.metrics_core import Metric

from dashboardpanels import ROWS
from dashboardsubscription import SUBSCRIPTION
from docs.schema import table
from hookline.observe.metrics import Metrics
from hookline.outbox.health import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "charts" / "hookline" / "files" / "alerts"
_OWN = "hookline_"
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
    "info": ("_info",),
}
_METRICS = """# Metrics

At `/metrics`, port 8080, in Prometheus' text format. Series of fixed labels are there from the start, with 0. What is
named `hookline_subscription_…` is there with the setting `subscription_metrics` alone."""
_ALERTS = """# Alerts

The chart makes them with `monitoring.prometheusRule.enabled`. Each has a [runbook](../runbooks/README.md). The numbers
in the expressions are `monitoring.prometheusRule.thresholds`, here as the chart renders them by default; it adds the
release's labels to every selector."""
_SIZES = {"Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def families() -> Sequence[Metric]:
    """All metrics of an operator with every option, by name; what a process of any kind has comes last."""
    found = Metrics(OPERATIONS, subscriptions=1).registry.collect()
    return sorted(found, key=lambda family: (not family.name.startswith(_OWN), family.name))


def series(family: Metric) -> Sequence[str]:
    """The names under which a metric is scraped."""
    return [family.name + suffix for suffix in _SUFFIXES.get(family.type, ("",))]


def alerts() -> Iterator[Mapping[str, Any]]:
    """The alerts of the chart, for any release, with the thresholds' defaults in their places."""
    thresholds = yaml.safe_load((ALERTS / "thresholds.yaml").read_text(encoding="utf-8"))
    for path in sorted(ALERTS.glob("*.yaml")):
        if path.name == "thresholds.yaml":
            continue
        text = path.read_text(encoding="utf-8")
        for name, value in thresholds.items():
            text = text.replace(f"${{{name}}}", str(_outbox_bytes() if value is None else value))
        text = text.replace(", ${selector}", "").replace("{${selector}}", "")
        for group in yaml.safe_load(text)["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


def _outbox_bytes() -> int:
    """The one threshold that follows from another value: 80 % of the default of ``persistence.size``."""
    values = yaml.safe_load((ALERTS.parents[1] / "values.yaml").read_text(encoding="utf-8"))
    size = values["persistence"]["size"]
    return int(size[:-2]) * _SIZES[size[-2:]] * 4 // 5


def metrics_page() -> str:
    """The text of ``docs/reference/metrics.md``."""
    users, parts = _users(), [_METRICS]
    for family in families():
        if not family.name.startswith(_OWN):
            continue
        names = series(family)
        shown = names[0] if len(names) == 1 else family.name
        told = [f"{family.type}{_labels(family)}"]
        used = {user: None for name in names for user in users.get(name, ())}
        if used:
            told.append(f"Used by {', '.join(used)}.")
        anchors = "".join(f'<a id="{name}"></a>' for name in dict.fromkeys([family.name, *names]))
        parts += [anchors, f"## `{shown}`", family.documentation, "<br>".join(told)]
    foreign = [name for family in families() if not family.name.startswith(_OWN) for name in series(family)]
    others = ", ".join(f"`{name}`" for name in foreign)
    parts += ["## Of every process", f"From the library, of the operator's own process: {others}."]
    return "\n\n".join(parts) + "\n"


def alerts_page() -> str:
    """The text of ``docs/reference/alerts.md``."""
    parts = [_ALERTS]
    for rule in alerts():
        name, notes = rule["alert"], rule["annotations"]
        when = f"after {rule['for']}" if "for" in rule else "at once"
        parts += [
            f"## {name}",
            f"{notes['summary']} Severity {rule['labels']['severity']}, {when}. [Runbook](../runbooks/{name}.md).",
            f"```promql\n{rule['expr'].strip()}\n```",
            re.sub(r"\{\{.*?\}\}", r"`\g<0>`", " ".join(notes["description"].split())),
        ]
    parts += ["## Thresholds", table(("threshold", "default", "what"), list(_thresholds()))]
    return "\n\n".join(parts) + "\n"


def _thresholds() -> Iterator[tuple[str, str, str]]:
    """Name, default, and the comment above it."""
    comment: list[str] = []
    for line in (ALERTS / "thresholds.yaml").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comment.append(line[1:].strip())
            continue
        name, found, value = line.partition(":")
        if found:
            yield f"`{name}`", f"`{value.strip()}`", " ".join(comment)
        comment = []


def _users() -> dict[str, dict[str, None]]:
    """By series: the alerts and panels whose queries name it, in their order."""
    users: dict[str, dict[str, None]] = {}

    def note(text: str, user: str) -> None:
        for name in re.findall(r"\bhookline_\w+", text):
            users.setdefault(name, {})[user] = None

    for rule in alerts():
        note(rule["expr"], f"the alert [{rule['alert']}](alerts.md#{rule['alert'].lower()})")
    for row, panels in {**ROWS, "Subscription": SUBSCRIPTION}.items():
        for panel in panels:
            for query in panel.queries.values():
                note(query, f'the panel "{panel.title}" ({row})')
    return users


def _labels(family: Metric) -> str:
    """What a metric is counted by, such as `` by `outcome` (`dead`, `delivered`, `retry`)``."""
    values: dict[str, set[str]] = {name: set() for name in getattr(family, "_labelnames", ())}
    for sample in family.samples:
        for name, value in sample.labels.items():
            if name not in ("le", "quantile"):
                values.setdefault(name, set()).add(value)
    if not values:
        return ""
    if family.type == "info":
        return f" with {' and '.join(f'`{name}`' for name in sorted(values))}"
    told = []
    for name, known in values.items():
        listed = f" ({', '.join(f'`{value}`' for value in sorted(known))})" if known else ""
        told.append(f"`{name}`{listed}")
    return f" by {' and '.join(told)}"
