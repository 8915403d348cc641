"""Lines for people: results stay, progress is redrawn on a terminal and sparse in a log."""

from __future__ import annotations

import time
from typing import TextIO

_HEARTBEAT = 10.0  # seconds between progress lines in a log
_REDRAW = 0.2  # and on a terminal


class Screen:
    """Writes to ``out``."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._drawn = time.monotonic()
        self._pending = False

    def say(self, line: str) -> None:
        """A line that stays."""
        self._out.write(("\r\x1b[K" if self._pending else "") + line + "\n")
        self._out.flush()
        self._pending = False
        self._drawn = time.monotonic()

    def progress(self, line: str) -> None:
        """What is going on now; may be called as often as one likes."""
        now = time.monotonic()
        if now - self._drawn < (_REDRAW if self._terminal else _HEARTBEAT):
            return
        self._drawn = now
        self._out.write(f"\r\x1b[K  … {line}" if self._terminal else f"  … {line}\n")
        self._out.flush()
        self._pending = self._terminal
