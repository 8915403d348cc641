"""Structured logs on standard error: JSON, one object a line, or text for a terminal.

In: records of Python's ``logging``, ours with fields in ``extra=``. Out: lines that hold ``FIELDS`` and nothing else
(docs/logs.md). Secrets are never logged; ``hookline.observe.shown`` sees to what others might say.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

from hookline.observe.shown import cut, exception, message, printable

OPERATOR_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "subscription": str,
    "webhook_id": str,
    "reason": str,
    "status_code": int,
    "attempt": int,
    "duration": (float, int),
    "outcome": str,
    "uid": str,
    "watch": str,
    "object": str,
    "replay": str,
    "namespace": str,
    "resource": str,
    "secret": str,
    "new": bool,
    "cause": str,
    "count": int,
    "subscriptions": int,
    "in_flight": int,
    "ranges": int,
    "port": int,
    "api_port": int,
    "tls": bool,
    "verb": str,
    "lease": str,
    "epoch": int,
}
RECEIVER_FIELDS: Mapping[str, type | tuple[type, ...]] = {
    "endpoint": str,
    "id": str,
    "status": int,
    "seconds": (float, int),
    "user": str,
    "code": int,
    "output": str,
    "endpoints": int,
    "tls": bool,
    "reason": str,
    "port": int,
}
FIELDS = {**RECEIVER_FIELDS, **OPERATOR_FIELDS}
"""Every field that a line may have beside time, level, logger, message and exception, and its type."""

OURS = "hookline"


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", …fields, "exception"}`` on one line, all of it ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line of JSON."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
            "level": record.levelname.lower(),
            "logger": cut(record.name),
            "message": message(record, ours=_is_ours(record)),
            **_fields(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = exception(record.exc_info[1])
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, then ``name=value``. Only a traceback has lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line of text, and the lines of its traceback, each of them indented."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={_quoted(value)}" for key, value in _fields(record).items())
        line = f"{time} {record.levelname:<7} {printable(message(record, ours=_is_ours(record)))}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            line += "".join(f"\n    {printable(each)}" for each in exception(record.exc_info[1]).split("\n"))
        return line


class _Stderr(logging.StreamHandler[TextIO]):
    """A handler that stays silent when a line can't be written: to say so would be no line of the log."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the name is logging's)
        """Do nothing."""


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == OURS or record.name.startswith(OURS + ".")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of one of our records. Those of others are none of ours, whatever their names."""
    if not _is_ours(record):
        return {}
    found = {key: _plain(value) for key, value in vars(record).items() if key in FIELDS}
    return {key: value for key, value in found.items() if value is not None}


def _plain(value: Any) -> object:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else cut(str(value))


def _quoted(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and text and not set(text) & set(' "=')
    return text if plain else printable(json.dumps(text, ensure_ascii=False))


def configure(level: str, style: str, stream: TextIO | None = None) -> None:
    """Log to stderr in ``style``: ``json``, ``text``, or ``auto``, which is text on a terminal.

    Our own lines come from ``level`` on, those of libraries when they are warnings at least.
    """
    stream = stream or sys.stderr
    handler = _Stderr(stream)
    is_text = style == "text" or (style == "auto" and stream.isatty())
    handler.setFormatter(TextFormatter() if is_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(least, logging.WARNING))
    logging.getLogger(OURS).setLevel(least)


def capture() -> None:
    """Make log lines of what Python writes to stderr by itself: warnings, and errors that nobody caught."""
    log = logging.getLogger(OURS)

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
        else:
            log.critical("ended by an unexpected error", exc_info=error)

    def in_thread(details: threading.ExceptHookArgs) -> None:
        if details.exc_type is not SystemExit:
            log.critical("a thread ended by an unexpected error", exc_info=details.exc_value)

    def unraisable(details: Any) -> None:
        log.error("an error could not be raised", exc_info=details.exc_value)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
    logging.captureWarnings(True)
