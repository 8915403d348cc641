"""``hookline verify``: check a saved request from the shell, as its receiver would.

In: headers (a file of ``name: value`` lines), the exact body (a file, or stdin), keys from files or a key set.
Out: one line and an exit code.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from hookline.cli.arguments import Parser
from hookline.errors import SettingsError, VerificationError
from hookline.receiver.jwks import keys_from_jwks
from hookline.receiver.verifier import TOLERANCE_SECONDS, Verifier


def configure(parser: Parser) -> None:
    """The request, the keys, the tolerance."""
    parser.description = "Check the signature of a saved request."
    parser.add_argument("--headers", type=Path, required=True, help="file with the request's headers, one a line")
    parser.add_argument("--body", default="-", help="file with the exact bytes of the body (default: stdin)")
    parser.add_argument(
        "--key-file",
        type=Path,
        action="append",
        default=[],
        help="file with a whsec_ or whpk_ key; may be repeated (a flag would show the key in the process list)",
    )
    parser.add_argument(
        "--jwks",
        type=Path,
        action="append",
        default=[],
        help="file with a JSON Web Key Set, as the sender publishes at /.well-known/jwks.json; may be repeated",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE_SECONDS,
        help="seconds that the timestamp may be off (default: 300)",
    )
    parser.set_defaults(run=verify)


def verify(options: Namespace) -> int:
    """Returns 0 when a signature matches, 1 when none does. Raises SettingsError (a malformed key) and OSError."""
    keys = [_key(path) for path in options.key_file]
    keys += [key for path in options.jwks for key in _published(path)]
    body = sys.stdin.buffer.read() if options.body == "-" else Path(options.body).read_bytes()
    try:
        verified = Verifier(keys, options.tolerance).verify(_headers(options.headers.read_bytes()), body)
    except VerificationError as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"verified: {verified.id}")
    return 0


def _published(path: Path) -> tuple[str, ...]:
    try:
        return keys_from_jwks(json.loads(path.read_bytes()))
    except ValueError:
        raise SettingsError(f"{path}: it is no JSON") from None
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def _key(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: it is no key; it must hold whsec_ or whpk_ and base64") from None


def _headers(saved: bytes) -> list[tuple[str, str]]:
    # As a server reads them: lines end at \n only, each byte is a character, and what is there twice stays so.
    pairs = (line.decode("latin-1").partition(":") for line in saved.split(b"\n") if b":" in line)
    return [(name.strip(" \t"), value.strip(" \t\r")) for name, _, value in pairs]
