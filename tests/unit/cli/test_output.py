"""What reaches a terminal is clean, what is JSON or YAML is exact, and ages are kubectl's."""

from __future__ import annotations

import json
from enum import StrEnum

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hookline.cli.output import Output, Progress, Styled, age, clean, duration, to_json, to_yaml, width

ATTACKS = [
    "\x1b]0;title\x07",  # sets the title
    "\x1b[2J",  # clears the screen
    "\x9b31m",  # C1: the same as ESC [
    "a\rb",  # overwrites the line
    "a\nb",  # begins a line of its own
    "\u202egnp.exe",  # changes the direction of what follows
    "\u2066x\u2069",
    "\x7f\x08",
]
UNSAFE = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))} | set("\u200e\u200f\u2028\u202e\u2066\u2069")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_control_character_reaches_a_table(attack, capsys):
    Output().table(("NAME", "STATUS"), [(attack, Styled(attack, "bad"))])
    printed = capsys.readouterr().out
    assert not UNSAFE & set(printed.replace("\n", ""))
    assert len(printed.splitlines()) == 2, "one line for the head and one for the row"


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_control_character_reaches_a_sentence_or_a_hint(attack, capsys):
    out = Output()
    out.say(attack)
    out.show(out.paint(attack, "good"))
    out.note(attack)
    printed = "".join(capsys.readouterr())
    assert not UNSAFE & set(printed.replace("\n", ""))


def test_what_was_cleaned_can_be_seen():
    assert clean("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"
    assert clean("Größe 日本 🙂") == "Größe 日本 🙂", "letters of all languages stay what they are"


@given(VALUES)
def test_json_is_exact_and_safe(value):
    text = to_json(value)
    assert json.loads(text) == value
    assert not UNSAFE & set(text.replace("\n", ""))


@given(VALUES)
def test_yaml_is_exact_and_safe(value):
    text = to_yaml(value)
    assert yaml.safe_load(text) == value
    assert not UNSAFE & set(text.replace("\n", ""))


def test_what_plain_serialisers_would_do():
    """The control: the standard library writes C1 controls and directions as they are."""
    assert "\x9b" in json.dumps("\x9b31m", ensure_ascii=False)
    assert "\u202e" in yaml.safe_dump("\u202egnp.exe", allow_unicode=True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        # The cases of k8s.io/apimachinery/pkg/util/duration, TestHumanDuration.
        (1, "1s"),
        (70, "70s"),
        (119, "119s"),
        (190, "3m10s"),
        (120, "2m"),
        (600, "10m"),
        (70 * 60, "70m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 600, "3h10m"),
        (7 * 3600 + 59 * 60, "7h59m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400, "8d"),
        (400 * 86400, "400d"),
        (2 * 365 * 86400, "2y"),
        ((2 * 365 + 1) * 86400, "2y1d"),
        (8 * 365 * 86400, "8y"),
        (-5, "0s"),
    ],
)
def test_a_duration_is_said_as_kubectl_says_it(seconds, text):
    assert duration(seconds) == text


def test_an_age_is_the_time_since():
    assert age("2026-01-31T12:00:00Z", 1769860800 + 90) == "90s"
    assert age(None, 0) == "-"
    assert age("yesterday", 0) == "-"


def test_columns_stand_below_each_other_in_every_script(capsys):
    Output().table(("NAME", "X"), [("日本", "1"), ("e\u0301", "2"), ("a\x1b", "3")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["NAME    X", "日本    1", "e\u0301       2", "a\\x1b   3"]
    assert (width("日本"), width("e\u0301")) == (4, 1)


def test_a_growing_table_has_its_head_once(capsys):
    show = Output().growing(("ID", "STATE"))
    show(("a", "Pending"))
    show(("abc", "Dead"))
    assert capsys.readouterr().out.splitlines() == ["ID   STATE", "a    Pending", "abc   Dead"]


def test_without_a_terminal_there_are_neither_colours_nor_progress(capsys):
    out = Output()
    out.progress.update("half")
    out.table(("A",), [(Styled("x", "bad"),)])
    assert capsys.readouterr() == ("A\nx\n", "")
    assert not Progress().on


INVISIBLE = [
    "\u061c",
    "\u2060",
    "\u2064",
    "\u200b",
    "\u00ad",
    "\U000e0000",
    "\U000e0041",
    "\U000e007f",
    "\ud800",
    "\ue000",
]


@pytest.mark.parametrize("letter", INVISIBLE)
def test_what_nobody_sees_is_shown_as_an_escape(letter):
    text = f"a{letter}b"
    escaped = f"a{ascii(letter)[1:-1]}b"
    assert clean(text) == escaped
    clean(text).encode()  # halves of a pair can't be written
    for said, read in ((to_json(text), json.loads), (to_yaml(text), yaml.safe_load)):
        assert (said.isascii(), read(said)) == (True, text)


def test_joiners_stay_for_they_are_letters():
    rocketeer = "\U0001f469\u200d\U0001f680"
    assert clean(rocketeer) == rocketeer
    assert width("a\u200cb") == 2


# What the resolver of YAML 1.1 that kubectl uses (sigs.k8s.io/yaml, resolve.go) takes for no text.
OTHERS = ["y", "Y", "n", "N", "yes", "No", "on", "OFF", "true", "~", "null", "<<", "1e3", ".5", "+1", "-.inf", ".NaN"]
OTHERS += [
    "0x1F",
    "0o17",
    "017",
    "0b1",
    "-0b1",
    "1_000",
    "12:30:45",
    "2026-01-31",
    "2026-01-31T12:00:00Z",
    "1.",
    "=",
]


@pytest.mark.parametrize("text", OTHERS)
def test_a_text_that_looks_like_another_value_is_quoted(text):
    assert to_yaml({"a": text, text: "b"}) == f"a: '{text}'\n'{text}': b\n"


def test_texts_that_are_enumerations_are_texts():
    class Kind(StrEnum):
        YES = "y"
        LONG = "long"

    assert to_yaml([Kind.YES, Kind.LONG]) == "- 'y'\n- long\n"


def test_a_time_that_can_not_be_is_no_time():
    assert age("0001-01-01T00:00:00+23:59", 0) == age("9999-12-31T23:59:59-23:59", 0) == "-"
