"""What receivers can do wrong: the right verdict, within the deadline, without much read and without a leak.

Each fault is a real TLS server on the loopback that speaks by hand, against the real client, dispatcher and outbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email.utils
import gzip
import socket
import ssl
import struct
import warnings
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import trustme

from hookline.deliver.client import MAX_BODY, Client
from hookline.deliver.dial import tls_context
from hookline.deliver.verdict import Reason, Response, judge
from hookline.model import Attempt, Claimed, Counts, Outcome, WatchCommit
from hookline.outbox.schedule import MAX_FLOOR, next_attempt
from hookline.outbox.sqlite import SqliteStore
from hookline.spec import RetryPolicy
from support.load import in_thread
from support.sending import LOOPBACK, line, message, target, until
from support.vitals import descriptors

DEADLINE = 0.5
"""For those that end only by it; the others get PATIENCE, so that a busy machine changes no verdict."""
PATIENCE = 15.0
MANY = 100_000_000
SOCKET_BUFFERS = 2 * 1024 * 1024
"""What a client that reads no more still lets a server write: the kernel's buffers of both sides."""

AUTHORITY = trustme.CA()


@dataclass
class Line:
    """One accepted connection, after the request was read."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    server: Server

    async def say(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()
            self.server.written += len(part)

    async def flood(self, piece: bytes, limit: int = MANY) -> None:
        """Write until the other side has had enough, or ``limit`` bytes went."""
        while self.server.written < limit:
            await self.say(piece)
            await asyncio.sleep(0)  # drain alone may never let the loop notice that the connection is gone

    async def drip(self, piece: bytes) -> None:
        while True:
            await self.say(piece)
            await asyncio.sleep(0.05)  # the pace of the drops

    async def silence(self) -> None:
        await self.reader.read()  # until the other side closes

    def reset(self) -> None:
        """RST instead of FIN."""
        reset(self.writer.get_extra_info("socket"))
        self.writer.transport.abort()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


Speak = Callable[[Line], Awaitable[None]]


@dataclass
class Server:
    """A server whose connections all go the same way. ``heard`` counts the bytes of decrypted requests."""

    port: int = 0
    accepted: int = 0
    heard: int = 0
    written: int = 0
    handlers: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"

    @contextlib.asynccontextmanager
    async def speaking(self, speak: Speak, context: ssl.SSLContext | None):
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.accepted += 1
            task = asyncio.current_task()
            assert task is not None
            self.handlers.add(task)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            writer.transport.set_write_buffer_limits(65536)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                if context is not None:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.heard += len(head)
                await speak(Line(reader, writer, self))
            writer.transport.abort()
            self.handlers.discard(task)

        listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        self.port = listener.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            listener.close()
            for task in list(self.handlers):
                task.cancel()
            await asyncio.gather(*self.handlers, return_exceptions=True)
            await listener.wait_closed()


def context_of(authority: trustme.CA = AUTHORITY, *names: str, expired: bool = False) -> ssl.SSLContext:
    """A server's TLS context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    until = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1) if expired else None
    authority.issue_cert(*(names or ("127.0.0.1",)), not_after=until).configure_cert(context)
    return context


# The faults. Each takes the connection after the request's head was read.

OK = b"HTTP/1.1 200 OK\r\n"


def says(*parts: bytes, then: str = "close") -> Speak:
    """Say this, then ``close``, ``reset`` or stay ``silent``."""

    async def speak(line: Line) -> None:
        await line.say(*parts)
        if then == "reset":
            line.reset()
        elif then == "silent":
            await line.silence()

    return speak


def floods(head: bytes, piece: bytes) -> Speak:
    async def speak(line: Line) -> None:
        await line.say(head)
        await line.flood(piece)

    return speak


def drips(head: bytes, piece: bytes) -> Speak:
    async def speak(line: Line) -> None:
        await line.say(head)
        await line.drip(piece)

    return speak


async def half_closes(line: Line) -> None:
    """Say nothing, and end one's own direction as far as TLS lets one: the other side sees an end without an answer."""
    line.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n")
    await line.silence()


def length(count: int) -> bytes:
    return OK + b"Content-Length: %d\r\n\r\n" % count


CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"10000\r\n" + bytes(65536) + b"\r\n"
BOMB = gzip.compress(bytes(50_000_000))

TIMEOUT: dict[str, Speak] = {
    "says nothing": says(then="silent"),
    "slow loris in the head": drips(OK + b"X-Slow: ", b"x"),
    "slow loris in the body": drips(length(1000), b"x"),
    "slow chunks": drips(CHUNKED, b"1\r\nx\r\n"),
    "half a head, then silence": half_closes,
    "half a body, then silence": says(length(10) + b"12345", then="silent"),
}
PROTOCOL: dict[str, Speak] = {
    "garbage": says(b"\x00\xff garbage \x80 garbage\r\n\r\n"),
    "HTTP/0.9": says(b"<html>hello</html>\r\n"),
    "no HTTP version": says(b"200 OK\r\n\r\n"),
    "a status that is no number": says(b"HTTP/1.1 two-hundred OK\r\n\r\n"),
    "a head of 10 MB": floods(OK, b"X-Long: " + b"x" * 60_000 + b"\r\n"),
    "a header line without end": floods(OK + b"X-Endless: ", b"x" * 65536),
    "a million headers": floods(OK, b"A: b\r\n" * 10_000),
    "two different lengths": says(OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345"),
    "length and chunked": says(OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a negative length": says(OK + b"Content-Length: -1\r\n\r\n"),
    "a bad chunk size": says(CHUNKED + b"zz\r\nhello\r\n"),
    "NUL in a header": says(OK + b"X-Nul: a\x00b\r\nContent-Length: 0\r\n\r\n"),
    "a body shorter than its length": says(length(1000) + b"short"),
    "an unfinished chunked body": says(CHUNKED + b"5\r\nhello\r\n"),
}
UNREACHABLE: dict[str, Speak] = {
    "reset before the head": says(then="reset"),
    "reset within the head": says(OK + b"X-Half", then="reset"),
    "closed before the head": says(),
    "closed within the head": says(OK + b"X-Half"),
}
DELIVERED: dict[str, Speak] = {
    "100 MB of body": floods(length(MANY), bytes(65536)),
    "an endless body": floods(OK + b"Connection: close\r\n\r\n", bytes(65536)),
    "endless chunks": floods(CHUNKED, CHUNK),
    "a gzip bomb": says(OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB),
    "an encoding that is a lie": says(OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nlies"),
    "HTTP/1.0 until the end of the connection": says(b"HTTP/1.0 200 OK\r\n\r\nbye"),
    "no reason phrase": says(b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n"),
    "some 1xx first": says(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3 + length(0)),
    # RFC 9112 §6.3: a 204 ends with its head; what follows belongs to nothing.
    "204 with a body": says(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"),
    "204 with a body that nothing announced": says(b"HTTP/1.1 204 No Content\r\n\r\nhello", then="silent"),
    "a cookie and a proxy's headers": says(OK + b"Set-Cookie: a=b\r\nVia: x\r\nContent-Length: 0\r\n\r\n"),
}
CASES = [
    pytest.param(speak, reason, outcome, id=f"{reason}: {name}")
    for faults, reason, outcome in (
        (TIMEOUT, Reason.TIMEOUT, Outcome.RETRY),
        (PROTOCOL, Reason.PROTOCOL, Outcome.RETRY),
        (UNREACHABLE, Reason.UNREACHABLE, Outcome.RETRY),
        (DELIVERED, Reason.DELIVERED, Outcome.DELIVERED),
    )
    for name, speak in faults.items()
]


class Ground:
    """Messages through outbox, dispatcher and client; ``deadline`` is that of one attempt."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.deadline = PATIENCE

    async def __call__(self, url: str) -> tuple[Attempt, Counts]:
        """One message: the attempt, and what is kept of it."""
        attempts, counts = await self.many(url, 1)
        return attempts[0], counts

    async def many(self, url: str, count: int) -> tuple[list[Attempt], Counts]:
        """Several, one after the other."""
        store = SqliteStore(self._path)
        await store.open()
        try:
            async with (
                Client(LOOPBACK, tls_context(AUTHORITY.cert_pem.bytes().decode())) as client,
                line(store, client) as (dispatcher, attempts),
            ):
                dispatcher.set_target(target(url, timeout=self.deadline, max_in_flight=1))
                await store.commit(WatchCommit("scope", [message(number) for number in range(count)]))
                dispatcher.notify({"sub"})
                # Those that only the deadline ends would not end without it, in no time.
                await attempts.until(lambda seen: len(seen) == count, count * self.deadline + PATIENCE)
                return list(attempts), (await store.counts())["sub"]
        finally:
            await store.close()


@pytest.fixture
async def ground(tmp_path):
    """See ``Ground``. No descriptor may outlive it."""
    before = descriptors()
    yield Ground(tmp_path / "outbox.db")
    await until(lambda: descriptors() <= before, 5)


def check(attempt, counts, reason, outcome):
    assert (str(attempt.verdict.reason), attempt.verdict.outcome) == (str(reason), outcome)
    if outcome is Outcome.DELIVERED:
        assert counts == Counts(delivered=1)
    elif outcome is Outcome.RETRY:
        assert counts == Counts(pending=1), "it is kept for the next attempt"
        assert attempt.verdict.retry_at >= attempt.started + 60
    else:
        assert counts == Counts(dead=1)


@pytest.mark.parametrize(("speak", "reason", "outcome"), CASES)
async def test_a_fault_gets_its_verdict_in_time_and_little_is_read(ground, speak, reason, outcome):
    if reason is Reason.TIMEOUT:
        ground.deadline = DEADLINE
    async with Server().speaking(speak, context_of()) as server:
        attempt, counts = await ground(server.url)
        check(attempt, counts, reason, outcome)
        assert server.accepted == 1
        assert server.written <= MAX_BODY + SOCKET_BUFFERS


async def test_a_reader_without_a_limit_would_be_given_all_of_it():
    """The control of what was counted above: the server does write 100 MB to whoever reads them."""
    async with Server().speaking(floods(length(MANY), bytes(65536)), context_of()) as server:
        context = tls_context(AUTHORITY.cert_pem.bytes().decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
        writer.write(b"POST / HTTP/1.1\r\n\r\n")
        read = 0
        while read < 10 * (MAX_BODY + SOCKET_BUFFERS):
            read += len(await reader.read(1 << 20))
        writer.transport.abort()
    assert server.written > 9 * (MAX_BODY + SOCKET_BUFFERS)


async def test_a_flood_of_1xx_ends_at_the_deadline_or_before(ground):
    ground.deadline = DEADLINE
    async with Server().speaking(floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000), context_of()) as server:
        attempt, counts = await ground(server.url)
        check(attempt, counts, attempt.verdict.reason, Outcome.RETRY)
        assert attempt.verdict.reason in (Reason.TIMEOUT, Reason.PROTOCOL)


async def test_a_refused_connection_is_retried(ground):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and never listens
        attempt, counts = await ground(f"https://127.0.0.1:{bound.getsockname()[1]}/")
        check(attempt, counts, Reason.UNREACHABLE, Outcome.RETRY)


async def test_a_server_that_does_not_accept_ends_at_the_deadline(ground):
    ground.deadline = DEADLINE
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(1)  # the kernel takes the connection, and nobody ever answers
        attempt, counts = await ground(f"https://127.0.0.1:{bound.getsockname()[1]}/")
        check(attempt, counts, Reason.TIMEOUT, Outcome.RETRY)


# TLS: not one byte of the request may reach a server that is not the right one.


TLS: dict[str, Callable[[], ssl.SSLContext]] = {
    "expired": partial(context_of, expired=True),
    "of an unknown authority": lambda: context_of(trustme.CA()),
    "for another name": partial(context_of, AUTHORITY, "other.example.com"),
}


@pytest.mark.parametrize("made", TLS.values(), ids=TLS)
async def test_a_certificate_that_can_not_be_trusted_is_told_nothing(ground, made):
    async with Server().speaking(says(length(0)), made()) as server:
        attempt, counts = await ground(server.url)
        check(attempt, counts, Reason.TLS_FAILED, Outcome.RETRY)
        assert server.heard == 0


async def test_a_certificate_that_can_be_trusted_is_told_the_message(ground):
    """The control."""
    async with Server().speaking(says(length(0)), context_of()) as server:
        attempt, counts = await ground(server.url)
        check(attempt, counts, Reason.DELIVERED, Outcome.DELIVERED)
        assert server.heard > 0


async def test_a_server_that_speaks_tls_1_1_only_is_told_nothing(ground):
    context = context_of()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python says what this test is about
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    problems = []

    def shake_hands(listener):  # blocking: asyncio's server aborts before its alert is sent
        connection, _ = listener.accept()
        with connection:
            try:
                context.wrap_socket(connection, server_side=True)
            except ssl.SSLError as error:
                problems.append(error.reason)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = in_thread(partial(shake_hands, listener))
        attempt, counts = await ground(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        thread.join()
    check(attempt, counts, Reason.TLS_FAILED, Outcome.RETRY)
    assert problems == ["UNSUPPORTED_PROTOCOL"]


def in_plain(what: str) -> Speak:
    """On a bare TCP connection, in the middle of the handshake."""

    async def speak(line: Line) -> None:
        await line.reader.read(1)
        if what == "reset":
            line.reset()
        elif what == "silence":
            await line.silence()
        elif what == "plain HTTP":
            await line.say(length(0))
        elif what == "garbage":
            await line.say(bytes(range(256)))

    return speak


HANDSHAKES: dict[str, set[Reason]] = {
    "reset": {Reason.UNREACHABLE, Reason.TLS_FAILED},
    "close": {Reason.UNREACHABLE, Reason.TLS_FAILED},
    "silence": {Reason.TIMEOUT},
    "plain HTTP": {Reason.TLS_FAILED},
    "garbage": {Reason.TLS_FAILED},
}


@pytest.mark.parametrize(("what", "reasons"), HANDSHAKES.items())
async def test_a_handshake_that_fails_is_retried(ground, what, reasons):
    if what == "silence":
        ground.deadline = DEADLINE
    async with Server().speaking(in_plain(what), None) as server:
        attempt, counts = await ground(server.url)
        assert attempt.verdict.reason in reasons
        check(attempt, counts, attempt.verdict.reason, Outcome.RETRY)


# Status codes.

STATUSES = (
    *(300, 301, 302, 303, 304, 305, 307, 308),
    *(400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 421, 422, 425, 426, 428, 429, 431, 451, 499),
    *(500, 501, 502, 503, 504, 507, 508, 511, 520, 599),
)
SUCCESSES = (200, 201, 202, 203, 204, 205, 206, 207, 226, 299)


def by_turns(statuses: Sequence[int], head: bytes = b"") -> Speak:
    """One status for each connection."""
    left = iter(statuses)

    async def speak(line: Line) -> None:
        await line.say(b"HTTP/1.1 %d Whatever\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n" % (next(left), head))

    return speak


async def verdicts_by_turns(ground, url: str, statuses: Sequence[int]) -> list[tuple[int, str, Outcome]]:
    attempts, _ = await ground.many(url, len(statuses))
    return [(status, attempt.verdict.reason, attempt.verdict.outcome)
            for status, attempt in zip(statuses, attempts, strict=True)]  # fmt: skip


async def test_every_status_but_2xx_and_410_is_retried(ground):
    async with Server().speaking(by_turns(STATUSES), context_of()) as server:
        found = await verdicts_by_turns(ground, server.url, STATUSES)
    assert found == [(status, f"HTTP{status}", Outcome.RETRY) for status in STATUSES]


async def test_every_2xx_is_a_success(ground):
    async with Server().speaking(by_turns(SUCCESSES), context_of()) as server:
        found = await verdicts_by_turns(ground, server.url, SUCCESSES)
    assert found == [(status, "Delivered", Outcome.DELIVERED) for status in SUCCESSES]


async def test_a_410_is_dead_and_says_that_the_endpoint_is_gone(ground):
    async with Server().speaking(says(b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), context_of()) as server:
        attempt, counts = await ground(server.url)
        check(attempt, counts, "HTTP410", Outcome.DEAD)
        assert attempt.verdict.gone


REDIRECTS = (300, 301, 302, 303, 307, 308)


@pytest.mark.parametrize(
    "place", ["https://127.0.0.1:{port}/", "http://127.0.0.1:{port}/", "//127.0.0.1:{port}/", "/again", "http://[", ""]
)
async def test_a_redirect_is_followed_nowhere(ground, place):
    async with Server().speaking(says(length(0)), context_of()) as elsewhere:
        head = b"Location: %s\r\n" % place.format(port=elsewhere.port).encode()
        async with Server().speaking(by_turns(REDIRECTS, head), context_of()) as server:
            found = await verdicts_by_turns(ground, server.url, REDIRECTS)
            assert found == [(status, f"HTTP{status}", Outcome.RETRY) for status in REDIRECTS]
            assert server.accepted == len(REDIRECTS)
        assert elsewhere.accepted == 0


# Retry-After: 20 shapes, through the verdict.

NOW = 1_800_000_000.0
BASE = 60.0
DAY = MAX_FLOOR


def date(seconds: float) -> str:
    return email.utils.formatdate(NOW + seconds, usegmt=True)


RETRY_AFTER: dict[str, float] = {
    "120": 120,
    "0": BASE,
    "59": BASE,
    " 120 ": 120,
    "86400": DAY,
    "86401": DAY,
    "999999999999": DAY,
    "9999999999999999999999": BASE,
    "-5": BASE,
    "+120": BASE,
    "120.5": BASE,
    "1e3": BASE,
    "0x78": BASE,
    "": BASE,
    "soon": BASE,
    "120, 240": BASE,
    "١٢٠": BASE,
    date(300): 300,
    date(-300): BASE,
    date(10 * 86400): DAY,
    "Fri, 31 Dec 9999 23:59:59 GMT": DAY,
    "Sunday, 06-Nov-94 08:49:37 GMT": BASE,
    "Sun Nov  6 08:49:37 1994": BASE,
    "Mon, 99 Foo 2027 99:99:99 GMT": BASE,
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("value", RETRY_AFTER)
def test_retry_after_is_a_floor_of_at_most_a_day_and_nonsense_is_ignored(value, status):
    wait = RETRY_AFTER[value]
    claimed = Claimed(1, message(1), 0, NOW)
    policy = RetryPolicy((BASE,) * 9, 10 * DAY)
    ruled = partial(judge, claimed, policy, Response(status, value), NOW, next_attempt=next_attempt)
    verdicts = ruled(rand=lambda: 0.0), ruled(rand=lambda: 0.999)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.RETRY, Outcome.RETRY]
    least, most = ((verdict.retry_at or 0.0) - NOW for verdict in verdicts)
    assert least == wait
    assert wait < most <= wait * 1.1


@pytest.mark.parametrize("status", [200, 301, 404, 410, 500, 502, 504])
def test_retry_after_counts_for_429_and_503_only(status):
    """The control: the same header elsewhere changes nothing."""
    claimed = Claimed(1, message(1), 0, NOW)
    ruled = partial(judge, claimed, RetryPolicy((BASE,), DAY), now=NOW, rand=lambda: 0.5, next_attempt=next_attempt)
    assert ruled(Response(status, "7200")) == ruled(Response(status))
    assert ruled(Response(503, "7200")) != ruled(Response(503))


def test_there_are_at_least_35_faults_and_20_shapes_of_retry_after():
    assert len(CASES) + len(TLS) + len(HANDSHAKES) >= 35
    assert len(RETRY_AFTER) >= 20
