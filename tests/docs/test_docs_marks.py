"""What is not run is marked, counted, and known; and what pages name exists."""

import re

import pytest

from docs import observed, references, schema
from hookline.cli.main import COMMANDS, parser_of
from support.snippets import listed
from support.snippets.blocks import MARKS, ROOT, blocks, of_all, pages
from support.snippets.carrying import SHELLS

BLOCKS = of_all()
OTHERS = {
    "--authorization-webhook-cache-authorized-ttl": "kube-apiserver",
    "--fresh-base": "make image",
    "--json": "make bench",
    "--require-hashes": "pip",
    "--set": "helm",
    "--reset-then-reuse-values": "helm",
    "--reuse-values": "helm",
    "--take-ownership": "helm",
}
"""Flags of others that stand alone in the text of a page, and whose they are."""


def test_the_list_of_what_is_not_run_is_complete():
    found = {
        f"{block.page} ({block.language}): {block.marks['not run']}" for block in BLOCKS if "not run" in block.marks
    }
    shells = {block.page for block in BLOCKS if block.language in SHELLS}
    told = listed.lines()
    assert {line for line in told if re.match(r"\S+ \(", line)} == found
    # That a page's commands are these, no more and no fewer, is seen where it is carried out.
    assert {line.partition(": ")[0] for line in told} - {line.partition(": ")[0] for line in found} <= shells
    assert told == sorted(told)


def test_every_mark_has_a_reason_or_a_value():
    empty = [block.place for block in BLOCKS for name, value in block.marks.items() if not value and name != "receiver"]
    assert empty == []


def test_every_mark_stands_directly_before_a_block():
    for page in pages():
        text = page.read_text()
        written = re.findall(rf"^ *<!--\s*({'|'.join(MARKS)})\b", text, re.MULTILINE)
        found = [name for block in blocks(text, page.name) for name in block.marks]
        assert len(written) == len(found), page


def inline(text: str) -> list[str]:
    """The code within the text of a page."""
    prose = re.sub(r"^ *(```+).*?^ *\1 *$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


@pytest.fixture(scope="module")
def code():
    """All text of the programs, for names that must occur in it."""
    files = [path for folder in ("operator", "hack", "tests") for path in (ROOT / folder).rglob("*.py")]
    return "\n".join(path.read_text() for path in files if "node_modules" not in path.parts)


@pytest.fixture(scope="module")
def metrics():
    return {name for family in observed.families() for name in (family.name, *observed.series(family))}


@pytest.fixture(scope="module")
def flags():
    return set(OTHERS).union(*(options(parser_of(name, "hookline")) for name in COMMANDS))


@pytest.fixture(scope="module")
def fields():
    return {path.replace("[]", "") for crd in references.crds() for path, _ in schema.paths(crd)}


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
class TestThePage:
    def test_names_metrics_that_exist(self, page, metrics):
        named = set(re.findall(r"\bhookline_[a-z_]*[a-z]\b(?![_…*])", page.read_text()))
        assert named - metrics == set()

    def test_names_variables_that_exist(self, page, code):
        named = set(re.findall(r"\bHOOKLINE_[A-Z_]*[A-Z]\b(?!…)", page.read_text()))
        known = set(re.findall(r"`(HOOKLINE_\w+)`", (references.REFERENCE / "settings.md").read_text()))
        assert {name for name in named - known if name not in code} == set()

    def test_names_flags_that_exist(self, page, flags):
        ours = [word for word in inline(page.read_text()) if re.match(r"--|hookline |kubectl hookline ", word)]
        named = {flag for word in ours for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", word)}
        assert named - flags == set()

    def test_names_fields_that_exist(self, page, fields):
        ours = {path.split(".")[1] for path in fields if path.startswith("spec.")}
        words = {word.rstrip(".").replace("[]", "") for word in inline(page.read_text()) if word.startswith("spec.")}
        named = {word for word in words if re.fullmatch(r"spec(\.\w+)+", word) and word.split(".")[1] in ours}
        assert named - fields == set()


def options(parser) -> set[str]:
    """All long options of a command and of the commands below it."""
    found = {option for action in parser.known for option in action.option_strings}
    for child in parser.children.values():
        found |= options(child)
    return found


def test_the_control_what_does_not_exist_is_noticed():
    text = "A `--no-such-flag`.\n\n```sh\nnot `this`\n```\n"
    assert inline(text) == ["--no-such-flag"]
