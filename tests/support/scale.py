"""How large a fault test is: short for everyone, or with HOOKLINE_FAULTS=full the numbers of docs/reliability.md."""

from __future__ import annotations

import os
import random
import sys
from typing import TypeVar

T = TypeVar("T")
FULL = os.environ.get("HOOKLINE_FAULTS") == "full"


def scale(short: T, full: T) -> T:
    """The value for this run."""
    return full if FULL else short


def note(text: str) -> None:
    """A figure for who runs it; pytest shows it with ``-s``, and when the test fails."""
    sys.stdout.write(f"{text}\n")


def seeded() -> random.Random:
    """Chance with a printed seed; HOOKLINE_SEED repeats a run."""
    seed = int(os.environ.get("HOOKLINE_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
    note(f"HOOKLINE_SEED={seed}")
    return random.Random(seed)
