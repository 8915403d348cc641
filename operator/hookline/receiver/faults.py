"""What the log says of an exception that nobody foresaw: one line, its kind and where, and not what it holds.

In: an exception, or a record of the HTTP library. Out: text. A traceback for each request that somebody without a key
can make would fill the log; and what is in a message may come from outside.
"""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

_OURS = Path(__file__).parent.parent


def described(error: BaseException) -> str:
    """``FileNotFoundError at receiver/script.py:72``: the kind, and the innermost line of ours."""
    frames = [(Path(frame.f_code.co_filename), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    ours = [f"{path.relative_to(_OURS)}:{line}" for path, line in frames if path.is_relative_to(_OURS)]
    return f"{type(error).__name__} at {ours[-1]}" if ours else type(error).__name__


class OneLine(logging.Filter):
    """For the logger that the HTTP library gets: a request that is no HTTP is one line too, without an address."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything through, shorter."""
        if record.exc_info and record.exc_info[1] is not None:
            record.reason = type(record.exc_info[1]).__name__
            record.msg, record.args = "a request could not be read", ()
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = None
        return True
