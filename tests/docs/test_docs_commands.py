"""Every shell block of the pages is carried out in a world where what they name exists; and every query.

README.md and docs/start.md begin with less, or nothing: test_docs_stories.py carries them out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

import prometheus as prometheus_programs
from support.prometheus_live import LivePrometheus
from support.snippets import outputs, queries, scenes, shell
from support.snippets.blocks import Block, blocks, of_all
from support.snippets.carrying import SHELLS, Pages
from support.snippets.listed import commands
from support.snippets.shell import SnippetError
from support.snippets.world import World

STORIES = ("README.md", "docs/start.md")
EVERY = of_all()
BLOCKS = sorted(
    (block for block in EVERY if block.language in SHELLS and block.page not in STORIES and not block.marks),
    key=lambda block: (scenes.order(block.page), block.line),
)
QUERIES = [block for block in EVERY if block.language == "promql"]
PAGES = list(dict.fromkeys(block.page for block in BLOCKS))
NUMBERS = itertools.count()
FENCE = "```"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, helm_program: Path) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"), helm_program)
    yield made
    made.close()


@pytest.fixture(scope="module")
def pages(world: World) -> Pages:
    return Pages(world, EVERY)


WRONG = {
    "an argument that is missing": ("kubectl hookline deliveries show -n shop", "give one webhook-id"),
    "an option that goes with no name": ("kubectl hookline deliveries orders -A", "-A"),
    "what is no object": ("kubectl hookline explain nonsense -n shop", "say which object"),
    "a subscription that is not there": ("kubectl hookline status other -n shop", "other"),
    "deliveries of one that is not there": ("kubectl hookline deliveries other -n shop", "other"),
    "a replay of one that is not there": ("kubectl hookline replay other -n shop", "other"),
    "a namespace that is not there": ("kubectl hookline ping orders -n other", "other"),
    "a command that the plugin has not": ("kubectl hookline run", "run"),
    "new with an option that it has not": ("kubectl hookline new -n shop --no-such-flag", "no-such-flag"),
    "a flag that hookline has not": ("hookline run --no-such-flag", "no-such-flag"),
    "a setting out of its bounds": ("hookline run --listen-port -1", "listen-port"),
    "a request that nobody signed": ("hookline verify --headers gone --body gone --key-file gone", "gone"),
    "a flag that kubectl has not": ("kubectl get pods --no-such-flag", "unknown flag"),
    "a kind that is not served": ("kubectl get webhooksubscription,nosuchkinds", "nosuchkinds"),
    "a command that kubectl has not": ("kubectl gett pods", "unknown command"),
    "an object that is not there": ("kubectl -n shop get secret gone -o yaml | base64 -d", "gone"),
    "a manifest that is not there": ("kubectl apply -f gone.yaml", "does not exist"),
    "a flag that helm has not": ("helm upgrade hookline charts/hookline --no-such-flag", "unknown flag"),
    "a value by --set that the chart has not": ("helm upgrade hookline charts/hookline -n hookline --set no=1", "no"),
    "a target that make has not": ("make no-such-target", "no-such-target"),
    "a test that is not there": (".venv/bin/python -m pytest tests/gone.py", "gone.py"),
    "a script that is not there": (".venv/bin/python tests/bench/gone.py", "there is no tests/bench/gone.py"),
    "an option that a script has not": (".venv/bin/python tests/bench --no-such-flag", "no-such-flag"),
    "a program that is not known here": ("docker ps", "not run: reason"),
    "an option that curl has not": ("curl --no-such-option https://keys.example.com", "unknown"),
    "an address where nothing is": ("curl -fsS https://keys.example.com/other", "404"),
    "a package that nothing is tested with": ("pip install no-such-package", "no-such-package"),
    "an extra that there is not": ("pip install 'hookline[nosuch]'", "nosuch"),
    "shell that is none": ("if true; then", "syntax error"),
    "a console without a command": ("", "begins with '$ '"),
    "an output that is another": ("kubectl get namespace shop\nNAME   STATUS   COLOUR", "COLOUR"),
    "an output in another order": ("kubectl get namespace shop\nshop   Active   1s\nNAME   STATUS   AGE", "AGE"),
}


def the_block(text: str) -> Block:
    """A console block of a page that there is not."""
    lines = f"$ {text}" if text else "some output"
    (block,) = blocks(f"{FENCE}console\n{lines}\n{FENCE}\n", f"docs/page-{next(NUMBERS)}.md")
    return block


@pytest.mark.parametrize("what", WRONG)
def test_the_control_what_is_wrong_is_noticed(what: str, world: World) -> None:
    text, told = WRONG[what]
    block = the_block(text)
    with pytest.raises(SnippetError) as caught:
        outputs.compare(block, shell.run(block, world.ground, {}))
    assert told in str(caught.value).replace(text.partition("\n")[0] or "\n", "")
    assert "docs/page-" in str(caught.value)


def test_the_control_what_is_done_is_done(world: World) -> None:
    shell.run(the_block("kubectl create configmap tried -n default"), world.ground, {})
    assert "tried" in world.kubectl("get", "configmap", "tried", "-n", "default")


@pytest.fixture(scope="module")
def prometheus(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePrometheus]:
    """Has scraped the world's operator; the test is skipped where there is none."""
    try:
        program = prometheus_programs.provide().prometheus
    except prometheus_programs.Unavailable as error:
        pytest.skip(str(error))
    home = tmp_path_factory.mktemp("prometheus")
    (home / "rules.yaml").write_text("groups: []\n")
    made = LivePrometheus(program, home / "data", world.operator.port, home / "rules.yaml")
    yield made
    made.close()


@pytest.mark.parametrize("block", QUERIES, ids=str)
def test_a_query_finds_what_it_asks_for(block: Block, prometheus: LivePrometheus) -> None:
    queries.check(block, prometheus)


@pytest.mark.parametrize(
    "query",
    [
        *("hookline_gone_total", 'hookline_subscriptions{state="nosuch"}', "rate(hookline_leading)", "sum by ("),
        "sum(hookline_leading) by namespace",
    ],
)
def test_the_control_a_query_of_nothing_is_noticed(query: str, prometheus: LivePrometheus) -> None:
    with pytest.raises(SnippetError, match="docs/page"):
        queries.check(Block("docs/page.md", 1, "promql", query), prometheus)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_does_what_it_says(block: Block, pages: Pages) -> None:
    pages.check(block)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_is_listed(page: str, pages: Pages) -> None:
    assert pages.looked_at(page) == commands(page)


def test_every_scene_is_of_a_block_that_there_is() -> None:
    for page, words in scenes.BLOCKS:
        assert len([block for block in BLOCKS if block.page == page and words in block.text]) == 1, (page, words)
    assert scenes.PAGES.keys() | {*scenes.FIRST, *scenes.LAST} <= set(PAGES)
