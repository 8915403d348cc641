"""Claims about ``hookline receive`` and those who have no key: bad bytes, bodies that never end, dear signatures."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline import keys
from hookline.deliver.sign import Signer
from hookline.model import SigningKeys
from hookline.receiver.config import Config, parse
from hookline.receiver.leased import Leased
from hookline.receiver.once_sqlite import SqliteOnce
from hookline.receiver.server import Limits, Server
from hookline.receiver.template import Event
from hookline.receiver.verifier import LARGE, Verified, Verifier

SECRET = bytes(range(32))
ORDERS, PARCELS = "/" + "o" * 43, "/" + "p" * 43
SLOW = b"content-length: 100000\r\n\r\nx"


class Lines(logging.Handler):
    """What the receiver and the HTTP library log, at any level from INFO."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() not in ("listening", "stopped"):
            self.records.append(record)
            self._more.set()

    async def wait_for(self, number: int) -> list[logging.LogRecord]:
        async with asyncio.timeout(60):
            while len(self.records) < number:
                self._more.clear()
                await self._more.wait()
        return self.records


@pytest.fixture
def log() -> Iterator[Lines]:
    lines = Lines()
    loggers = [logging.getLogger(name) for name in ("hookline", "aiohttp", "asyncio")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(lines)
        logger.setLevel(logging.INFO)
    yield lines
    for logger, level in zip(loggers, before, strict=True):
        logger.removeHandler(lines)
        logger.setLevel(level)


def signed(message_id: str, body: bytes = b"{}") -> list[tuple[str, str]]:
    now = int(time.time())
    signature = Signer(SigningKeys((SECRET,), ()), ["v1"]).sign(message_id, now, body)
    return [("webhook-id", message_id), ("webhook-timestamp", str(now)), ("webhook-signature", signature)]


class House:
    """A server for two endpoints, in plain http, so that any byte can be sent to it."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.actions: list[dict[str, Any]] = [{"script": {"command": ["/bin/true"]}}]

    def config(self, **endpoint: object) -> Config:
        common = {"keys": [{"env": "KEY"}], "actions": self.actions, **endpoint}
        document = {
            "listen": {"host": "127.0.0.1", "port": 0},
            "plainHttp": True,
            "once": "sqlite:ids.db",
            "endpoints": [
                {"name": "orders", "path": ORDERS, **common},
                {"name": "parcels", "path": PARCELS, **common},
            ],
        }
        return parse(document, self.folder, {"KEY": keys.encode_hmac(SECRET)})

    @contextlib.asynccontextmanager
    async def open(self, config: Config | None = None, limits: Limits | None = None):
        server = Server(config or self.config(), limits or Limits())
        await server.start()
        self.address = server.address
        try:
            yield self
        finally:
            await server.stop()

    async def begin(self, head: bytes, source: str = "127.0.0.1"):
        """Send bytes, and keep the connection."""
        streams = await asyncio.open_connection(*self.address, local_addr=(source, 0))
        streams[1].write(head)
        await streams[1].drain()
        return streams

    async def send(self, request: bytes, source: str = "127.0.0.1") -> tuple[int, bytes]:
        """Send bytes. The status of the answer, and all of it."""
        reader, writer = await self.begin(request, source)
        try:
            async with asyncio.timeout(60):
                answer = await reader.read()
        finally:
            await closed(writer)
        return int(answer.split(b" ", 2)[1]), answer

    async def post(self, headers=(), body: bytes = b"{}", path: str = ORDERS, **more: Any) -> tuple[int, bytes]:
        lines = b"".join(name.encode() + b": " + as_bytes(value) + b"\r\n" for name, value in headers)
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        return await self.send(begun(path) + lines + length + body, **more)


def as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def begun(path: str = ORDERS, method: bytes = b"POST") -> bytes:
    return b"%s %s HTTP/1.1\r\nhost: x\r\n" % (method, path.encode())


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3\xa9", b"v1,\xff", b"v1a,\xed\xb3\xbf"])
async def test_a_bad_byte_in_a_header_is_refused_with_one_line_and_no_traceback(house, log, name, bad):
    async with house.open():
        headers = [(key, bad if key == name else value) for key, value in signed("msg_1")]
        assert (await house.post(headers))[0] == 401
        (record,) = await log.wait_for(1)
    assert record.exc_info is None
    assert record.getMessage().startswith(f"{name}: ")


@pytest.mark.parametrize("framing", [b"content-length: 100\r\n", b"transfer-encoding: chunked\r\n"])
async def test_an_upload_that_breaks_off_is_one_line_and_no_traceback(house, log, framing):
    async with house.open():
        _, writer = await house.begin(begun() + framing + b"\r\n3\r\n")
        writer.transport.abort()
        (record,) = await log.wait_for(1)
        assert (await house.post(signed("msg_1")))[0] == 200, "the control"
    assert record.exc_info is None
    assert record.getMessage() == "the body is malformed, or broke off"


async def test_a_body_that_is_malformed_is_refused(house):
    async with house.open():
        chunked = b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        assert (await house.send(begun() + chunked + b"2\r\n{}\r\nno length\r\n\r\n"))[0] == 400
        body_of_good = b"".join(f"{name}: {value}\r\n".encode() for name, value in signed("msg_1"))
        assert (await house.send(begun() + body_of_good + chunked + b"2\r\n{}\r\n0\r\n\r\n"))[0] == 200, "the control"


async def test_what_is_no_http_is_one_line_without_address_or_traceback(house, log):
    async with house.open():
        assert (await house.send(begun() + b"no header\r\n\r\n"))[0] == 400
        (record,) = await log.wait_for(1)
    assert record.exc_info is None
    assert record.getMessage() == "a request could not be read"
    assert "127.0.0.1" not in str(vars(record))


class Surprised(Verifier):
    """Raises what nobody foresaw."""

    def verify(self, headers, body) -> Verified:
        raise ZeroDivisionError("and what came with the request")


async def test_an_exception_that_nobody_foresaw_is_a_503_and_one_line_that_says_where(house, log):
    config = house.config()
    broken = dataclasses.replace(config.endpoints[0], verifier=Surprised([keys.encode_hmac(SECRET)]))
    async with house.open(dataclasses.replace(config, endpoints=(broken, *config.endpoints[1:]))):
        status, answer = await house.post(signed("msg_1"))
        (record,) = await log.wait_for(1)
    assert status == 503
    assert b"retry-after: 5" in answer
    assert record.exc_info is None
    assert record.reason.startswith("ZeroDivisionError at receiver/server.py:")
    assert "came with the request" not in str(vars(record)) + answer.decode()


async def test_an_action_that_breaks_in_any_way_holds_up_no_other_and_is_tried_again_at_once(house, log):
    """The control is the second action, which is not repeated."""
    done: list[str] = []
    breaks = True

    async def bad(event: Event) -> None:
        if breaks:
            raise ZeroDivisionError("a secret")
        done.append("bad")

    async def good(event: Event) -> None:
        done.append("good")

    config = house.config()
    store = SqliteOnce(house.folder / "own.db")
    actions = {"first": Leased(store, bad), "second": Leased(store, good)}
    endpoint = dataclasses.replace(config.endpoints[0], actions=actions)
    async with house.open(dataclasses.replace(config, endpoints=(endpoint,))):
        assert (await house.post(signed("msg_1")))[0] == 503
        assert done == ["good"]
        (record,) = await log.wait_for(1)
        breaks = False
        assert (await house.post(signed("msg_1")))[0] == 200
    assert done == ["good", "bad"]
    assert record.reason.startswith("first: ZeroDivisionError")
    assert "a secret" not in str(vars(record))


async def test_an_action_that_is_cancelled_gives_its_claim_back(tmp_path):
    started = asyncio.Event()

    async def never(event: Event) -> None:
        started.set()
        await asyncio.Event().wait()

    store = SqliteOnce(tmp_path / "ids.db")
    running = asyncio.create_task(Leased(store, never).run(Event("orders", "msg_1", 0, b""), "scope"))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert store.begin("msg_1", "scope")


async def test_an_action_that_worked_is_not_repeated_because_the_store_broke(tmp_path):
    class Forgetful(SqliteOnce):
        def finish(self, claim) -> bool:
            raise ZeroDivisionError

    async def nothing(event: Event) -> None:
        pass

    await Leased(Forgetful(tmp_path / "ids.db"), nothing).run(Event("orders", "msg_1", 0, b""), "scope")


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def test_a_script_for_which_there_is_no_temporary_file_is_a_failed_action_and_leaks_nothing(
    house, log, monkeypatch
):
    async with house.open():
        assert (await house.post(signed("msg_0")))[0] == 200, "the control"
        files = open_files()
        with monkeypatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(house.folder / "absent"))
            for _ in range(5):
                assert (await house.post(signed("msg_1")))[0] == 503
        failures = [record.reason for record in log.records if hasattr(record, "reason")]
        assert failures == ["script: the script can't be started: FileNotFoundError"] * 5
        assert open_files() <= files
        assert (await house.post(signed("msg_1")))[0] == 200


async def test_bodies_that_never_end_close_neither_their_own_endpoint_nor_another(house, log):
    """The other one not even to whoever shares their address, as everybody does behind a proxy."""
    async with house.open(limits=Limits(bodies=8, read_seconds=120)):
        slow = [await house.begin(begun() + SLOW) for _ in range(9)]
        (record,) = await log.wait_for(1)
        assert record.status in (408, 503), "the room is full: one of the nine is refused, or made way"
        assert (await house.post(signed("msg_1"), path=PARCELS))[0] == 200
        assert (await house.post(signed("msg_2"), source="127.0.0.2"))[0] == 200
        for _, writer in slow:
            await closed(writer)


class Watched(Verifier):
    """Says in which thread it works, and how many at the same time."""

    threads: list[str]

    def verify(self, headers, body) -> Verified:
        self.threads.append(threading.current_thread().name)
        return super().verify(headers, body)


async def test_a_large_body_is_verified_outside_of_the_event_loop(house):
    config = house.config()
    watched = Watched([keys.encode_hmac(SECRET)])
    watched.threads = []
    endpoint = dataclasses.replace(config.endpoints[0], verifier=watched)
    large = b"x" * LARGE
    async with house.open(dataclasses.replace(config, endpoints=(endpoint,))):
        assert (await house.post(signed("msg_1")))[0] == 200
        assert (await house.post(signed("msg_2", large), large))[0] == 200
        assert (await house.post(signed("msg_3", large), large + b"x"))[0] == 401
    main = threading.main_thread().name
    assert [name == main for name in watched.threads] == [True, False, False]
