"""What ends the benchmark: a tool that can't be built, a load that fails, messages that never arrive."""

from __future__ import annotations


class BenchError(Exception):
    """The benchmark can't go on; the message says why."""
