"""The action ``script``: run a program with the event on its standard input.

In: an ``Event``. Out: nothing, when it exits with 0 in time. No shell; the environment holds only what is allowed, and
``HOOKLINE_ENDPOINT``, ``HOOKLINE_ID``, ``HOOKLINE_TIMESTAMP``. Its output is logged, up to a bound. What it leaves
running is ended with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hookline.receiver.errors import ActionFailed
from hookline.receiver.fields import Field
from hookline.receiver.template import Event

OUTPUT_LIMIT = 8192
"""Bytes of output that are logged; the rest is read and dropped, so that a talkative program is not held up."""

_CHUNK = 65536
_LAST_OUTPUT_SECONDS = 1.0  # a child that left the group may hold the pipe open for ever
_DEFAULT_SECONDS = 10
_MOST_SECONDS = 60  # well within a lease

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Script:
    """``command`` is the program (an absolute path) and its arguments; ``seconds`` bounds the whole run."""

    command: tuple[str, ...]
    environment: Mapping[str, str]
    seconds: float

    async def perform(self, event: Event) -> None:
        """Run it. Raises ActionFailed when it can't be started, exits with another code than 0, or takes too long."""
        output = bytearray()
        async with _output(output) as write_end:
            process = await self._start(event, write_end)
            try:
                async with asyncio.timeout(self.seconds):
                    code: int | None = await process.wait()
            except TimeoutError:
                code = None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        log.info(
            "script ended",
            extra={
                "endpoint": event.endpoint,
                "id": event.id,
                "code": code,
                "output": output.decode("utf-8", "replace"),
            },
        )
        if code is None:
            raise ActionFailed(f"the script took longer than {self.seconds:g} s and was ended")
        if code != 0:
            raise ActionFailed(f"the script exited with {code}")

    async def _start(self, event: Event, write_end: int) -> asyncio.subprocess.Process:
        try:
            with tempfile.TemporaryFile() as body:  # not a pipe: the program need not read it
                body.write(event.body)
                body.seek(0)
                return await asyncio.create_subprocess_exec(
                    *self.command,
                    stdin=body,
                    stdout=write_end,
                    stderr=asyncio.subprocess.STDOUT,
                    env={**self.environment, **_about(event)},
                    start_new_session=True,  # one group, so that children can be ended too
                )
        except (OSError, ValueError) as error:  # no program, no room for the body; a NUL in an argument
            raise ActionFailed(f"the script can't be started: {type(error).__name__}") from error
        finally:
            os.close(write_end)


def parse_script(field: Field) -> Script:
    """``{command: [<program>, …], environment: [<name>, …], timeoutSeconds}``. Raises SettingsError."""
    found = field.fields(("command",), ("environment", "timeoutSeconds"))
    command = tuple(item.text() for item in found["command"].items())
    if not Path(command[0]).is_absolute():
        raise found["command"].wrong("its first entry must be the absolute path of a program; no shell looks for it")
    names = [item.text() for item in found["environment"].items()] if "environment" in found else []
    allowed = {name: field.place.environment[name] for name in names if name in field.place.environment}
    seconds = found["timeoutSeconds"].number(1, _MOST_SECONDS) if "timeoutSeconds" in found else _DEFAULT_SECONDS
    return Script(command, allowed, seconds)


def _about(event: Event) -> dict[str, str]:
    return {
        "HOOKLINE_ENDPOINT": event.endpoint,
        "HOOKLINE_ID": event.id,
        "HOOKLINE_TIMESTAMP": str(event.timestamp),
    }


@contextlib.asynccontextmanager
async def _output(output: bytearray) -> AsyncIterator[int]:
    """A pipe to write to, which the body must close; what comes is in ``output`` afterwards, up to the bound.

    Raises ActionFailed when there can be no pipe.
    """
    try:
        read_end, write_end = os.pipe()
    except OSError as error:  # too many open files
        raise ActionFailed(f"the script can't be started: {type(error).__name__}") from error
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    reading = asyncio.create_task(_drain(reader, output))
    try:
        yield write_end
    finally:
        await asyncio.wait({reading}, timeout=_LAST_OUTPUT_SECONDS)
        reading.cancel()
        transport.close()


async def _drain(reader: asyncio.StreamReader, output: bytearray) -> None:
    while chunk := await reader.read(_CHUNK):
        output += chunk[: OUTPUT_LIMIT - len(output)]
