"""The dashboard of Grafana as JSON; ``hack/chart.py`` writes it to the chart.

In: the panels of ``dashboardpanels`` and ``dashboardsubscription``. Out: ``render()``, the text of
``charts/hookline/files/dashboards/overview.json``. It follows the rules of https://github.com/grafana/dashboard-linter;
``tests/monitoring`` runs every query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from dashboardpanels import ROWS, Panel
from dashboardsubscription import SUBSCRIPTION

UID = "hookline-overview"
"""Links and bookmarks hold it: it never changes."""

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CHOSEN = 'job=~"$job", instance=~"$instance"'
_ONE = f'{_CHOSEN}, subscription_namespace="$namespace", subscription="$subscription"'
_EACH = "hookline_subscription_messages"
_HEIGHT = {"stat": 4}
_WIDE = 24


def render() -> str:
    """The dashboard's JSON."""
    return json.dumps(dashboard(), indent=2) + "\n"


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana's schema 39 has it."""
    return {
        "uid": UID,
        "title": "Hookline / Overview",
        "description": "From the change of an object to the delivery of its webhook, in this order.",
        "tags": ["hookline"],
        "editable": False,
        "graphTooltip": 1,
        "schemaVersion": 39,
        "timezone": "",
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "links": [],
        "annotations": {"list": []},
        "templating": {"list": _variables()},
        "panels": _panels(),
    }


def _variables() -> list[dict[str, Any]]:
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    instances = 'label_values(hookline_build_info{job=~"$job"}, instance)'
    return [
        {**source, "hide": 0, "multi": False, "includeAll": False, "options": [], "regex": ""},
        _choice("job", "Job", "label_values(hookline_build_info, job)"),
        _choice("instance", "Instance", instances),
        # One namespace at a time, so that a row is one subscription.
        _choice("namespace", "Namespace", f"label_values({_EACH}{{{_CHOSEN}}}, subscription_namespace)", several=False),
        _choice(
            "subscription",
            "Subscription",
            f'label_values({_EACH}{{{_CHOSEN}, subscription_namespace="$namespace"}}, subscription)',
        ),
    ]


def _choice(name: str, label: str, query: str, *, several: bool = True) -> dict[str, Any]:
    chosen = {"allValue": ".+", "current": {"selected": True, "text": ["All"], "value": ["$__all"]}} if several else {}
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": f"{name}-values"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "hide": 0,
        "multi": several,
        "includeAll": several,
        "options": [],
        "regex": "",
        **chosen,
    }


def _panels() -> list[dict[str, Any]]:
    """All rows with their panels: the last one, which is closed, holds its own and comes once for each subscription."""
    placed: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS.items():
        placed.append(_row(title, top))
        below, top = _placed(panels, top + 1, _CHOSEN)
        placed += below
    below, _ = _placed(SUBSCRIPTION, top + 1, _ONE)
    each = {**_row("Subscription $namespace / $subscription", top), "repeat": "subscription", "collapsed": True}
    numbers = count(1)
    placed = [{"id": next(numbers), **panel} for panel in placed]
    return [*placed, {"id": next(numbers), **each, "panels": [{"id": next(numbers), **panel} for panel in below]}]


def _row(title: str, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _WIDE, "h": 1}
    return {"type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []}


def _placed(panels: Sequence[Panel], top: int, chosen: str) -> tuple[list[dict[str, Any]], int]:
    """A row's panels with their places, 24 units wide, filled from the left; and where the next row begins."""
    placed, left, height = [], 0, 0
    for panel in panels:
        if left + panel.width > _WIDE:
            left, top = 0, top + height
        height = _HEIGHT.get(panel.kind, 8)
        placed.append({**_panel(panel, chosen), "gridPos": {"x": left, "y": top, "w": panel.width, "h": height}})
        left += panel.width
    return placed, top + height


def _panel(panel: Panel, chosen: str) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [_target(panel, chosen, *item) for item in enumerate(panel.queries.items())],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind] | ({"yAxis": {"unit": panel.unit}} if panel.kind == "heatmap" else {}),
    }


def _target(panel: Panel, chosen: str, number: int, query: tuple[str, str]) -> dict[str, Any]:
    legend, expression = query
    return {
        "refId": chr(ord("A") + number),
        "datasource": _SOURCE,
        "expr": expression.replace("@", chosen),
        "legendFormat": legend,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
        "instant": panel.instant,
        "range": not panel.instant,
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    colours = zip(("yellow", "red") if len(panel.limits) > 1 else ("red",), panel.limits, strict=False)
    steps = [{"color": "green", "value": None}, *({"color": colour, "value": value} for colour, value in colours)]
    # A ratio has a top; the clock's skew alone may be negative.
    bounds = {} if panel.title == "Clock skew" else {"min": 0} | ({"max": 1} if panel.unit == "percentunit" else {})
    defaults = {"unit": panel.unit, **bounds, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {"fillOpacity": 30 if panel.stacked else 10, "showPoints": "never", "stacking": stacking}
    return defaults


_REDUCED = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
_OPTIONS: Mapping[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {**_REDUCED, "colorMode": "value", "graphMode": "area", "textMode": "value"},
    "bargauge": {**_REDUCED, "displayMode": "basic", "orientation": "horizontal"},
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
        "legend": {"show": True},
        "rowsFrame": {"layout": "le"},
        "tooltip": {"mode": "single", "yHistogram": False},
    },
}
