"""The program of the child: compile and evaluate CEL, within limits that kill it.

In: frames on standard input. Out: one frame on standard output for each. It runs by its path, alone, and knows nothing
of Hookline; the parent reads the words of the frames from here. It ends when its input does.

A frame is ``LENGTH`` and as many bytes. What comes in is a marshalled tuple, for objects may be nested deeper than
orjson writes:

- ``(CHECK, seconds, text, boolean)``; the answer is one item, ACCEPTED or REFUSED with the text of the problem.
- ``(EVALUATE, seconds, limit, jobs)``, a job being ``(marshalled variables, [(text, boolean), …])``; the answer is an
  item for each text, in order. It may end early, when TURN_SECONDS are over: the parent asks again for the rest.

An item is ``ITEM`` (its tag, the length, two times) and as many bytes. The times are seconds of processor time: what
the text itself took, and that with all that was done for it: compiling, and its part of reading the object.

Limits: the kernel ends the process by SIGPROF when one text takes more than ``seconds`` of processor time, and refuses
memory above what the parent said, which ends it as well. Before each text its number goes to the shared page, so that
the parent knows whose fault it was.

Backed by Google's cel-cpp (``cel-expr-python``): typed errors with positions, bounded recursion and iterations.
Extensions: strings, optionals, bindings. No function does I/O.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import re
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

LENGTH = struct.Struct("<I")
ITEM = struct.Struct("<cIff")
PROGRESS = struct.Struct("<i")
NONE = -1
"""What the shared page says while no text is at work."""

CHECK, EVALUATE = "check", "evaluate"
ACCEPTED, REFUSED = b"A", b"R"
TRUE, FALSE, JSON = b"T", b"F", b"J"
FAILED, NOT_ENCODABLE, TOO_LARGE, SLOW = b"E", b"N", b"L", b"S"

OUT_OF_MEMORY = 77
"""The exit code when the memory does not suffice."""
TURN_SECONDS = 0.02
MESSAGE_LIMIT = 300
PROGRAMS_LENGTH = 512 * 1024
"""Compiled texts are kept up to so many characters; they take 100 to 200 bytes of memory for each."""

_POSITION = re.compile(r"<input>:(\d+):(\d+): ([^\n]*)")
_SCANNED = 64 * 1024  # of a compiler's message, which may have any length


class Child:
    """Answers requests. ``note`` is told the number of the text at work."""

    def __init__(self, note: Callable[[int], None]) -> None:
        import orjson
        from cel_expr_python import cel
        from cel_expr_python.ext import ext_bindings, ext_optional, ext_strings

        self._cel = cel
        # CEL's maps have another order in each process: sorted, the same value has the same bytes everywhere.
        self._dumps: Callable[[Any], bytes] = partial(
            orjson.dumps, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SORT_KEYS
        )
        self._environment = cel.NewEnv(
            variables={
                "object": cel.Type.DYN,
                "oldObject": cel.Type.DYN,
                "operation": cel.Type.STRING,
                "source": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
            },
            extensions=[ext_optional.ExtOptional(), ext_strings.ExtStrings(), ext_bindings.ExtBindings()],
        )
        self._note = note
        self._programs: dict[str, Any] = {}
        self._length = 0

    def answer(self, frame: bytes) -> bytes:
        """The answer to a frame's content."""
        kind, seconds, *rest = marshal.loads(frame)  # noqa: S302 (of the parent alone)
        try:
            return self._check(seconds, *rest) if kind == CHECK else self._evaluate(seconds, *rest)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _check(self, seconds: float, text: str, boolean: bool) -> bytes:
        self._begin(0, seconds)
        try:
            kind = self._environment.compile(text).return_type()
        except RuntimeError as error:
            return _item((REFUSED, positioned(str(error)[:_SCANNED])))
        if boolean and kind not in (self._cel.Type.BOOL, self._cel.Type.DYN):
            return _item((REFUSED, f"must be true or false, but this yields {str(kind)[:MESSAGE_LIMIT]}"))
        return _item((ACCEPTED, ""))

    def _evaluate(self, seconds: float, limit: int, jobs: list[tuple[bytes, list[tuple[str, bool]]]]) -> bytes:
        items: list[bytes] = []
        size, number = 0, 0
        last = time.process_time()
        until = last + TURN_SECONDS
        for packed, texts in jobs:
            self._note(NONE)
            signal.setitimer(signal.ITIMER_PROF, 0)
            activation = self._environment.Activation(marshal.loads(packed))  # noqa: S302
            before, last = last, time.process_time()
            reading = (last - before) / len(texts)
            for text, boolean in texts:
                program = self._program(number, text, seconds)
                begun = self._begin(number, seconds)
                outcome = self._outcome(program, activation, limit, boolean=boolean)
                before, last = last, time.process_time()
                if last - begun > seconds:
                    outcome = SLOW, f"{(last - begun) * 1000:.0f}"
                items.append(_item(outcome, last - begun, last - before + reading))
                size += len(items[-1])
                number += 1
                if last > until or size > limit:
                    return b"".join(items)
        return b"".join(items)

    def _begin(self, number: int, seconds: float) -> float:
        """Give the text of this number its time from now on. Returns the processor time now."""
        self._note(number)
        signal.setitimer(signal.ITIMER_PROF, max(seconds, 0.001))
        return time.process_time()

    def _program(self, number: int, text: str, seconds: float) -> Any:
        program = self._programs.get(text)
        if program is None:
            self._begin(number, seconds)
            program = self._environment.compile(text)
            if self._length + len(text) > PROGRAMS_LENGTH:
                self._programs.clear()
                self._length = 0
            self._programs[text] = program
            self._length += len(text)
        return program

    def _outcome(self, program: Any, activation: Any, limit: int, *, boolean: bool) -> tuple[bytes, str | bytes]:
        types: Any = self._cel.Type
        try:
            value = program.eval(activation)
        except RuntimeError as error:  # the budget of iterations or recursion
            return FAILED, _first_line(str(error))
        kind = value.type()
        if kind == types.ERROR:
            return FAILED, _first_line(str(value.value()))
        if boolean:
            if kind != types.BOOL:
                return FAILED, f"the expression yields {kind}, not true or false"
            return (TRUE if value.value() else FALSE), ""
        try:
            plain = value.plain_value()
        except (RuntimeError, TypeError, ValueError) as error:
            return FAILED, f"the result is no JSON: {str(error)[:MESSAGE_LIMIT]}"
        try:
            encoded = self._dumps(plain)
        except (TypeError, RecursionError) as error:
            return NOT_ENCODABLE, str(error)[:MESSAGE_LIMIT]
        return (JSON, encoded) if len(encoded) <= limit else (TOO_LARGE, str(len(encoded)))


def positioned(text: str) -> str:
    """``line 1, column 13: Syntax error: …`` for each problem that the compiler names."""
    found = [f"line {line}, column {column}: {what}" for line, column, what in _POSITION.findall(text)]
    return ("; ".join(found) or _first_line(text))[:MESSAGE_LIMIT]


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:MESSAGE_LIMIT]


def _item(outcome: tuple[bytes, str | bytes], own: float = 0.0, whole: float = 0.0) -> bytes:
    tag, content = outcome
    raw = content.encode(errors="replace") if isinstance(content, str) else content
    return ITEM.pack(tag, len(raw), own, whole) + raw


def _confine(memory: int) -> None:
    """Let this process have ``memory`` bytes beyond what it has now, and be the first that the kernel ends."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * mmap.PAGESIZE + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(page: int, memory: int) -> None:
    """Answer until the input ends. ``page`` is the descriptor of the shared page, ``memory`` the limit in bytes."""
    shared = mmap.mmap(page, mmap.PAGESIZE)
    os.close(page)
    child = Child(lambda number: PROGRESS.pack_into(shared, 0, number))
    _confine(memory)
    with open(0, "rb") as source, open(1, "wb", buffering=0) as target:
        answer = b""  # a first frame, empty, says that it is ready
        while True:
            rest = memoryview(LENGTH.pack(len(answer)) + answer)
            while rest:
                rest = rest[target.write(rest) :]
            head = source.read(LENGTH.size)
            if len(head) < LENGTH.size:
                return
            answer = child.answer(source.read(*LENGTH.unpack(head)))


if __name__ == "__main__":
    try:
        main(*map(int, sys.argv[1:]))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
