"""Runs a shell block in a directory of its own, with nothing dry.

In: a ``Block`` and a ``Ground``. Out: what bash printed; ``SnippetError`` says what was wrong. ``shim.py`` stands
before some of the programs; the others on PATH are real, and few.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from support import forwarding
from support.snippets.blocks import ROOT, Block

SHIMMED = ("kubectl", "hookline", "kubectl-hookline", "make", "python", "python3", "grep", "pip")
HARMLESS = (
    *("awk", "base64", "basename", "bash", "cat", "chmod", "cp", "curl", "cut", "date", "diff", "dirname", "echo"),
    *("env", "false", "head", "install", "jq", "ls", "mkdir", "mv", "openssl", "printf", "rm", "sed", "seq"),
    *("sha256sum", "sort", "tail", "tee", "test", "touch", "tr", "true", "uniq", "wc", "xargs"),
)
_HIDDEN = frozenset({".git", ".run", ".venv", ".hypothesis", "__pycache__"})
_SECONDS = 100
_SHIM = Path(__file__).with_name("shim.py")


class SnippetError(AssertionError):
    """A snippet is wrong; the message says where and how."""


@dataclass(frozen=True)
class Ground:
    """What snippets stand on: paths of the real programs, a kubeconfig, and a directory for all."""

    kubectl: Path
    helm: Path
    kubeconfig: Path
    scratch: Path
    more: Mapping[str, str] = field(default_factory=dict)

    def environment(self, home: Path) -> dict[str, str]:
        """The whole environment of a block."""
        kubeconfig = home / "kubeconfig"
        if not kubeconfig.exists():
            shutil.copy(self.kubeconfig, kubeconfig)
        return {
            "PATH": str(home / "bin"),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PYTHONUNBUFFERED": "1",  # what comes by two ways comes in order, as on a terminal
            "KUBECONFIG": str(kubeconfig),
            "HELM_CACHE_HOME": str(home / "helm"),
            "DOCS_KUBECTL": str(self.kubectl),
            "DOCS_PYTHON": sys.executable,
            "DOCS_ROOT": str(ROOT),
            "DOCS_PATH": os.environ["PATH"],
            "DOCS_GREP": shutil.which("grep") or "grep",
            **self.more,
        }

    def room(self, name: str, files: Mapping[str, str]) -> Path:
        """A directory with links to the repository's top level, these files, and ``bin``."""
        home = self.scratch / re.sub(r"\W+", "-", name)
        if home.is_dir():
            return home
        (home / "bin").mkdir(parents=True)
        for entry in ROOT.iterdir():
            if entry.name not in _HIDDEN:
                (home / entry.name).symlink_to(entry)
        for program in HARMLESS:
            if found := shutil.which(program):
                (home / "bin" / program).symlink_to(found)
        for program in SHIMMED:
            shim = home / "bin" / program
            shim.write_text(f"#!{sys.executable} -I\n{_SHIM.read_text('utf-8')}", encoding="utf-8")
            shim.chmod(0o755)
        (home / "bin" / "helm").symlink_to(self.helm)
        forwarding.install(home / "forwarding")
        (home / ".venv").mkdir()
        (home / ".venv" / "bin").symlink_to(home / "bin")
        for path, text in files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text, encoding="utf-8")
        return home


def script(block: Block) -> str:
    """What is typed: all of a script; of a console the lines after ``$ `` with those that continue them."""
    if block.language != "console":
        return block.text
    typed: list[str] = []
    more = until = ""
    for line in block.text.splitlines():
        if until:
            typed.append(line)
            until = "" if line.strip() == until else until
        elif more or line.startswith("$ "):
            typed.append(line if more else line[2:])
            more = "more" if line.endswith("\\") else ""
            heredoc = re.search(r"<<-?\s*['\"]?(\w+)", line)
            until = heredoc[1] if heredoc and not more else ""
    if not typed:
        raise SnippetError(f"{block.place}: a console block needs a line that begins with '$ '; output alone is text")
    return "\n".join(typed) + "\n"


def run(
    block: Block,
    ground: Ground,
    files: Mapping[str, str],
    *,
    room: str = "",
    code: int = 0,
    env: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Run a block, which must end with ``code``; returns what a terminal would show. Raises SnippetError.

    ``room`` names a directory that several blocks share.
    """
    home = ground.room(room or str(block), files)
    text = script(block)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eu", "-o", "pipefail", "-c", text],
        cwd=home,
        env={**ground.environment(home), **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != code:
        said = done.stdout[-4500:]
        raise SnippetError(f"{block.place}: the block ended with {done.returncode}:\n{text}\n{said}{_advice(said)}")
    return done.stdout


def looked_at(ground: Ground, room: str) -> list[str]:
    """What was not run in a room, each with the reason."""
    told = ground.room(room, {}) / "looked-at"
    return sorted(set(told.read_text("utf-8").splitlines())) if told.exists() else []


def _advice(said: str) -> str:
    if "command not found" in said:
        return "Such a program is not run here: mark the block with <!-- not run: reason -->."
    return ""
