"""What a command prints: tables, objects as JSON or YAML, sentences; colours and progress only for people.

In: values from the cluster, which nobody vouches for. Out: text on stdout, and hints and progress on stderr. Whatever
reaches a terminal is cleaned of control characters: a name or a message must not move the cursor or set the title.
JSON and YAML stay exact: there such a character is written as an escape of the format.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self, TextIO

from hookline.reasons import GROUP

Object = Mapping[str, Any]

# Controls, what is invisible or changes the direction of text (CVE-2021-42574), halves of a pair, private characters,
# line and paragraph separators.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # letters of many scripts, and emoji, are wrong without them
_TAGS = range(0xE0000, 0xE1000)  # a plane of invisible characters, many of them without a category
_STYLES = {"good": "32", "bad": "31", "unsure": "33", "dim": "2", "strong": "1"}


class Styled(NamedTuple):
    """Text of a table's cell with a style: good, bad, unsure, dim or strong."""

    text: str
    style: str


Cell = str | Styled


class Output:
    """Prints in one format. ``wide`` is whether the table has more columns; ``colour`` whether stdout takes colours."""

    def __init__(self, format: str = "table") -> None:  # noqa: A002 (the option's own name)
        self.format = format
        self.colour = takes_colour(sys.stdout)
        self.progress = Progress()

    @property
    def wide(self) -> bool:
        """Whether more columns are wanted."""
        return self.format == "wide"

    @property
    def human(self) -> bool:
        """Whether a table or sentences are wanted, no objects."""
        return self.format in ("table", "wide")

    def say(self, text: str = "") -> None:
        """One line on stdout, cleaned. Lines of a longer text are separate calls."""
        self.progress.clear()
        print(clean(text))

    def paint(self, text: str, style: str) -> str:
        """Cleaned text in a style, where stdout takes colours. For ``show``."""
        return f"\x1b[{_STYLES[style]}m{clean(text)}\x1b[0m" if self.colour and style else clean(text)

    def show(self, text: str = "") -> None:
        """One line on stdout whose parts went through ``paint`` or ``clean`` already."""
        self.progress.clear()
        print(text)

    def note(self, text: str) -> None:
        """A hint for people, on stderr."""
        self.progress.clear()
        print(clean(text), file=sys.stderr)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        """A table as kubectl prints it: three spaces between columns, no lines."""
        table = [[Styled(name, "") for name in columns], *([_styled(cell) for cell in row] for row in rows)]
        widths = [max(width(cell.text) for cell in column) for column in zip(*table, strict=True)]
        for row in table:
            self._row(row, widths)

    def growing(self, columns: Sequence[str]) -> Callable[[Sequence[Cell]], None]:
        """A table whose rows come one by one: call what is returned with each. Columns widen as they must."""
        widths = [width(name) for name in columns]
        head = [Styled(name, "") for name in columns]

        def show(row: Sequence[Cell]) -> None:
            cells = [_styled(cell) for cell in row]
            widths[:] = [max(wide, width(cell.text)) for wide, cell in zip(widths, cells, strict=True)]
            if head:
                self._row(head, widths)
                head.clear()
            self._row(cells, widths)
            sys.stdout.flush()

        return show

    def objects(self, items: Sequence[Object], *, single: bool = False) -> None:
        """Objects as they are, in the format json, yaml or name; several as a List, as kubectl does it."""
        self.progress.clear()
        if self.format == "name":
            for item in items:
                self.name(item)
            return
        items = [shown(item) for item in items]
        self.value(items[0] if single else as_list(items))

    def name(self, item: Object) -> None:
        """Kind and name of one object, as kubectl takes them."""
        print(clean(f"{str(item['kind']).lower()}.{GROUP}/{item['metadata']['name']}"), flush=True)

    def document(self, value: Any) -> None:
        """One of several YAML documents."""
        print(f"---\n{to_yaml(value)}", end="", flush=True)

    def value(self, value: Any, *, line: bool = False) -> None:
        """Any value as JSON (``line``: in one line) or, where the format is yaml, as one YAML document."""
        if self.format == "yaml":
            print(to_yaml(value), end="")
        else:
            print(to_json(value, line=line), flush=line)

    def _row(self, row: Sequence[Styled], widths: Sequence[int]) -> None:
        self.progress.clear()
        cells = []
        for number, (cell, wanted) in enumerate(zip(row, widths, strict=True)):
            gap = "" if number == len(row) - 1 else " " * (wanted - width(cell.text) + 3)
            cells.append(self.paint(cell.text, cell.style) + gap)
        print("".join(cells).rstrip())


class Progress:
    """How far long work is: one line on stderr that is written anew, and nothing where stderr is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._shown = False
        self.on = self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def update(self, text: str) -> None:
        """Show this instead."""
        if self.on:
            columns = _columns(self._stream)
            self._stream.write(f"\r\x1b[K{clean(text)[: columns - 1]}")
            self._stream.flush()
            self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False


def as_list(items: Sequence[Object]) -> Object:
    """Several objects as one, as kubectl has them and takes them."""
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(items)}


def shown(obj: Object) -> Object:
    """The object without ``metadata.managedFields``, which kubectl does not show either."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping) or "managedFields" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "managedFields"}}


def clean(text: object) -> str:
    """Text that is safe on a terminal: each control character is shown as an escape, ESC as a backslash and x1b."""
    told = str(text)
    if told.isascii() and told.isprintable():
        return told
    return "".join(ascii(letter)[1:-1] if _unsafe(letter) else letter for letter in told)


def takes_colour(stream: TextIO) -> bool:
    """Whether the stream is a terminal, and nobody said NO_COLOR (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def to_json(value: Any, *, line: bool = False) -> str:
    """JSON with kubectl's indentation. Exact, and safe on a terminal: what is not printable is escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=None if line else 4)
    # The rest of these characters can only stand within strings, so that an escape means the same.
    return re.sub(r"[^\n\x20-\x7e]", lambda found: _escape(found[0]), text)


def to_yaml(value: Any) -> str:
    """One YAML document, keys in their order. Exact, and safe on a terminal."""
    from hookline.cli.written import dump

    return dump([value], escaped=any(_unsafe(letter) for text in _texts(value) for letter in text if letter != "\n"))


def width(text: str) -> int:
    """The columns that cleaned text takes on a terminal."""
    text = clean(text)
    return sum(
        0 if unicodedata.combining(letter) or letter in _JOINERS else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )


def age(time: str | None, now: float) -> str:
    """How long ago a metav1.Time was, as kubectl says it: ``90s``, ``5m30s``, ``3h``, ``2d``, ``1y20d``."""
    then = instant(time)
    return duration(now - then) if then is not None else "-"


def duration(seconds: float) -> str:
    """Seconds as kubectl says them (k8s.io/apimachinery/pkg/util/duration, HumanDuration)."""
    left = int(max(seconds, 0))
    minutes, hours, days = left // 60, left // 3600, left // 86400
    if left < 120:
        return f"{left}s"
    if minutes < 10:
        return _two(minutes, "m", left % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    years = days // 365
    return _two(years, "y", days % 365, "d") if years < 8 else f"{years}y"


def instant(time: Any) -> float | None:
    """Unix seconds of a metav1.Time; None when it is none."""
    try:
        return datetime.fromisoformat(time).astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def rfc3339(moment: datetime, timespec: str = "milliseconds") -> str:
    """A moment as the API writes it (RFC 3339), in UTC."""
    return moment.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def clock(time: Any) -> str:
    """A metav1.Time for people: ``2026-01-31 12:00:00Z``, always UTC."""
    then = instant(time)
    return "-" if then is None else f"{datetime.fromtimestamp(then, UTC):%Y-%m-%d %H:%M:%S}Z"


def _two(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large}{unit}{small}{smaller}" if small else f"{large}{unit}"


def _styled(cell: Cell) -> Styled:
    return cell if isinstance(cell, Styled) else Styled(str(cell), "")


def _unsafe(letter: str) -> bool:
    hidden = unicodedata.category(letter) in _UNSAFE and letter not in _JOINERS
    return hidden or ord(letter) in _TAGS


def _escape(letter: str) -> str:
    if letter.isprintable() and not _unsafe(letter):
        return letter
    pair = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{pair[at] << 8 | pair[at + 1]:04x}" for at in range(0, len(pair), 2))


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _texts(inner)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80
