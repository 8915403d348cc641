"""``hookline receive``: run the receiving server, or make a new endpoint for it.

In: ``--config receive.yaml``, or ``new-endpoint NAME``. Out: a server until SIGTERM or SIGINT; or, on stdout, YAML that
says what to put where.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
from argparse import Namespace
from pathlib import Path

import yaml

from hookline import keys
from hookline.cli.arguments import Parser
from hookline.errors import SettingsError
from hookline.observe.logs import configure as configure_logs
from hookline.receiver.config import Config, parse
from hookline.receiver.server import Server

_NAME = r"[a-z0-9]([a-z0-9-]{0,48}[a-z0-9])?"  # it becomes the name of a Secret too
_URL = r"https://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?"

_NEW_ENDPOINT = """\
# 1. On the receiver: write this line to {name}.key, readable by the server only (chmod 600):
#      {key}
#    and add this to receive.yaml:
endpoints:
- name: {name}
  path: {path}
  keys:
  - file: {name}.key
  actions: []  # what to do: insert, script, email or forward
---
# 2. In the cluster: keep the address and the key in a Secret (kubectl apply). Both are secrets; commit neither.
apiVersion: v1
kind: Secret
metadata:
  name: {name}-webhook
type: Opaque
stringData:
  url: {url}
  v1: {key}
---
# 3. In the subscription:
spec:
  destination:
    urlFrom:
      secretKeyRef: {{name: {name}-webhook, key: url}}
  signing:
    secretName: {name}-webhook
    schemes: [v1]
"""


def configure(parser: Parser) -> None:
    """The configuration, or the command new-endpoint."""
    parser.description = "Receive signed requests and act on each once."
    parser.add_argument("--config", type=Path, help="receive.yaml; see docs/receiving.md")
    parser.add_argument("--check", action="store_true", help="only check the configuration")
    parser.add_argument("--log-format", choices=("auto", "json", "text"), default="auto")
    parser.set_defaults(run=receive)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    new = commands.add_parser("new-endpoint", help="make a path and a key", description="Make a path and a key.")
    new.add_argument("name", help="lower-case letters, digits and -")
    new.add_argument("--url", default="https://hooks.example.com", help="what stands before the path")
    new.set_defaults(run=_new_endpoint)


def receive(options: Namespace) -> int:
    """Returns 0 when it was told to stop. Raises SettingsError and OSError."""
    if options.config is None:
        raise SettingsError("--config: give a receive.yaml, or the command new-endpoint; see --help")
    config = load(options.config)
    if options.check:
        print(f"{options.config}: ok")
        return 0
    configure_logs("info", options.log_format)
    asyncio.run(_serve(config))
    return 0


def load(path: Path) -> Config:
    """The configuration in a file. Raises SettingsError and OSError."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}: it is no YAML{where}") from None
    try:
        return parse(document, path.parent, os.environ)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = Server(config)
    try:
        await server.start()
        await stop.wait()
    finally:
        await server.stop()


def _new_endpoint(options: Namespace) -> int:
    if not re.fullmatch(_NAME, options.name):
        raise SettingsError("NAME: it must be up to 50 lower-case letters, digits and -")
    if not re.fullmatch(_URL, options.url):
        raise SettingsError("--url: it must be https://<host>, with a port or a path if need be")
    path = f"/{secrets.token_urlsafe(32)}"
    key = keys.encode_hmac(keys.new_hmac())
    print(_NEW_ENDPOINT.format(name=options.name, path=path, url=options.url.rstrip("/") + path, key=key), end="")
    return 0
