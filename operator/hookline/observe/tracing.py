"""Traces, opt-in: which trace and which spans a message has, and what goes out in ``traceparent``. No OpenTelemetry.

In: a ``webhook-id`` and the times of its attempts. Out: ids, as pure functions of them, so that nothing need be stored
and a restart changes nothing (docs/decisions/0013). ``tracing_otlp`` makes spans of what it is told; it and
OpenTelemetry are imported only when tracing is on. https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Protocol

from hookline.errors import SettingsError
from hookline.model import Attempt, Message, Target

HEADER = "traceparent"
Headers = tuple[tuple[str, str], ...]
Counted = Callable[[str, int], None]
"""Told what became of spans: ``exported``, ``queue_full`` or ``export_failed``, and of how many."""


class Tracer(Protocol):
    """Takes in what happened; every method returns at once and never raises for what a collector does."""

    def headers(self, message: Message, started: float) -> Headers:
        """What an attempt that begins at ``started`` (Unix seconds) sends on."""

    def stored(self, message: Message, subscription: str | None) -> None:
        """A message is durable now: the end of the change's span."""

    def attempted(self, attempt: Attempt, subscription: str | None, target: Target | None) -> None:
        """An attempt was recorded. ``target`` is where it went, None when that is not known any more."""

    def close(self, seconds: float) -> None:
        """Export what waits, within so many seconds. Blocks: call it in a thread."""


def trace_ids(webhook_id: str) -> tuple[int, int]:
    """The trace of a message (128 bits) and its first span (64 bits), that of the change: a hash of the id.

    Neither is zero, which would be invalid.
    """
    digest = hashlib.sha256(f"trace {webhook_id}".encode()).digest()
    return int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:24]) or 1


def attempt_id(webhook_id: str, started: float) -> int:
    """The span (64 bits) of the attempt that began then: another one for each attempt."""
    return int.from_bytes(hashlib.sha256(f"attempt {webhook_id} {started!r}".encode()).digest()[:8]) or 1


def traceparent(trace: int, span: int, *, sampled: bool) -> str:
    """The header's value, version 00."""
    return f"00-{trace:032x}-{span:016x}-{sampled:02x}"


def make_tracer(*, wanted: bool, cluster: str, environ: Mapping[str, str], counted: Counted) -> Tracer | None:
    """A running tracer, or None when none is wanted or ``OTEL_SDK_DISABLED`` is true.

    Raises SettingsError when OpenTelemetry is not installed, or its variables ask for what is not there.
    """
    if not wanted or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    try:
        from hookline.observe.tracing_otlp import OtlpTracer
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("opentelemetry", "google"):
            raise
        raise SettingsError("tracing: OpenTelemetry is not installed: pip install 'hookline[otel]'") from None
    return OtlpTracer(cluster, environ, counted)
