"""Structured logs: JSON, one object a line, or text for a terminal. Fields come by ``extra=``; secrets never do."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
NOISY = {"kopf": logging.WARNING, "aiohttp": logging.WARNING, "kubernetes": logging.WARNING, "asyncio": logging.WARNING}


class JsonFormatter(logging.Formatter):
    """``{"time", "level", "logger", "message", …extra, "exception"}`` on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """The same for people: time, level, message, then ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as one line of text."""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        fields = "".join(f" {key}={value}" for key, value in _extra(record).items())
        line = f"{time} {record.levelname:<7} {record.getMessage()}{fields}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def _extra(record: logging.LogRecord) -> dict[str, object]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def configure(level: str, style: str) -> None:
    """Log to stderr from ``level`` on, in ``style`` ``json`` or ``text``; other libraries only their warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(least)
