"""Stands in for a program in a snippet's shell: checks the command against the real one, and changes nothing.

Called under the program's name. In: its arguments, and paths in the environment (``DOCS_…``). Out: what the real
program says, or nothing; the exit code tells whether the command could be right. With ``DOCS_REAL`` kubectl and helm do
what they are told. Needs the standard library alone, for it starts once for each command.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REAL = bool(os.environ.get("DOCS_REAL"))
_WRITES = frozenset(
    {"create", "apply", "annotate", "label", "patch", "delete", "scale", "set", "replace", "run", "expose", "autoscale"}
)
_DRAINS = frozenset({"cordon", "uncordon", "drain", "taint"})
_ABSENT = re.compile(
    r"error from server \((NotFound|AlreadyExists)\)|no matching resources found|"
    r"\bnot found$|timed out waiting for the condition|Metrics API not available|No resources found|"
    r"unable to forward port|release: not found|has no deployed releases",
    re.MULTILINE | re.IGNORECASE,
)
_WRONG = re.compile(
    r"the server doesn't have a resource type|unknown (shorthand )?flag|unknown command|unable to parse"
)
_SECONDS = 60


def main(name: str, arguments: list[str]) -> int:
    """Dispatch on the program's name."""
    if name == "kubectl":
        return kubectl(arguments)
    if name == "helm":
        return helm(arguments)
    if name == "hookline":
        return hookline("hookline", arguments)
    if name == "make":
        # The Makefile's own shell, not the snippet's: `make -n` looks at files and runs nothing.
        target = ["make", "--dry-run", "--silent", *arguments]
        done = subprocess.run(
            target, env=os.environ | {"PATH": os.environ["DOCS_PATH"]}, capture_output=True, text=True
        )
        sys.stderr.write(done.stderr)
        return done.returncode
    if name == "curl":
        return curl(arguments)
    if name == "grep":
        return 0 if subprocess.call([os.environ["DOCS_GREP"], *arguments]) < 2 else 2  # a line may be missing today
    if name in ("pip", "npm", "go"):
        return packages(name, arguments)
    return python(arguments)


def kubectl(arguments: list[str]) -> int:
    """Run it as a dry run where it would write; what is not there may be missing."""
    words = [word for word in _bare(arguments) if not word.startswith("-")]
    verb = words[0] if words else ""
    if verb == "hookline":
        return hookline("kubectl hookline", [item for item in arguments if item != "hookline"])
    if REAL and (words[:2] == ["rollout", "status"] or verb == "logs"):
        return 0  # a pod runs on a node, and there is none
    if REAL:
        return subprocess.call([os.environ["DOCS_KUBECTL"], *arguments])
    for namespace in _namespaces(arguments) if verb in _WRITES else ():
        _call("create", "namespace", namespace)
    arguments = [item for item in arguments if item not in ("-w", "--watch", "-f") or (item == "-f" and verb != "logs")]
    arguments = [re.sub(r"^--timeout=.*", "--timeout=0s", item) for item in arguments]
    if verb == "wait" and not any(item.startswith("--timeout") for item in arguments):
        arguments.append("--timeout=0s")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    writes = (verb in _WRITES and words[1:2] != ["token"]) or verb in _DRAINS or words[:2] == ["rollout", "undo"]
    if writes and not any(item.startswith("--dry-run") for item in arguments):
        arguments.insert(end, "--dry-run=server")
    done = _call(*arguments)
    if words[:2] == ["auth", "can-i"] and done.stdout.strip() == "no":
        return 0
    return _judge(done)


def helm(arguments: list[str]) -> int:
    """Render instead of installing; look at what there is, which may be nothing."""
    program = os.environ["DOCS_HELM"]
    if not REAL and arguments[:1] == ["upgrade"] and "--install" not in arguments:
        arguments = [*arguments, "--install"]
    if not REAL and arguments[:1] in (["install"], ["upgrade"]):
        arguments = [*arguments, "--dry-run=client", "--take-ownership"]
    elif not REAL and arguments[:1] in (["uninstall"], ["rollback"]):
        arguments = [*arguments, "--dry-run"]
    return _judge(_run(program, *arguments))


def hookline(program: str, arguments: list[str]) -> int:
    """The real parsers read the command line; nothing is run."""
    command = [os.environ["DOCS_PYTHON"], "-m", "support.snippets.parsing", program, *arguments]
    return subprocess.call(command, env=os.environ | {"PYTHONPATH": os.environ["DOCS_PYTHONPATH"]})


def curl(arguments: list[str]) -> int:
    """Its options must exist; nothing is asked for."""
    program = os.environ.get("DOCS_CURL")
    if not program:
        return 0
    known = set(re.findall(r"(?<!\S)(--[a-z0-9.-]+|-[A-Za-z0-9#:])(?=[, ])", _run(program, "--help", "all").stdout))
    for argument in arguments:
        options = [f"-{letter}" for letter in argument[1:]] if re.match(r"-[A-Za-z]", argument) else [argument]
        for option in options:
            if option.startswith("-") and option != "-" and option not in known:
                return _wrong(f"curl: option {option}: is unknown", 2)
            if option in ("-H", "-o", "-d", "-X", "-u", "-m", "-w"):
                break
    return 0


def packages(name: str, arguments: Sequence[str]) -> int:
    """What a page tells to install must be what its snippets are tested with; nothing is installed."""
    if arguments[:2] == ["mod", "init"]:
        return 0
    if arguments[:1] not in (["install"], ["get"]):
        return _wrong(f"{name} {' '.join(arguments)}: only installing is known here", 2)
    interop = Path("tests", "support", "interop")
    known = {"npm": interop / "js" / "package.json", "go": interop / "go" / "go.mod"}.get(
        name, Path("requirements.lock")
    )
    text, extras = known.read_text("utf-8"), Path("pyproject.toml").read_text("utf-8")
    for package in (item.partition("@")[0] for item in arguments[1:] if not item.startswith("-")):
        base, _, extra = package.rstrip("]").partition("[")
        if base == "hookline" and (not extra or f"\n{extra} = [" in extras):
            continue
        if not re.search(rf"(^|[\s\"]){re.escape(base.lower())}($|[\s\"=<>~])", text, re.MULTILINE):
            return _wrong(f"{name}: no snippet is tested with {package}: {known} has it not", 1)
    return 0


def python(arguments: Sequence[str]) -> int:
    """The module, the script, and the tests that are named must be there."""
    paths = [
        item.partition("::")[0] for item in arguments if re.match(r"(tests|hack|operator|docs|crds|charts)\b", item)
    ]
    if arguments[:1] == ["-m"]:
        sys.path.insert(0, "tests")
        if importlib.util.find_spec(arguments[1].partition(".")[0]) is None:
            return _wrong(f"python: there is no module {arguments[1]}", 1)
    elif not paths or arguments[0] != paths[0]:
        return _wrong("python: only -m and scripts of the repository are known here", 1)
    missing = [path for path in paths if not Path(path).exists()]
    return _wrong(f"python: there is no {missing[0]}", 1) if missing else 0


def _wrong(text: str, code: int) -> int:
    sys.stderr.write(f"{text}\n")
    return code


def _bare(arguments: Sequence[str]) -> list[str]:
    """Without the values of options that stand before the verb, and without what follows ``--``."""
    bare, skip = [], False
    for argument in arguments:
        if argument == "--":
            break
        if not skip:
            bare.append(argument)
        skip = not skip and argument in ("-n", "--namespace", "--context", "--kubeconfig")
    return bare


def _namespaces(arguments: Sequence[str]) -> set[str]:
    """Those that a command writes to: by option, and in the files that it names."""
    found = set()
    for number, argument in enumerate(arguments):
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        if argument in ("-n", "--namespace"):
            found.add(following)
        elif argument.startswith("--namespace="):
            found.add(argument.partition("=")[2])
        elif argument in ("-f", "--filename") and Path(following).is_file():
            found |= set(re.findall(r"^ *namespace: ([a-z0-9-]+)$", Path(following).read_text("utf-8"), re.MULTILINE))
    return found


def _call(*arguments: str) -> subprocess.CompletedProcess[str]:
    return _run(os.environ["DOCS_KUBECTL"], *arguments)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    waits = sys.stdin if not sys.stdin.isatty() else subprocess.DEVNULL
    return subprocess.run(command, stdin=waits, capture_output=True, text=True, timeout=_SECONDS, check=False)


def _judge(done: subprocess.CompletedProcess[str]) -> int:
    sys.stdout.write(done.stdout)
    absent = _ABSENT.search(done.stderr) and not _WRONG.search(done.stderr)
    if done.returncode and not (absent and not REAL):
        sys.stderr.write(done.stderr)
        return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name.partition("3")[0], sys.argv[1:]))
