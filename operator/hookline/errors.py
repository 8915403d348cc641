"""Every error that Hookline raises on purpose. The class says what the caller may do.

HooklineError
├── SettingsError            crash at start: the administrator must change a setting
├── SpecError                tell the user: the subscription's spec can't be used as it is (never retried by itself)
│   ├── ExpressionError      … a CEL expression does not compile; carries the position
│   └── InvalidSpec          … all that is wrong with a spec; ``errors`` has each
├── NotReadyError            tell the user and try again: something the subscription refers to is absent
├── InvalidKey               a signing key can't be read: say where it came from
├── EvaluationError          no match for this one object: an expression failed on it; count it, tell the user once
│   └── NamespaceUnknown     … nobody knows the labels of its namespace
├── RenderError              drop this one event, count it under ``reason``
├── DestinationRefused       don't connect: the address policy forbids the destination (retried on the long schedule)
├── ApiError                 a Kubernetes API request failed; ``status`` is the HTTP code (0: no answer)
│   ├── ResourceGone         410: the resourceVersion is too old; list again
│   ├── NotServed            404 on a collection: the resource is not (or no longer) served
│   ├── Forbidden            401 or 403: the operator lacks the right
│   └── Conflict             409: somebody else wrote first; read again
├── StoreError               the outbox can't be read or written: stop acknowledging, try again
│   ├── StoreVersionError    crash at start: the file was written by a newer Hookline
│   ├── StoreKeyMissing      crash: what is stored was sealed with a key that is not configured; add the key
│   ├── StoreInUse           at start: another process has it open; wait for it, or crash
│   ├── SealBroken           give up this one value, and tell
│   ├── StoreDamaged         crash: what is stored can't be trusted; somebody must restore it or move it away
│   ├── Fenced               crash: another process leads now, this one must not write any more
│   └── ValueRefused         leave this value out and count it: it can't be stored, the same call would fail for ever
├── LeadershipLost           crash: the Lease was lost; the process starts anew as a standby
└── VerificationError        receiver's side: don't trust this request
    ├── MissingHeader
    ├── TimestampOutOfTolerance
    └── SignatureMismatch

No message holds a secret, a full URL, an IP address or a response body.
"""

from __future__ import annotations

from collections.abc import Sequence


class HooklineError(Exception):
    """The root of the tree: catch it to catch everything that Hookline raises on purpose."""


class SettingsError(HooklineError):
    """A setting is missing or malformed; the message names it and says what to write."""


class SpecError(HooklineError):
    """The spec can't be used. ``reason`` is a condition reason, ``field`` a path such as ``spec.filter``."""

    def __init__(self, reason: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.reason = reason
        self.field = field
        self.message = message


class ExpressionError(SpecError):
    """A CEL expression does not compile; the message carries line and column."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("InvalidExpression", field, message)


class InvalidSpec(SpecError):
    """Everything that is wrong with a spec at once: ``errors`` holds at least one SpecError, the first one leads."""

    def __init__(self, errors: Sequence[SpecError]) -> None:
        first = errors[0]
        more = "".join(f"; {error}" for error in errors[1:])
        super().__init__(first.reason, first.field, first.message + more)
        self.errors = tuple(errors)


class NotReadyError(HooklineError):
    """Something referred to is absent or unusable; ``reason`` is a condition reason. It may heal by itself."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class InvalidKey(HooklineError):
    """A ``whsec_``, ``whsk_`` or ``whpk_`` key is malformed. The message never shows it."""


class EvaluationError(HooklineError):
    """A compiled expression failed on one object (a missing key, a wrong type, too much work)."""


class NamespaceUnknown(EvaluationError):
    """Whether this object's namespace is selected can't be found out: it was deleted while nobody looked."""


class RenderError(HooklineError):
    """This event can't become a message; ``reason`` is a snake_case value of the drop counter."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DestinationRefused(HooklineError):
    """The address policy forbids the destination. The text is the same whether the target exists or not."""


class ApiError(HooklineError):
    """A Kubernetes API request failed. ``status`` is the HTTP code, 0 when there was no answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}" if status else message)
        self.status = status


class ResourceGone(ApiError):
    """410 Gone, as a response or inside a watch: list again."""


class NotServed(ApiError):
    """404: the object is absent, or the collection is not served."""


class Forbidden(ApiError):
    """401 or 403: the operator's own identity may not do this."""


class Conflict(ApiError):
    """409: the object exists already, or somebody else wrote first."""


class StoreError(HooklineError):
    """The outbox can't be read or written now. Nothing of the failed call was kept; it may be tried again."""


class StoreVersionError(StoreError):
    """The outbox was written by a newer version; running on would lose what only that version understands."""


class StoreKeyMissing(StoreError):
    """The outbox holds what was sealed with another key; the message names the key's number and the setting."""


class StoreInUse(StoreError):
    """Another process has the outbox open; the message names it."""


class SealBroken(StoreError):
    """One sealed value of the outbox was changed, or moved from another row. What else is stored is as it was."""


class StoreDamaged(StoreError):
    """The outbox's file is corrupt, or is none: nothing that is read from it can be trusted."""


class Fenced(StoreError):
    """Another process took the outbox over (``epoch`` is the one in force, 0 where unknown): stop, don't try again."""

    def __init__(self, message: str, epoch: int = 0) -> None:
        super().__init__(message, epoch)
        self.epoch = epoch

    def __str__(self) -> str:
        return str(self.args[0])


class ValueRefused(StoreError):
    """A value that the outbox can't hold (no valid Unicode, too large): it is the value's fault, not the volume's."""


class LeadershipLost(HooklineError):
    """Another process holds the Lease, or it could not be renewed in time: stop working at once."""


class VerificationError(HooklineError):
    """A received request must not be trusted. Never carries the expected signature."""


class MissingHeader(VerificationError):
    """A ``webhook-*`` header is absent or malformed."""


class TimestampOutOfTolerance(VerificationError):
    """The timestamp is too old or too far in the future: a replay, or a clock that is wrong."""


class SignatureMismatch(VerificationError):
    """No signature of a known scheme matches any of the keys."""
