"""The action ``forward``: a chat message about each message, as JSON to the https URL of an incoming webhook.

In: an ``Event``. Out: nothing, when the chat answered 2xx. Values of the event can't become markup, mentions or links:
each style escapes them, or asks for plain text.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from yarl import URL

from hookline.receiver.errors import ActionFailed
from hookline.receiver.fields import Field
from hookline.receiver.template import Event, Template
from hookline.receiver.trust import trust

_TEXT_LIMIT = 3500  # the least of the three is Telegram's 4096
_DEFAULT_SECONDS, _MOST_SECONDS = 10, 60


@dataclass(frozen=True)
class Forward:
    """``payload`` makes the JSON of a text. ``url`` is a secret: whoever has it can write to the chat."""

    url: URL
    text: Template
    payload: Callable[[str], Mapping[str, Any]]
    context: ssl.SSLContext
    seconds: float

    async def perform(self, event: Event) -> None:
        """Post it; redirects are not followed, proxy variables not obeyed. Raises ActionFailed."""
        body = json.dumps(self.payload(self.text.render(event)[:_TEXT_LIMIT]), ensure_ascii=False).encode()
        connector = aiohttp.TCPConnector(ssl=self.context)
        timeout = aiohttp.ClientTimeout(total=self.seconds)
        headers = {"content-type": "application/json; charset=utf-8"}
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
                session.post(self.url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, OSError) as error:  # asyncio's TimeoutError is an OSError
            raise ActionFailed(f"the chat could not be reached: {type(error).__name__}") from None
        if not 200 <= status < 300:
            raise ActionFailed(f"the chat answered {status}")


def parse_forward(field: Field) -> Forward:
    """``{url: {file | env}, style: slack | teams | telegram, text, chatId, caFile, timeoutSeconds}``."""
    found = field.fields(("url", "style", "text"), ("chatId", "caFile", "timeoutSeconds"))
    style = found["style"].one_of("slack", "teams", "telegram")
    if (style == "telegram") != ("chatId" in found):
        raise field.wrong("chatId is needed for style telegram, and only there")
    chat = str(found["chatId"].value) if "chatId" in found else ""
    payloads: dict[str, Callable[[str], Mapping[str, Any]]] = {
        "slack": lambda text: {"text": text},
        "teams": _teams,
        "telegram": lambda text: {"chat_id": chat, "text": text},  # no parse_mode: plain text
    }
    escape = _slack_escaped if style == "slack" else str
    return Forward(
        _https(found["url"]),
        found["text"].parse(lambda text: Template(text, escape)),
        payloads[style],
        trust(found.get("caFile")),
        found["timeoutSeconds"].number(1, _MOST_SECONDS) if "timeoutSeconds" in found else _DEFAULT_SECONDS,
    )


def _https(field: Field) -> URL:
    try:
        url = URL(field.secret())
    except ValueError:
        raise field.wrong("it must hold an https:// URL") from None
    if url.scheme != "https" or not url.host:
        raise field.wrong("it must hold an https:// URL")
    return url


def _slack_escaped(text: str) -> str:
    """Slack, "Escaping text": these three begin links and mentions such as <!channel>."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(text: str) -> Mapping[str, Any]:
    """An adaptive card; a TextRun is the element in which Markdown is not interpreted."""
    block = {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text}]}
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [block]}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }
