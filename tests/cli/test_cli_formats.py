"""Every command that has ``-o`` prints every format that it offers, and what is printed can be read again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from hookline.cli.arguments import Parser
from hookline.cli.main import COMMANDS, parser_of
from support.cluster import eventually
from support.terminal import PROGRAMS

CALLS = {
    "status": ("status",),
    "status of one": ("status", "formats"),
    "deliveries": ("deliveries", "whsub/formats"),
    "deliveries show": ("deliveries", "show", "ID", "-s", "webhooksubscription.hookline.dev/formats"),
    "replay": ("replay", "formats", "--state", "delivered", "--wait"),
    "ping": ("ping", "formats"),
    "rotate-key": ("rotate-key", "OWN"),
    "explain": ("explain", "configmap/formats-0", "--subscription", "whsub/formats"),
    "new": ("new", "made", "--watch", "cm", "--url", "https://hooks.example.com/a", "--rights", "always"),
    "outbox list": ("outbox", "list"),
}


def formats(parser: Parser) -> tuple[str, ...]:
    """What ``-o`` of this parser takes, or of those below it; empty where it takes none, or a file."""
    own = next((action.choices for action in parser.known if "-o" in action.option_strings), None)
    return tuple(own or ()) + tuple(choice for child in parser.children.values() for choice in formats(child))


OFFERED = {name: found for name in COMMANDS if (found := formats(parser_of(name, "hookline")))}
READERS: dict[str, Callable[[str], object]] = {
    "json": json.loads,
    "yaml": lambda text: list(yaml.safe_load_all(text)),
    "name": lambda text: re.findall(r"(?m)^\w+\.hookline\.dev/\S+$", text),
}
EVERY = [(call, chosen) for call, words in CALLS.items() for chosen in OFFERED[words[0]]]


def test_the_calls_above_are_of_all_commands_that_offer_formats():
    assert {words[0] for words in CALLS.values()} == set(OFFERED)
    without = {name for name in COMMANDS if COMMANDS[name].cluster} - set(OFFERED)
    assert without == {"completion", "version"}


@pytest.mark.parametrize("name", OFFERED)
def test_json_and_yaml_are_offered_wherever_there_are_formats(name):
    assert {"json", "yaml"} <= set(OFFERED[name])
    assert ("name" in OFFERED[name]) is (name not in ("explain", "new", "outbox")), "where there are objects to name"


@pytest.fixture(scope="module")
def identity(whole: Any) -> Any:
    """A subscription ``formats`` with one delivered message; its id."""
    whole.subscribe("formats")
    before = len(whole.receiver.requests)
    whole.change("formats")
    eventually(lambda: len(whole.receiver.requests) > before, "the message arrives")
    seen = lambda: whole.subscriptions.get("formats")["status"].get("lastDelivery")  # noqa: E731
    eventually(seen, "the verdict is recorded")
    return whole.receiver.ids[-1]


@pytest.mark.parametrize(("call", "chosen"), EVERY)
def test_a_command_prints_what_was_chosen(whole, identity, tmp_path, call, chosen):
    own = f"formats-{chosen}"
    words = [{"ID": identity, "OWN": own}.get(word, word) for word in CALLS[call]]
    if own in words:  # keys can't be changed without end
        whole.subscribe(own)
    if words[0] == "deliveries":
        words += whole.api
    if words[0] == "outbox":
        shutil.copytree(whole.operator.home / "data", tmp_path / "data")
        done = whole.hookline.run(
            [str(PROGRAMS / "hookline"), *words, "--data-dir", str(tmp_path / "data"), "-o", chosen]
        )
    else:
        done = whole.hookline(*words, "-o", chosen)
    assert done.code == 0, done.err
    assert READERS.get(chosen, str.split)(done.out), "something, that can be read"
