"""The action ``email``: a mail about each message, over SMTP.

In: an ``Event``. Out: nothing, when the server took the mail for all recipients. Sender and recipients come from the
configuration only; values in the subject lose their line breaks, so that no header can be added. Whatever is in an
event, a mail can be made of it: what could not be sent would be tried for ever.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

from hookline.receiver.errors import ActionFailed
from hookline.receiver.fields import Field
from hookline.receiver.template import Event, Template
from hookline.receiver.trust import trust

_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ENCODED_WORD = re.compile(r"=\?")  # RFC 2047; EmailMessage decodes them, into what it then may be unable to write
_SUBJECT_LIMIT = 200
_DEFAULT_SECONDS, _MOST_SECONDS = 10, 20  # for each step of SMTP, of which there are about ten: within a lease
_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_DEFAULT_BODY = "{$}\n\nid: {@id}\n"


@dataclass(frozen=True)
class Server:
    """Where mail goes. ``tls``: starttls, implicit or none; ``user`` is name and password, or None."""

    host: str
    port: int
    tls: str
    context: ssl.SSLContext
    user: tuple[str, str] | None
    seconds: float


@dataclass(frozen=True)
class Email:
    """One mail for each message."""

    server: Server
    sender: str
    recipients: tuple[str, ...]
    subject: Template
    text: Template

    async def perform(self, event: Event) -> None:
        """Send it. Raises ActionFailed."""
        await asyncio.to_thread(self._send, self.compose(event))

    def compose(self, event: Event) -> EmailMessage:
        """The mail for an event. Its Message-ID is a function of the message's, so that a repetition can be told."""
        mail = EmailMessage()
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail["Subject"] = _subject(self.subject.render(event))
        mail["Date"] = formatdate(event.timestamp)
        name = hashlib.sha256(f"{event.endpoint}\n{event.id}".encode()).hexdigest()[:40]
        mail["Message-ID"] = f"<{name}@{self.sender.rpartition('@')[2]}>"
        mail.set_content(_valid(self.text.render(event)))
        return mail

    def _send(self, mail: EmailMessage) -> None:
        server = self.server
        try:
            with _connect(server) as connection:
                if server.tls == "starttls":
                    connection.starttls(context=server.context)  # raises when the server does not offer it
                if server.user:
                    connection.login(*server.user)
                refused = connection.send_message(mail, self.sender, self.recipients)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise ActionFailed(f"the mail was not taken: {type(error).__name__}") from error
        if refused:
            raise ActionFailed(f"the mail was not taken for {len(refused)} of {len(self.recipients)} recipients")


def parse_email(field: Field) -> Email:
    """``{smtp: {host, port, tls, caFile, username, password, timeoutSeconds}, from, to: […], subject, text}``."""
    found = field.fields(("smtp", "from", "to", "subject"), ("text",))
    hint = "a bare address such as orders@example.com"
    text = found["text"].parse(Template) if "text" in found else Template(_DEFAULT_BODY)
    return Email(
        _server(found["smtp"]),
        found["from"].text(_ADDRESS, hint),
        tuple(item.text(_ADDRESS, hint) for item in found["to"].items()),
        found["subject"].parse(Template),
        text,
    )


def _server(field: Field) -> Server:
    found = field.fields(("host",), ("port", "tls", "caFile", "username", "password", "timeoutSeconds"))
    tls = found["tls"].one_of(*_PORTS) if "tls" in found else "starttls"
    if ("username" in found) != ("password" in found):
        raise field.wrong("write username and password, or none of them")
    if "password" in found and tls == "none":
        raise field.wrong("a password is not sent without TLS; write tls: starttls or tls: implicit")
    return Server(
        host=found["host"].text(r"[A-Za-z0-9.:-]+", "the name of a host"),
        port=found["port"].number(1, 65535) if "port" in found else _PORTS[tls],
        tls=tls,
        context=trust(found.get("caFile")),
        user=(found["username"].text(), found["password"].secret()) if "password" in found else None,
        seconds=found["timeoutSeconds"].number(1, _MOST_SECONDS) if "timeoutSeconds" in found else _DEFAULT_SECONDS,
    )


def _connect(server: Server) -> smtplib.SMTP:
    if server.tls == "implicit":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=server.seconds, context=server.context)
    return smtplib.SMTP(server.host, server.port, timeout=server.seconds)


def _subject(text: str) -> str:
    return _ENCODED_WORD.sub("= ?", _CONTROL.sub(" ", _valid(text))).strip()[:_SUBJECT_LIMIT]


def _valid(text: str) -> str:
    """The text without halves of surrogate pairs, which UTF-8 has no bytes for; YAML can spell them too."""
    return text.encode("utf-8", "replace").decode("utf-8")
