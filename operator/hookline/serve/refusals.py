"""What a request is refused with: an HTTP code and the words of a ``metav1.Status``."""

from __future__ import annotations


class Refused(Exception):
    """The request gets this answer. ``reason`` is a word for programs, ``message`` a sentence for people.

    ``retry_after``: seconds after which it may be tried again; 0: that would not help.
    """

    def __init__(self, code: int, reason: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


def bad_request(message: str) -> Refused:
    """The request itself is wrong."""
    return Refused(400, "BadRequest", message)


def unauthorized(message: str) -> Refused:
    """Nobody knows who asks."""
    return Refused(401, "Unauthorized", message)


def not_found(message: str) -> Refused:
    """There is nothing of that name."""
    return Refused(404, "NotFound", message)


def too_many(message: str) -> Refused:
    """It is asked more often than it may be."""
    return Refused(429, "TooManyRequests", message, retry_after=1)


def unavailable(message: str, reason: str = "ServiceUnavailable") -> Refused:
    """It can't be answered now."""
    return Refused(503, reason, message, retry_after=2)
