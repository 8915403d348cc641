"""Stands in for a few programs in a snippet's shell: runs the real one, and ends what would never end.

Called under the program's name. In: its arguments, and paths in the environment (``DOCS_…``). Out: what the real
program says, and its exit code. What can't be run here is looked at as far as that goes, and written with the reason
into the file ``looked-at``, which the tests compare with ``tests/docs/not_run.txt``. Needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

HOME = Path(os.environ["HOME"])
_SECONDS = 60.0
_REASONS = {
    "make": "takes minutes, or is what runs this; make --dry-run must know its targets",
    "tests": "a part of make test; its files must be there",
    "script": "takes minutes; its --help must know its options",
    "bare": "takes minutes; it must be there",
    "asks": "asks in a terminal, where tests/cli/test_new.py answers; without one it must name what it would ask",
}


def main(name: str, arguments: list[str]) -> int:
    """Dispatch on the program's name."""
    if name == "kubectl":
        kubectl(arguments)
    if name == "make":
        return make(arguments)
    if name == "grep":
        # A line may be missing today.
        return 0 if subprocess.call([os.environ["DOCS_GREP"], *arguments]) < 2 else 2
    if name == "pip":
        return pip(arguments)
    if name.startswith("python"):
        return python(arguments)
    return hookline(name, arguments)


def kubectl(arguments: list[str]) -> NoReturn:
    """The real one, but that a forwarded port ends at a process: there is no pod."""
    if "port-forward" in arguments:
        pod = next(word.removeprefix("pod/") for word in arguments if word.startswith("pod/"))
        os.environ["FORWARD"] = json.dumps({pod: int(os.environ["DOCS_API_PORT"])})
        program = str(HOME / "forwarding" / "kubectl")
        os.execv(program, [program, *arguments])
    program = os.environ["DOCS_KUBECTL"]
    os.execv(program, [program, *arguments])


def hookline(name: str, arguments: list[str]) -> int:
    """The real one; a stream is ended once it has said something, a server once it listens."""
    command = [str(Path(os.environ["DOCS_PYTHON"]).parent / name), *arguments]
    if "--follow" in arguments:
        return _until(command, signal.SIGINT, r".", sys.stdout.fileno(), 130)
    if arguments[:1] == ["new"] and "--non-interactive" not in arguments:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS)
        # Without a terminal it names what it would have asked for; anything else is a wrong option.
        if done.returncode == 2 and "--watch" in done.stderr:
            return _looked_at("kubectl hookline" if name.startswith("kubectl") else name, arguments, "asks")
        sys.stderr.write(done.stderr)
        return done.returncode or 1
    serves = arguments[:1] == ["run"] or (arguments[:2] == ["receive", "--config"] and "--check" not in arguments)
    if not serves:
        os.execv(command[0], command)
    # What is the world's own operator's is left to it.
    beside = ("--listen-port", "0", "--api-port", "0", "--namespace", "nobody", "--data-dir", str(HOME / "data"))
    more = beside if arguments[0] == "run" else ()
    command[2:2] = [*more, "--log-format", "json"] if more else []
    return _until(command, signal.SIGTERM, r'"port": ?\d+|\blisten', None, 0)


def _until(command: Sequence[str], ending: signal.Signals, words: str, shown: int | None, expected: int) -> int:
    """Run until a line has these words, then end it; 0 when it ended as it should."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    deadline, said = time.monotonic() + _SECONDS, []
    for line in process.stdout:
        said.append(line.decode(errors="replace"))
        if re.search(words, said[-1]) or time.monotonic() > deadline:
            process.send_signal(ending)
            break
    rest, _ = process.communicate(timeout=_SECONDS)
    found = re.search(words, "".join(said))
    if process.returncode != expected or not found:
        sys.stderr.write("".join(said) + rest.decode(errors="replace"))
        return process.returncode or 1
    if shown is not None:
        sys.stdout.write("".join(said))
    return 0


def make(arguments: list[str]) -> int:
    """The Makefile's own shell, not the snippet's: a dry run looks at files and runs nothing."""
    command = ["make", "--dry-run", "--silent", *arguments]
    done = subprocess.run(
        command, env=os.environ | {"PATH": os.environ["DOCS_PATH"]}, capture_output=True, text=True, check=False
    )
    sys.stderr.write(done.stderr)
    return done.returncode or _looked_at("make", arguments, "make")


def pip(arguments: Sequence[str]) -> int:
    """With no index, so that it takes only what all snippets are tested with."""
    command = [os.environ["DOCS_PYTHON"], "-m", "pip", *arguments, "--no-index", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode or int("does not provide the extra" in done.stderr)


def python(arguments: list[str]) -> int:
    """Tests must be there; a script of the repository says whether it knows its options."""
    if arguments[:2] == ["-m", "pytest"]:
        paths = [word.partition("::")[0] for word in arguments[2:] if not word.startswith("-")]
        if missing := [path for path in paths if not Path(path).exists()]:
            sys.stderr.write(f"pytest: there is no {missing[0]}\n")
            return 1
        return _looked_at(".venv/bin/python", arguments, "tests")
    if not arguments or not re.match(r"(tests|hack)/", arguments[0]):
        sys.stderr.write("python: only -m pytest and scripts of the repository are known here\n")
        return 1
    if not Path(arguments[0]).exists():
        sys.stderr.write(f"python: there is no {arguments[0]}\n")
        return 2
    if len(arguments) == 1:
        return _looked_at(".venv/bin/python", arguments, "bare")
    environment = os.environ | {"PATH": os.environ["DOCS_PATH"]}
    command = [os.environ["DOCS_PYTHON"], str(Path(arguments[0]).resolve()), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if unknown := [word for word in arguments[1:] if word.startswith("--") and word not in done.stdout]:
        sys.stderr.write(f"{done.stderr[-1500:]}{arguments[0]} does not know {' '.join(unknown)}\n")
        return done.returncode or 2
    return done.returncode or _looked_at(".venv/bin/python", arguments, "script")


def _looked_at(program: str, arguments: Sequence[str], why: str) -> int:
    with (HOME / "looked-at").open("a", encoding="utf-8") as told:
        told.write(f"{program} {shlex.join(arguments)}: {_REASONS[why]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
