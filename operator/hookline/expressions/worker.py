"""One child process as its parent sees it: frames out, frames in, and how it died.

The child gets pipes for input and output, one shared page, and an empty environment: no other descriptor and no secret.
It ends when its input is closed, so also when the parent is killed; in the middle of a text, its own timer ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
import sys
from enum import StrEnum
from typing import cast

from hookline.expressions import child

START_SECONDS = 30.0
_BUFFER = 1 << 20


class Cause(StrEnum):
    """Why a child ended, as in the metric's label."""

    TIME = "time"
    MEMORY = "memory"
    SILENT = "silent"
    CRASH = "crash"


class Death(Exception):
    """A child is gone; ``at`` is the number of the text that it was at, ``child.NONE`` when at none."""

    def __init__(self, cause: Cause, at: int) -> None:
        super().__init__(f"a process for expressions ended ({cause})")
        self.cause = cause
        self.at = at


class Worker:
    """A running child. Make it with ``start``; ask one thing at a time; ``end`` it."""

    def __init__(self, process: asyncio.subprocess.Process, page: mmap.mmap) -> None:
        self._process = process
        self._stdin = cast(asyncio.StreamWriter, process.stdin)  # for there are pipes
        self._stdout = cast(asyncio.StreamReader, process.stdout)
        self._page = page
        # asyncio's own kill() may take the exit code away from asyncio's own wait().
        self._handle = os.pidfd_open(process.pid)

    @classmethod
    async def start(cls, memory: int) -> Worker:
        """Start a child that may take ``memory`` bytes, and wait until it is ready. Raises OSError."""
        descriptor = os.memfd_create("hookline-expressions")
        try:
            os.ftruncate(descriptor, mmap.PAGESIZE)
            page = mmap.mmap(descriptor, mmap.PAGESIZE)
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                child.__file__,
                str(descriptor),
                str(memory),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=_BUFFER,
                env={},
                cwd="/",
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        worker = cls(process, page)
        try:
            await worker._receive(START_SECONDS)
        except BaseException as error:
            await worker.end()
            if isinstance(error, Death):
                raise ChildProcessError(f"a process for expressions does not start ({error.cause})") from None
            raise
        return worker

    async def ask(self, request: bytes, seconds: float) -> bytes:
        """The answer to a request, which must come within so many seconds of wall time.

        Raises Death; then, and when it is cancelled, the child is of no more use and must be ended.
        """
        child.PROGRESS.pack_into(self._page, 0, child.NONE)
        try:
            self._stdin.writelines((child.LENGTH.pack(len(request)), request))
            await self._stdin.drain()
        except OSError:
            raise await self._death() from None
        return await self._receive(seconds)

    async def end(self) -> None:
        """Kill the child, if it lives, and wait until it is gone."""
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            os.close(self._handle)
            self._handle = -1
        self._stdin.close()
        await self._process.wait()
        with contextlib.suppress(OSError):
            await self._stdin.wait_closed()

    async def _receive(self, seconds: float) -> bytes:
        try:
            async with asyncio.timeout(seconds):
                head = await self._stdout.readexactly(child.LENGTH.size)
                return await self._stdout.readexactly(*child.LENGTH.unpack(head))
        except TimeoutError:
            raise Death(Cause.SILENT, self._at()) from None
        except (asyncio.IncompleteReadError, OSError):
            raise await self._death() from None

    async def _death(self) -> Death:
        """Of a child that closed its pipes, which nothing but its end does."""
        code = await self._process.wait()
        cause = {-signal.SIGPROF: Cause.TIME, child.OUT_OF_MEMORY: Cause.MEMORY}.get(code, Cause.CRASH)
        return Death(cause, self._at())

    def _at(self) -> int:
        number: int = child.PROGRESS.unpack_from(self._page)[0]
        return number
