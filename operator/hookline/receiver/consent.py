"""The receiver's part of the webhook validation handshake: who may send here, and how much.

In: the headers of an OPTIONS request. Out: the headers that grant what it asks for, or None. Rules: CloudEvents,
"HTTP 1.1 Web Hooks for Event Delivery", section 4.2. It is no proof of who asks: only signatures are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Consent:
    """``origins`` are the names of those that may send, ``("*",)`` for anybody; ``per_minute`` None: any number."""

    origins: tuple[str, ...]
    per_minute: int | None = None

    def grant(self, headers: Mapping[str, str]) -> dict[str, str] | None:
        """The headers of the answer; None when this origin may not send. Names in ``headers`` are in lower case."""
        asking = headers.get("webhook-request-origin", "").strip()
        if not asking or not {"*", asking.lower()} & {origin.lower() for origin in self.origins}:
            return None
        rate = "*" if self.per_minute is None else str(self.per_minute)
        return {"allow": "OPTIONS, POST", "webhook-allowed-origin": asking, "webhook-allowed-rate": rate}
