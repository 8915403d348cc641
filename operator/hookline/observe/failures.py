"""Why attempts fail, as a metric's label: a fixed set, whatever an endpoint answers.

In: a verdict. Out: one of ``FAILURE_REASONS``. Status codes that say what to do keep their number, the others their
class.
"""

from __future__ import annotations

from hookline.model import Verdict

_OWN_WORDS = (
    *("Timeout", "TLSFailed", "Unreachable", "NameNotResolved", "DestinationRefused", "ProxyFailed", "Protocol"),
    *("InvalidHeader", "InternalError", "Expired", "TokenFailed", "AccessDenied", "AccessUnknown"),
)
_CODES = (400, 401, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429, 500, 502, 503, 504)
_CLASSES = {code: f"HTTP{code}xx" for code in (3, 4, 5)}
_OTHER = "Other"

FAILURE_REASONS = (*_OWN_WORDS, *(f"HTTP{code}" for code in _CODES), *_CLASSES.values(), _OTHER)
"""Every value of the label ``reason`` of failed attempts."""

_KNOWN = frozenset(FAILURE_REASONS)


def failure_reason(verdict: Verdict) -> str:
    """The label of a verdict that is not success."""
    if verdict.reason in _KNOWN:
        return verdict.reason
    return _CLASSES.get((verdict.status_code or 0) // 100, _OTHER)
