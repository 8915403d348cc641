"""``hookline outbox check|list|export``: what is in the outbox of a stopped operator, for its human.

In: the operator's data directory, which is only read. Out: findings, a table, JSON or YAML, JSON lines with bodies. The
outbox holds no keys, no URLs and no credentials; bodies are what tenants send, so ``export`` is for who may see that.
"""

from __future__ import annotations

import base64
import json
import os
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hookline.cli.arguments import Parser, add_output, number
from hookline.cli.output import Output
from hookline.outbox.sealing import Sealing, read_keys
from hookline.outbox.sqlite_inspect import STATES, Entry, Inspector, Wanted

LIMIT = 100
_COLUMNS = ("STATE", "SUBSCRIPTION", "ID", "TYPE", "ATTEMPTS", "REASON", "CODE", "STORED", "DUE")
_TIMES = ("observed", "stored", "due", "finished")


def configure(parser: Parser) -> None:
    """The commands check, list and export."""
    place = Parser(add_help=False)
    place.add_argument(
        "--data-dir",
        type=Path,
        default=Path(os.environ.get("HOOKLINE_DATA_DIR", "data")),
        help="the operator's data directory (default: data; env: HOOKLINE_DATA_DIR)",
    )
    place.add_argument(
        "--outbox-key-file",
        default=os.environ.get("HOOKLINE_OUTBOX_KEY_FILE", ""),
        metavar="FILE",
        help="the operator's key file, where bodies are sealed (default: none; env: HOOKLINE_OUTBOX_KEY_FILE)",
    )
    choice = Parser(add_help=False, parents=[place])
    choice.add_argument("--state", choices=tuple(STATES), help="only messages in this state")
    choice.add_argument("--subscription", metavar="UID", help="only messages of the subscription with this uid")
    parser.description = "Look into the outbox of a stopped operator. Nothing is changed."
    parser.set_defaults(run=outbox)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser("check", parents=[place], help="check the file and what must hold in it")
    check.set_defaults(command=_check)
    listing = commands.add_parser("list", parents=[choice], help="list messages, the oldest first")
    listing.add_argument("--limit", type=number, default=LIMIT, help=f"at most so many (default: {LIMIT}; 0: all)")
    add_output(listing, ("table", "json", "yaml"))
    listing.set_defaults(command=_list)
    export = commands.add_parser("export", parents=[choice], help="write messages with their bodies as JSON lines")
    export.add_argument("--limit", type=number, default=0, help="at most so many (default: 0: all)")
    export.set_defaults(command=_export)


def outbox(options: Namespace) -> int:
    """Returns 0, or 1 when ``check`` found something.

    Raises StoreError (StoreInUse while the operator runs), and SettingsError for a key file that can't be used.
    """
    sealing = Sealing(read_keys(options.outbox_key_file))
    with Inspector(options.data_dir / "outbox.db", sealing) as inspector:
        command: Callable[[Inspector, Namespace], int] = options.command
        return command(inspector, options)


def _check(inspector: Inspector, _: Namespace) -> int:
    wrong = inspector.check()
    for text in wrong:
        print(text)
    print(f"{len(wrong)} findings" if wrong else "ok")
    return 1 if wrong else 0


def _list(inspector: Inspector, options: Namespace) -> int:
    entries = inspector.entries(_wanted(options))
    out = Output(options.output)
    if out.human:
        out.table(_COLUMNS, [_cells(entry) for entry in entries])
    else:
        out.value([_plain(entry) for entry in entries])
    return 0


def _export(inspector: Inspector, options: Namespace) -> int:
    for entry, headers, body in inspector.contents(_wanted(options)):
        try:
            content = {"body": body.decode()}
        except UnicodeDecodeError:
            content = {"bodyBase64": base64.b64encode(body).decode()}
        print(json.dumps({**_plain(entry), "headers": headers, **content}, ensure_ascii=False))
    return 0


def _wanted(options: Namespace) -> Wanted:
    return Wanted(options.state, options.subscription, options.limit or None)


def _plain(entry: Entry) -> dict[str, Any]:
    """An entry for JSON and YAML: camelCase keys as in the API, times as RFC 3339."""
    fields = {
        key: _time(value) if key in _TIMES and value is not None else value for key, value in asdict(entry).items()
    }
    return {_camel(key): value for key, value in fields.items()}


def _camel(key: str) -> str:
    first, *others = key.split("_")
    return first + "".join(word.capitalize() for word in others)


def _cells(entry: Entry) -> tuple[str, ...]:
    return (
        entry.state,
        entry.subscription,
        entry.id,
        entry.type,
        str(entry.attempts),
        entry.reason or "-",
        str(entry.status_code or "-"),
        _time(entry.stored),
        _time(entry.due) if entry.due is not None else "-",
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
