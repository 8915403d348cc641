"""The dashboard's rows as PNGs: the panels in their places, each with what Prometheus answered to its queries.

In: the dashboard, ``Asked``, a note for the foot. Out: the paths of the files. Colours and layout are Grafana's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from pictures import kinds
from pictures.asked import Answers, Asked, Board

WIDTH = 1440
UNIT = WIDTH / 24
HEIGHT = 31.0
GAP, HEAD, FOOT = 5.0, 34.0, 24.0
DPI = 100
SHOWN = ("bills", "chat")
"""The subscriptions whose row is drawn."""

_PAGE, _PANEL, _LINE, _TEXT = "#f1f2f5", "#ffffff", "#d9dce3", "#24292e"


def draw(board: Board, asked: Asked, note: str, target: Path) -> list[Path]:
    """Draw each row of the whole, and that of each subscription."""
    target.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context({"font.family": "DejaVu Sans", "font.size": 8, "text.color": _TEXT}):
        for title, panels in _rows(board):
            path = target / f"{_file_name(title)}.png"
            _row(title, panels, asked.whole, asked, note, path)
            written.append(path)
        for name, answers in asked.subscriptions.items():
            if name.rpartition("/")[2] not in SHOWN:
                continue
            path = target / f"subscription-{_file_name(name.rpartition('/')[2])}.png"
            title = f"Subscription {name.replace('/', ' / ')}"
            _row(title, board["panels"][-1]["panels"], answers, asked, note, path)
            written.append(path)
    return written


def _rows(board: Board) -> Iterator[tuple[str, list[Board]]]:
    """The open rows with their panels."""
    title, panels = "", []
    for panel in board["panels"]:
        if panel["type"] != "row":
            panels.append(panel)
            continue
        if panels:
            yield title, panels
        title, panels = panel["title"], []


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _row(title: str, panels: Sequence[Board], answers: Answers, asked: Asked, note: str, path: Path) -> None:
    top = min(panel["gridPos"]["y"] for panel in panels)
    units = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) - top
    height = HEAD + units * HEIGHT + FOOT
    figure = plt.figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor=_PAGE)
    try:
        page = _Page(figure, height)
        page.text(10, HEAD / 2, title, size=11.5, weight="bold")
        for panel in panels:
            place = panel["gridPos"]
            left, upper = place["x"] * UNIT + GAP, HEAD + (place["y"] - top) * HEIGHT + GAP
            box = (left, upper, place["w"] * UNIT - 2 * GAP, place["h"] * HEIGHT - 2 * GAP)
            _panel(page, panel, answers[panel["title"]], asked, box)
        page.text(WIDTH - 10, height - FOOT / 2, note, size=7.5, ha="right", color="#6b7280")
        figure.savefig(path, dpi=DPI, facecolor=_PAGE, pil_kwargs={"optimize": True}, metadata={"Software": None})
    finally:
        plt.close(figure)


class _Page:
    """A figure with pixels from the upper left corner."""

    def __init__(self, figure: Figure, height: float) -> None:
        self.figure = figure
        self.height = height

    def text(self, x: float, y: float, text: str, **options: Any) -> None:
        self.figure.text(x / WIDTH, 1 - y / self.height, text, va="center", **options)

    def box(self, x: float, y: float, width: float, height: float) -> None:
        place = (x / WIDTH, 1 - (y + height) / self.height)
        self.figure.patches.append(
            FancyBboxPatch(
                place,
                width / WIDTH,
                height / self.height,
                boxstyle="square,pad=0",
                transform=self.figure.transFigure,
                facecolor=_PANEL,
                edgecolor=_LINE,
                linewidth=0.8,
                zorder=-1,  # below the axes
            )
        )

    def axes(self, x: float, y: float, width: float, height: float) -> Axes:
        place = (x / WIDTH, 1 - (y + height) / self.height, width / WIDTH, height / self.height)
        return self.figure.add_axes(place, facecolor="none")


def _panel(page: _Page, panel: Board, answers: list[Any], asked: Asked, box: tuple[float, float, float, float]) -> None:
    left, upper, width, height = box
    page.box(*box)
    page.text(left + 9, upper + 13, panel["title"], size=8.6, weight="bold")
    legends = [target["legendFormat"] for target in panel["targets"]]
    lines = [
        kinds.Line(_named(legend, labels), labels, [(when - asked.start, value) for when, value in points])
        for legend, series in zip(legends, answers, strict=True)
        for labels, points in series
    ]
    margins = kinds.MARGINS[panel["type"]]
    inner = (
        left + margins.left,
        upper + margins.top,
        width - margins.left - margins.right,
        height - margins.top - margins.bottom,
    )
    kinds.DRAWN[panel["type"]](page.axes(*inner), panel, lines, asked.end - asked.start)


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
