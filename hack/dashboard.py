"""The dashboard of Grafana as JSON; ``hack/chart.py`` writes it to the chart.

In: the panels of ``hack/dashboardpanels.py``. Out: ``render()``, the text of
``charts/hookline/files/dashboards/overview.json``. It follows the rules of https://github.com/grafana/dashboard-linter;
``tests/monitoring`` runs every query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from dashboardpanels import ROWS, Panel

UID = "hookline-overview"
"""Links and bookmarks hold it: it never changes."""

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_CHOSEN = 'job=~"$job", instance=~"$instance"'
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
    ]


def _choice(name: str, label: str, query: str) -> dict[str, Any]:
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
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "regex": "",
    }


def _panels() -> list[dict[str, Any]]:
    """All panels with their places: rows of 24 units, filled from the left."""
    placed: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": top, "w": _WIDE, "h": 1}
        placed.append({"type": "row", "title": title, "gridPos": place, "collapsed": False, "panels": []})
        left, top, height = 0, top + 1, 0
        for panel in panels:
            if left + panel.width > _WIDE:
                left, top = 0, top + height
            height = _HEIGHT.get(panel.kind, 8)
            placed.append({**_panel(panel), "gridPos": {"x": left, "y": top, "w": panel.width, "h": height}})
            left += panel.width
        top += height
    return [{"id": number, **panel} for number, panel in enumerate(placed, 1)]


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "targets": [_target(panel, *item) for item in enumerate(panel.queries.items())],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind] | ({"yAxis": {"unit": panel.unit}} if panel.kind == "heatmap" else {}),
    }


def _target(panel: Panel, number: int, query: tuple[str, str]) -> dict[str, Any]:
    legend, expression = query
    return {
        "refId": chr(ord("A") + number),
        "datasource": _SOURCE,
        "expr": expression.replace("@", _CHOSEN),
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
