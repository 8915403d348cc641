"""Numbers as Grafana writes them, by the unit of a panel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
_SIZES = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_NUMBERS = ((1e6, "M"), (1e3, "K"), (1.0, ""))


def written(unit: str) -> Callable[[float], str]:
    """How a number of this unit is written."""
    return _UNITS[unit]


def step(span: float, unit: str) -> float:
    """The distance of some four to eight round numbers of this unit in a span."""
    steps = {"s": _TIMES, "bytes": _SIZES}.get(unit, _NUMBERS)
    size = next((size for size, _ in steps if span >= size), steps[-1][0])
    rough = span / size / 5
    power = 10.0 ** math.floor(math.log10(rough))
    least = 1.0 if unit == "short" and span > 4 else 0.0
    return max(least, size * next(nice * power for nice in (1, 2, 2.5, 5, 10) if nice * power >= rough))


def _scaled(steps: tuple[tuple[float, str], ...], between: str) -> Callable[[float], str]:
    def write(value: float) -> str:
        size = abs(value)
        step, name = next((item for item in steps if size >= item[0] * 0.9995), steps[-1])
        if size < steps[-1][0] / 1000:
            step, name = next((item for item in steps if item[0] == 1.0), steps[-1])
        return f"{value / step:.3g}{between}{name}".rstrip()

    return write


def _rate(name: str) -> Callable[[float], str]:
    number = _scaled(_NUMBERS, "")
    return lambda value: f"{number(value) if abs(value) >= 1 else f'{value:.2g}'} {name}"


_plain = _scaled(_NUMBERS, " ")
_UNITS: Mapping[str, Callable[[float], str]] = {
    "s": _scaled(_TIMES, " "),
    "bytes": _scaled(_SIZES, " "),
    "short": lambda value: _plain(value) if abs(value) >= 1 else f"{value:.2g}",
    "percentunit": lambda value: f"{value * 100:.3g} %",
    "reqps": _rate("req/s"),
    "cps": _rate("c/s"),
}
