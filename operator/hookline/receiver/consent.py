"""The receiver's part of the webhook validation handshake: who may send here, and how much.

In: the headers of an OPTIONS request. Out: the headers that grant what it asks for, or None. Rules: CloudEvents,
"HTTP 1.1 Web Hooks for Event Delivery", section 4.2. It is no proof of who asks: only signatures are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hookline.receiver.errors import OriginMalformed

_ASKS = "webhook-request-origin"
_ORIGIN = re.compile(r"[\x21-\x7e]{1,253}")  # it is repeated in the answer


@dataclass(frozen=True, slots=True)
class Consent:
    """``origins`` are the names of those that may send, ``("*",)`` for anybody; ``per_minute`` None: any number."""

    origins: tuple[str, ...]
    per_minute: int | None = None

    def grant(self, headers: Iterable[tuple[str, str]]) -> dict[str, str] | None:
        """The headers of the answer; None when this origin may not send. ``headers`` are pairs, names in any case.

        Raises OriginMalformed when there are two origins, or the one is not a word of ASCII.
        """
        found = [value.strip() for name, value in headers if name.lower() == _ASKS]
        if len(found) > 1:
            raise OriginMalformed(f"{_ASKS}: the header is there twice")
        asking = found[0] if found else ""
        if asking and not _ORIGIN.fullmatch(asking):
            raise OriginMalformed(f"{_ASKS}: it must be a name, in ASCII and without spaces")
        if not asking or not {"*", asking.lower()} & {origin.lower() for origin in self.origins}:
            return None
        rate = "*" if self.per_minute is None else str(self.per_minute)
        return {"allow": "OPTIONS, POST", "webhook-allowed-origin": asking, "webhook-allowed-rate": rate}
