"""What the receiving side raises beside ``hookline.errors.VerificationError``. The class says what to answer.

HooklineError
├── AlreadyProcessed    2xx: this message was handled before
├── InProgress          503: somebody handles it at this moment; the sender shall ask again
├── OnceUnavailable     503: the store of ids can't be read or written
├── ActionFailed        503: the action did not work; the sender shall try again
└── OriginMalformed     400: who asks for consent does not say who it is

No message holds a secret, a path of an endpoint, or what a remote server said.
"""

from __future__ import annotations

from hookline.errors import HooklineError


class AlreadyProcessed(HooklineError):
    """The message was processed and recorded; there is nothing to do. Answer 2xx."""


class InProgress(HooklineError):
    """Another request with the same id is being processed, or was cut short less than a lease ago. Answer 503."""


class OnceUnavailable(HooklineError):
    """The store of ids failed; nothing was recorded. Answer 503."""


class ActionFailed(HooklineError):
    """An action did not succeed; nothing was recorded as done. Answer 503."""


class OriginMalformed(HooklineError):
    """``WebHook-Request-Origin`` is there twice, or is no name. Answer 400."""
