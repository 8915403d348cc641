"""Claims about log lines: what is in them, what never is, and that nobody can forge one."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import kopf
import pytest
from kopf._core.actions.loggers import LocalObjectLogger

import hookline
from hookline.errors import ApiError, HooklineError
from hookline.observe import logs, shown
from support.loglines import faults, schema

SOURCES = Path(hookline.__file__).parent
HOSTILE = 'a\nb"} {"level": "info"\r\u2028\u202e\x1b[31m\x00\ud800\udfff é'
log = logging.getLogger("hookline.test")


class Log:
    """What was written so far."""

    def __init__(self, stream):
        self.stream = stream

    @property
    def lines(self):
        text = self.stream.getvalue()
        assert text.endswith("\n") or not text
        return text.split("\n")[:-1]

    @property
    def last(self):
        assert faults(self.lines) == []
        return json.loads(self.lines[-1])


@pytest.fixture
def written(monkeypatch):
    """``written(level, style)`` configures the log, and gives what is written; afterwards all is as it was."""
    root, ours = logging.getLogger(), logging.getLogger("hookline")
    before = root.handlers[:], root.level, ours.level
    for hook in ("excepthook", "unraisablehook"):
        monkeypatch.setattr(sys, hook, getattr(sys, hook))
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def configure(level="debug", style="json"):
        stream = io.StringIO()
        logs.configure(level, style, stream)
        return Log(stream)

    yield configure
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.captureWarnings(False)


def broken():
    raise ValueError("s3cret")


def test_a_line_has_time_level_logger_message_and_the_fields_of_the_call(written):
    lines = written()
    log.info("sent %d", 3, extra={"subscription": "shop/orders", "attempt": 2, "duration": 0.25, "uid": None})
    line = lines.last
    assert line.pop("time").endswith("Z")
    fields = {"subscription": "shop/orders", "attempt": 2, "duration": 0.25}
    assert line == {"level": "info", "logger": "hookline.test", "message": "sent 3"} | fields


@pytest.mark.parametrize("place", ["message", "argument", "field", "logger", "cause"])
@pytest.mark.parametrize("style", ["json", "text"])
def test_whatever_a_text_holds_it_stays_within_its_line(written, place, style):
    lines = written(style=style)
    calls = {
        "message": lambda: log.warning(HOSTILE),
        "argument": lambda: log.warning("x %s", HOSTILE),
        "field": lambda: log.warning("x", extra={"subscription": HOSTILE}),
        "logger": lambda: logging.getLogger("hookline." + HOSTILE).warning("x"),
        "cause": lambda: log.warning("x: %s", ApiError(500, HOSTILE)),
    }
    calls[place]()
    (line,) = lines.lines
    assert line.isprintable()
    if style == "json":
        assert line.isascii()
        assert faults([line]) == []


def test_without_the_formatters_the_same_text_makes_lines_of_its_own():
    """The control."""
    record = logging.makeLogRecord({"msg": HOSTILE, "name": "hookline.test"})
    assert len(logging.Formatter().format(record).splitlines()) > 1


def test_a_traceback_is_one_line_and_says_where_but_not_with_what(written):
    lines = written()
    try:
        try:
            broken()
        except ValueError as error:
            raise ApiError(503, "the API server is busy") from error
    except ApiError:
        log.exception("it failed")
    text = lines.last["exception"]
    assert "in broken" in text
    assert text.index("ValueError") < text.index("ApiError: 503: the API server is busy")
    assert "s3cret" not in text.replace('raise ValueError("s3cret")', "")


def test_the_standard_traceback_shows_the_value():
    """The control."""
    try:
        broken()
    except ValueError:
        record = logging.makeLogRecord({"exc_info": sys.exc_info()})
    assert "ValueError: s3cret" in logging.Formatter().format(record)


def test_a_group_of_errors_and_a_chain_without_end_are_shown_within_bounds(written):
    lines = written()
    errors = [HooklineError(f"part {number}") for number in range(3)]
    first = HooklineError("first")
    first.__cause__ = HooklineError("second")
    first.__cause__.__cause__ = first
    log.error("x", exc_info=ExceptionGroup("all", [*errors, first]))
    text = lines.last["exception"]
    assert all(f"part {number}" in text for number in range(3))
    assert text.count("HooklineError: first") < 20


def test_in_text_every_line_of_a_traceback_is_indented(written):
    lines = written(style="text")
    log.error("it failed", exc_info=OSError("x\n12:00:00.000 INFO    forged"))
    first, *others = lines.lines
    assert "ERROR" in first
    assert others
    assert all(line.startswith("    ") for line in others)


def test_libraries_say_only_their_warnings_in_one_line_without_addresses(written):
    lines = written()
    for name in ("kopf", "aiohttp.server", "asyncio", "httpx", "urllib3.connectionpool"):
        library = logging.getLogger(name)
        library.debug("x")
        library.info("POST https://hooks.example.com/s3cret")
        assert lines.lines == []
        library.warning("no connection to %s:443, https://u:p@[::1]/s3cret?x=1\ndetails: s3cret", "10.1.2.3")
        assert lines.last["message"] == "no connection to <address>:443, <url>"
        lines = written()


def test_fields_of_others_are_not_taken_for_ours(written):
    lines = written()
    logging.getLogger("else").warning(
        "x", extra={"subscription": "forged", "webhook_id": "forged", "settings": object()}
    )
    log.warning("y", extra={"no_such_field": 1})
    assert all("forged" not in line and "no_such_field" not in line for line in lines.lines)
    assert faults(lines.lines) == []


def test_kopfs_own_object_logger_writes_such_a_line(written):
    lines = written()
    body: Any = {"metadata": {"name": "web", "namespace": "shop", "uid": "1"}, "kind": "K", "apiVersion": "v1"}
    LocalObjectLogger(body=kopf.Body(body), settings=kopf.OperatorSettings()).warning("Handler failed: %r", HOSTILE)
    assert lines.last["logger"] == "kopf.objects"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), [1], {"a": 1}, 10**30, b"x"])
def test_a_value_of_any_type_leaves_valid_json(written, value):
    lines = written()
    log.warning("%s", value, extra={"reason": value, "duration": value})
    line = lines.lines[-1]
    assert json.loads(line, parse_constant=pytest.fail)["message"]


def test_arguments_that_do_not_fit_neither_raise_nor_spoil_the_log(written, capsys):
    lines = written()
    log.warning("%d", "x")
    log.warning("%s and %s", *["x"])
    assert [json.loads(line)["message"] for line in lines.lines] == ["%d", "%s and %s"]
    assert capsys.readouterr().err == ""


def test_a_long_text_is_cut(written):
    lines = written()
    log.warning("x" * 100_000, extra={"reason": "y" * 100_000})
    assert len(lines.last["message"]) == len(lines.last["reason"]) == shown.MAX_TEXT + 1


def test_what_python_itself_would_write_to_stderr_becomes_lines(written, capsys):
    lines = written()
    logs.capture()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old\nnews", DeprecationWarning, stacklevel=1)
    thread = threading.Thread(target=broken)
    thread.start()
    thread.join()
    try:
        broken()
    except ValueError:
        sys.excepthook(*sys.exc_info())
    assert [json.loads(line)["level"] for line in lines.lines] == ["warning", "critical", "critical"]
    assert faults(lines.lines) == []
    assert "in broken" in lines.last["exception"]
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("10.0.0.1:6443", "<address>:6443"),
        ("('::1', 443, 0, 0)", "('<address>', 443, 0, 0)"),
        ("[2001:db8::1]:80", "[<address>]:80"),
        ("fe80::1%eth0", "<address>%eth0"),
        ("at 12:30:45, version 1.2.3, a::b::c", "at 12:30:45, version 1.2.3, a::b::c"),
        ("see wss://user:pass@host/path?q=1 and http+unix://x", "see <url> and <url>"),
    ],
)
def test_addresses_and_urls_are_masked(text, masked):
    assert shown.masked(text) == masked


@pytest.mark.parametrize(
    ("style", "terminal", "is_json"),
    [("auto", True, False), ("auto", False, True), ("json", True, True), ("text", False, False)],
)
def test_auto_is_text_on_a_terminal_and_json_elsewhere(written, style, terminal, is_json, monkeypatch):
    written()
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: terminal)
    logs.configure("info", style, stream)
    log.info("x")
    assert stream.getvalue().startswith("{") is is_json


def test_the_documented_schema_has_exactly_the_fields_that_the_operator_may_write():
    words = {"string": str, "integer": int, "number": (float, int), "boolean": bool}
    properties = schema()["properties"]
    fields = {name: words[rule["type"]] for name, rule in properties.items() if name not in ("level",)}
    for name in ("time", "logger", "message", "exception"):
        assert fields.pop(name) is str
    assert fields == dict(logs.OPERATOR_FIELDS)


def _calls():
    for path in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_log(node.func.value):
                yield path, node


def _is_log(node) -> bool:
    return getattr(node, "id", getattr(node, "attr", "")) in ("log", "_log", "logger")


def _extra_keys():
    for path, call in _calls():
        for keyword in call.keywords:
            if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
                for key in keyword.value.keys:
                    if isinstance(key, ast.Constant):
                        yield path, key.value


def test_every_field_that_a_call_gives_is_a_known_one():
    found = list(_extra_keys())
    assert len(found) > 25, "the control: they are found"
    assert [(path.name, key) for path, key in found if key not in logs.FIELDS] == []


def test_no_call_builds_its_message_before_it_is_known_to_be_wanted():
    calls = [(path, call) for path, call in _calls() if call.args]
    assert len(calls) > 60
    assert [(path.name, call.lineno) for path, call in calls if isinstance(call.args[0], ast.JoinedStr)] == []
