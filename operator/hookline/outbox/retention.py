"""How much each owner may keep of a room that is too small for all: pure arithmetic, used by ``sqlite_retention``."""

from __future__ import annotations

from collections.abc import Iterable


def fair_level(sizes: Iterable[int], room: int) -> int:
    """The level to which the largest are cut, so that all fit: the largest L with ``sum(min(size, L)) <= room``.

    Who holds no more than L keeps everything (max-min fairness). When all fit uncut, it is the largest size.
    """
    left, ordered = max(room, 0), sorted(sizes)
    for position, size in enumerate(ordered):
        share = left // (len(ordered) - position)
        if size > share:
            return share
        left -= size
    return ordered[-1] if ordered else 0
