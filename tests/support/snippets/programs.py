"""Runs snippets in Python, JavaScript, Go and SQL; a receiver gets really signed requests.

In: a ``Block`` and a directory. Out: nothing, or ``SnippetError``. ``whsec_…`` in a snippet becomes a real key, and a
Python snippet finds in ``body`` and ``headers`` a request that this key signed. A receiver is a whole program: it reads
PORT, WEBHOOK_SECRET and WEBHOOK_PUBLIC_KEY from its environment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import interop
from hookline import keys
from hookline.deliver.sign import Signer
from hookline.model import SigningKeys
from support.cluster import eventually
from support.snippets.blocks import Block
from support.snippets.shell import SnippetError

_SECONDS = 120.0
BODY = (
    b'{"specversion":"1.0","id":"msg_1","source":"/clusters/test/apis/apps/v1/namespaces/shop/deployments/orders",'
    b'"type":"dev.hookline.apps.deployment.updated","time":"2026-01-31T12:00:00Z",'
    b'"data":{"operation":"Updated","object":{"metadata":{"name":"orders","namespace":"shop"}}}}'
)
_PRELUDE = """\
import types as _types
body = {body!r}
headers = {headers!r}
request = _types.SimpleNamespace(state=_types.SimpleNamespace(hookline=_types.SimpleNamespace(id={id!r})))
async def app(scope, receive, send): ...
# -- the snippet
"""


class Key:
    """The keys of a run, and requests that they sign."""

    def __init__(self) -> None:
        self._material = SigningKeys((keys.new_hmac(),), (keys.new_ed25519(),))
        self.secret = keys.encode_hmac(self._material.hmac[0])
        self.public = keys.encode_ed25519_public(self._material.ed25519[0])

    def headers(self, age: int = 0, body: bytes = BODY) -> dict[str, str]:
        """The headers of a request that was signed so many seconds ago."""
        now = int(time.time()) - age
        signature = Signer(self._material, ("v1", "v1a")).sign("msg_1", now, body)
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        signed = dict(zip(names, ("msg_1", str(now), signature), strict=True))
        return {"content-type": "application/cloudevents+json; charset=utf-8", **signed}


def run(block: Block, home: Path) -> None:
    """Run a snippet of one of LANGUAGES. Raises SnippetError."""
    home.mkdir(parents=True, exist_ok=True)
    key = Key()
    text = block.text.replace("whsec_…", key.secret).replace("whpk_…", key.public)
    if block.language == "sql":
        with contextlib.closing(sqlite3.connect(":memory:")) as database:
            _sql(block, database, text)
        return
    if block.language == "python" and "receiver" not in block.marks:
        headers = key.headers()
        text = _PRELUDE.format(body=BODY, headers=headers, id=headers["webhook-id"]) + text
    command = COMMANDS[block.language](text, home)
    if "receiver" in block.marks:
        _receive(block, command, home, key)
        return
    done = subprocess.run(command, cwd=home, env=_environment(), capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode != 0:
        raise SnippetError(f"{block.place}: ended with {done.returncode}:\n{done.stderr[-3000:]}")


def _sql(block: Block, database: sqlite3.Connection, text: str) -> None:
    try:
        database.executescript(text)
    except sqlite3.Error as error:
        raise SnippetError(f"{block.place}: {error}") from None


def _python(text: str, home: Path) -> Sequence[str]:
    (home / "snippet.py").write_text(text, encoding="utf-8")
    return [sys.executable, "snippet.py"]


def _javascript(text: str, home: Path) -> Sequence[str]:
    node, verifier = interop.provide("js")
    with contextlib.suppress(FileExistsError):
        (home / "node_modules").symlink_to(Path(verifier).parent / "node_modules")
    name = "snippet.cjs" if "require(" in text else "snippet.mjs"
    (home / name).write_text(text, encoding="utf-8")
    return [node, name]


def _go(text: str, home: Path) -> Sequence[str]:
    interop.provide("go")  # it has the modules fetched
    for name in ("go.mod", "go.sum"):
        shutil.copy(interop.SOURCES / "go" / name, home)
    (home / "main.go").write_text(text, encoding="utf-8")
    build = ["go", "build", "-mod=readonly", "-o", "snippet", "."]
    done = subprocess.run(build, cwd=home, env=_environment(), capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode != 0:
        raise SnippetError(f"go build failed:\n{done.stderr[-3000:]}")
    return ["./snippet"]


COMMANDS = {"python": _python, "js": _javascript, "go": _go}
LANGUAGES = (*COMMANDS, "sql")


def _receive(block: Block, command: Sequence[str], home: Path, key: Key) -> None:
    """Start a receiver, and send: what is right must be taken, what is changed or old must be refused."""
    if "PORT" not in block.text:
        raise SnippetError(f"{block.place}: a receiver listens on the port in the variable PORT")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    given = {"PORT": str(port), "WEBHOOK_SECRET": key.secret, "WEBHOOK_PUBLIC_KEY": key.public}
    with _started(block, command, home, given):
        eventually(lambda: _listens(port), f"{block.place}: the receiver listens on {port}")
        url = f"http://127.0.0.1:{port}{block.marks['receiver'] or '/'}"
        flipped = BODY.replace(b"orders", b"orderz")
        answers = {
            "a signed request": (_post(url, key.headers(), BODY), 200, 300),
            "the same with another body": (_post(url, key.headers(), flipped), 400, 500),
            "one signed an hour ago": (_post(url, key.headers(age=3600), BODY), 400, 500),
        }
    wrong = [f"{what} was answered with {got}" for what, (got, low, high) in answers.items() if not low <= got < high]
    if wrong:
        raise SnippetError(f"{block.place}: {'; '.join(wrong)}")


@contextlib.contextmanager
def _started(block: Block, command: Sequence[str], home: Path, given: Mapping[str, str]) -> Iterator[None]:
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=home, env={**_environment(), **given}, stdout=log, stderr=log)
    try:
        yield
    except AssertionError as error:
        raise SnippetError(f"{error}\n{(home / 'log').read_text('utf-8', 'replace')[-3000:]}") from None
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _post(url: str, headers: Mapping[str, str], body: bytes) -> int:
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def _environment() -> dict[str, str]:
    return os.environ | {"GOWORK": "off", "CGO_ENABLED": "0", "PYTHONWARNINGS": "error"}
