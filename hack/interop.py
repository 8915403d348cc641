"""Programs that verify our signatures with the official Standard Webhooks library of their language.

In: the sources in ``tests/support/interop``, each with a lock file, and the language's toolchain on PATH. Out: a
command to run, built once per content of the sources into the user's cache; ``Unavailable`` without a toolchain.
A file of requests has a line for each, with tabs between id, timestamp, signature, secrets and public keys (each list
with spaces between), and the body in base64. ``counts`` runs a command on such a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from controlplane.directories import cache, locked

SOURCES = Path(__file__).resolve().parent.parent / "tests" / "support" / "interop"
_BUILD_SECONDS = 600.0
_RUN_SECONDS = 120.0

_TOOLS = {"js": ("npm", "Node.js 20"), "go": ("go", "Go 1.24"), "rust": ("cargo", "Rust 1.85")}
_BUILDS = {
    "js": ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    "go": ["go", "build", "-mod=readonly", "-trimpath", "-o", "verify", "."],
    "rust": ["cargo", "build", "--release", "--locked", "--quiet"],
}
_COMMANDS = {"js": ["node", "{}/verify.js"], "go": ["{}/verify"], "rust": ["{}/target/release/verify"]}
LANGUAGES = tuple(_BUILDS)
_UNREACHED = re.compile(
    r"could(n't| not) resolve host|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|dial tcp|no such host", re.IGNORECASE
)


class Unavailable(Exception):
    """There is no toolchain for this language here; the message says what to install."""


class InteropError(Exception):
    """A verifier can't be built, or it failed; the message has the end of what it said."""


def provide(language: str) -> list[str]:
    """The command of the verifier in ``language``, one of LANGUAGES; builds it when the cache has none.

    Raises Unavailable, InteropError.
    """
    tool, what = _TOOLS[language]
    if not _works(tool):
        raise Unavailable(f"no {tool} that runs: the official {language} library needs {what} or newer")
    home = _cache() / f"{language}-{_digest(SOURCES / language)}"
    home.parent.mkdir(parents=True, exist_ok=True)
    with locked(home.parent):
        if not home.is_dir():
            partial = home.with_name(f".{home.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(SOURCES / language, partial)
            try:
                _run(_BUILDS[language], partial, _BUILD_SECONDS)
            except InteropError as error:
                if _UNREACHED.search(str(error)):
                    raise Unavailable(f"the registry of the {language} library is not reached: {error}") from None
                raise
            partial.rename(home)
    return [part.format(home) for part in _COMMANDS[language]]


def counts(command: Sequence[str], requests: Path) -> dict[str, int]:
    """How many ``requests`` were read, and how many of them each scheme (``v1``, ``v1a``) verified. InteropError."""
    answer: dict[str, int] = json.loads(_run([*command, str(requests)], requests.parent, _RUN_SECONDS))
    return answer


def _works(tool: str) -> bool:
    """Whether a tool is there and runs: one of rustup's stand-ins has no toolchain behind it for a new user."""
    asked = [tool, "version" if tool == "go" else "--version"]
    return shutil.which(tool) is not None and subprocess.run(asked, capture_output=True, check=False).returncode == 0


def _run(command: Sequence[str], directory: Path, seconds: float) -> str:
    environment = os.environ | {"GOWORK": "off", "CGO_ENABLED": "0"}
    # The verifier belongs where it is looked for, whatever this user has Cargo do elsewhere.
    environment.pop("CARGO_TARGET_DIR", None)
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode != 0:
        raise InteropError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _cache() -> Path:
    return cache("interop")


def _digest(directory: Path) -> str:
    """A short name for the content of all files."""
    content = hashlib.sha256()
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        content.update(str(path.relative_to(directory)).encode() + b"\0" + path.read_bytes() + b"\0")
    return content.hexdigest()[:16]
