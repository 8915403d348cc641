"""How each kind of panel is drawn: time series, a number, bars, a heat map.

In: axes, the panel, its lines with seconds since the start. Out: the drawing in the axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MultipleLocator

from pictures.units import step, written

COLOURS = ("#56a64b", "#3274d9", "#e0752d", "#e02f44", "#a352cc", "#c8a300", "#37872d", "#8ab8ff", "#b877d9", "#7c8592")
OUTCOMES = {"delivered": "#56a64b", "retry": "#e0a000", "dead": "#e02f44", "pending": "#3274d9"}
_GREEN, _YELLOW, _RED = "#3f8f35", "#c98a00", "#d01f38"
_GRID, _FAINT = "#e6e8ec", "#6b7280"
_LEGENDS = 6

Panel = Mapping[str, Any]


class Line(NamedTuple):
    """One series: its name, its labels, pairs of seconds and value."""

    name: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]

    @property
    def last(self) -> float:
        """The last value; not a number when there is none."""
        return self.points[-1][1] if self.points else math.nan

    @property
    def shows(self) -> bool:
        """Whether it is ever anything but 0."""
        return any(value for _, value in self.points if not math.isnan(value))


class Margins(NamedTuple):
    """Pixels between a panel's edge and its axes."""

    left: float
    top: float
    right: float
    bottom: float


def _time_series(axes: Axes, panel: Panel, lines: Sequence[Line], seconds: float) -> None:
    custom = panel["fieldConfig"]["defaults"]["custom"]
    shown = [line for line in lines if line.shows] or list(lines[:1])
    base = np.zeros(0)
    for number, line in enumerate(shown):
        colour = OUTCOMES.get(line.name, COLOURS[number % len(COLOURS)])
        times, values = _arrays(line)
        if custom["stacking"]["mode"] == "normal":
            values = np.nan_to_num(values)
            base = base if len(base) == len(values) else np.zeros(len(values))
            axes.fill_between(times, base, base + values, color=colour, alpha=0.3, linewidth=0)
            base = base + values
            axes.plot(times, base, color=colour, linewidth=1.2, label=line.name)
        else:
            axes.fill_between(times, 0, values, color=colour, alpha=0.08, linewidth=0)
            axes.plot(times, values, color=colour, linewidth=1.3, label=line.name)
    _time_axis(axes, seconds)
    _value_axis(axes, panel, empty=not any(line.shows for line in lines))
    columns = min(3 if axes.bbox.width < 300 else 4, max(1, len(shown)))
    axes.legend(
        handles=axes.get_legend_handles_labels()[0][:_LEGENDS],
        loc="upper left",
        bbox_to_anchor=(-0.02, -26 / axes.bbox.height),
        ncols=columns,
        frameon=False,
        fontsize=7.2,
        handlelength=1.2,
        columnspacing=1.0,
        handletextpad=0.4,
        borderaxespad=0,
    )


def _value_axis(axes: Axes, panel: Panel, *, empty: bool) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    low, high = (0.0, 1.0) if empty else axes.get_ylim()
    low, high = (0.0 if "min" in defaults else low), defaults.get("max", high)
    axes.set_ylim(low, high + (high - low) * 0.02)
    axes.yaxis.set_major_locator(MultipleLocator(step(high - low, defaults["unit"])))
    write = written(defaults["unit"])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def _time_axis(axes: Axes, seconds: float) -> None:
    axes.set_xlim(0, seconds)
    axes.xaxis.set_major_locator(MultipleLocator(60))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / 60:.0f} min"))
    axes.grid(color=_GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=7, labelcolor=_FAINT, pad=3)
    axes.tick_params(axis="x", pad=7)
    for side in axes.spines.values():
        side.set_visible(False)


def _number(axes: Axes, panel: Panel, lines: Sequence[Line], seconds: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    colour = _colour(defaults["thresholds"]["steps"], lines[0].last)
    times, values = _arrays(lines[0])
    axes.fill_between(times, 0, values, color=colour, alpha=0.15, linewidth=0)
    axes.plot(times, values, color=colour, linewidth=1)
    axes.set_xlim(0, seconds)
    axes.set_ylim(0, max(np.nanmax(values) * 2.4, 1e-9))
    axes.axis("off")
    text = written(defaults["unit"])(lines[0].last)
    axes.text(0.5, 0.66, text, transform=axes.transAxes, ha="center", va="center", size=19, color=colour, weight="bold")


def _bars(axes: Axes, panel: Panel, lines: Sequence[Line], seconds: float) -> None:
    del seconds  # it is of the whole time
    best = sorted(lines, key=lambda line: line.last)[-5:]
    most = max((line.last for line in best), default=1.0)
    write = written(panel["fieldConfig"]["defaults"]["unit"])
    for place, line in enumerate(best, 5 - len(best)):
        axes.barh(place, most, height=0.5, color="#f1f2f5")
        axes.barh(place, line.last, height=0.5, color=_GREEN)
        axes.text(0, place + 0.30, line.name, ha="left", va="bottom", size=7.4)
        axes.text(most * 1.03, place, write(line.last), ha="left", va="center", size=8.4, color=_GREEN, weight="bold")
    axes.set_xlim(0, most * 1.18)
    axes.set_ylim(-0.6, 4.8)
    axes.axis("off")


def _heat_map(axes: Axes, panel: Panel, lines: Sequence[Line], seconds: float) -> None:
    del panel
    buckets = sorted(lines, key=lambda line: float(line.labels["le"]))
    table = np.array([_arrays(line)[1] for line in buckets])
    # Each series counts what is below, too.
    table = np.clip(np.diff(np.nan_to_num(table), axis=0, prepend=0), 0, None)
    used = np.flatnonzero(table.sum(axis=1))
    first, last = max(0, int(used[0]) - 1), min(len(table) - 1, int(used[-1]) + 1)
    table = table[first : last + 1]
    shades = axes.pcolormesh(
        np.linspace(0, seconds, table.shape[1] + 1),
        np.arange(table.shape[0] + 1),
        np.ma.masked_less(table, 1e-9),
        cmap="Blues",
        vmin=-table.max() * 0.15,
    )
    _time_axis(axes, seconds)
    write = written("s")
    names = ["∞" if line.labels["le"] == "+Inf" else write(float(line.labels["le"])) for line in buckets]
    axes.set_yticks(range(1, table.shape[0] + 1), names[first : last + 1])
    scale = axes.inset_axes((0.0, -34 / axes.bbox.height, 0.3, 5 / axes.bbox.height))
    bar = axes.figure.colorbar(shades, cax=scale, orientation="horizontal", ticks=[0, table.max()])
    bar.ax.set_xlim(0, table.max())
    bar.ax.set_xticklabels(["0", f"{table.max():.0f} deliveries in 15 s"], size=7, color=_FAINT)
    bar.ax.tick_params(length=0, pad=2)
    bar.outline.set_visible(False)


def _arrays(line: Line) -> tuple[Any, Any]:
    """Times and values; where Prometheus had none, the line is broken."""
    times = np.array([when for when, _ in line.points])
    values = np.array([value for _, value in line.points])
    if len(times) < 3:
        return times, values
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > steps.min() * 1.5) + 1
    return np.insert(times, gaps, times[gaps] - steps.min()), np.insert(values, gaps, np.nan)


def _colour(steps: Sequence[Mapping[str, Any]], value: float) -> str:
    reached = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return {"green": _GREEN, "yellow": _YELLOW, "red": _RED}[reached[-1]]


DRAWN: Mapping[str, Callable[[Axes, Panel, Sequence[Line], float], None]] = {
    "timeseries": _time_series,
    "stat": _number,
    "bargauge": _bars,
    "heatmap": _heat_map,
}
MARGINS: Mapping[str, Margins] = {
    "timeseries": Margins(62, 32, 24, 56),
    "stat": Margins(6, 22, 6, 4),
    "bargauge": Margins(14, 28, 20, 12),
    "heatmap": Margins(56, 32, 24, 58),
}
