"""The site: built strictly, complete, and asking nothing of any other host."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs import observed, pages

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "embed": "src"}
LINKED = {"stylesheet", "icon", "shortcut icon", "preload", "modulepreload", "preconnect", "dns-prefetch", "manifest"}


class Loads(HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        known = dict(attrs)
        if tag in LOADED and known.get(LOADED[tag]):
            self.addresses.append(known[LOADED[tag]])
        if tag == "link" and known.get("rel") in LINKED:
            self.addresses.append(known["href"])
        self.addresses += re.findall(r"url\(\s*['\"]?([^)'\"]+)", known.get("style") or "")


def foreign(folder: Path) -> list[str]:
    """What the pages and styles of a site would fetch from elsewhere."""
    asked = []
    for path in folder.rglob("*.html"):
        asked += Loads(path.read_text()).addresses
    for path in folder.rglob("*.css"):
        asked += re.findall(r"(?:url\(|@import)\s*['\"]?([^)'\"\s;]+)", path.read_text())
    for path in folder.rglob("*.js"):
        asked += re.findall(r"(?:import|fetch|importScripts)\s*\(?\s*['\"`](\w+://[^'\"`]+)", path.read_text())
    return [address for address in asked if re.match(r"(\w+:)?//", address) and not address.startswith("data:")]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "html"
    complaints = pages.build(site=folder, anew=True)
    assert complaints == ""
    return folder


def test_the_site_is_built_without_a_complaint(built):
    assert (built / "index.html").is_file()


def test_a_browser_asks_nothing_of_any_other_host(built):
    assert foreign(built) == []


def test_the_control_what_is_fetched_from_elsewhere_is_found(tmp_path):
    (tmp_path / "index.html").write_text(
        '<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//cdn.example/x.css">'
        '<a href="https://example.com">a link is no request</a><img src="x.png">'
    )
    (tmp_path / "x.css").write_text(
        "@import 'https://fonts.example/x'; a { background: url(data:image/png;base64,AA) }"
    )
    (tmp_path / "x.js").write_text("import('https://cdn.example/y.mjs')")
    assert len(foreign(tmp_path)) == 4


def test_each_alert_has_its_runbook_where_the_alert_says(built):
    for rule in observed.alerts():
        assert (built / "runbooks" / rule["alert"] / "index.html").is_file(), rule["alert"]


def test_a_search_finds_fields_and_metrics(built):
    index = (built / "searchindex.js").read_text()
    assert all(word in index for word in ("unguessablepath", "hookline_events_dropped_total"))


def test_drawings_are_part_of_the_page_and_follow_its_colours(built):
    page = (built / "concepts" / "index.html").read_text()
    assert '<svg class="drawing"' in page
    assert "var(--ink)" in page


def test_what_is_dead_is_an_error(page, tmp_path):
    nav = "```{toctree}\nother\n```\n"
    folder = page(
        f"# A\n\n{nav}\n[dead](gone.md) [dead anchor](other.md#gone) [own](#nowhere) ![picture](gone.png)\n"
        "[file](../gone.yaml)\n"
    )
    page('# B\n\n<a id="there"></a>\n\nText.\n', "other.md")
    page("# C\n", "outside.md")
    told = pages.build(folder, tmp_path / "html")
    for what in ("gone.md", "'gone'", "'nowhere'", "gone.png", "../gone.yaml", "isn't included in any toctree"):
        assert what in told


def test_the_control_what_is_alive_is_none(page, tmp_path):
    (tmp_path / "there.yaml").touch()
    folder = page(
        "# A\n\n```{toctree}\nother\n```\n\n[page](other.md) [heading](other.md#some-words) [anchor](other.md#there)\n"
        "[file](../there.yaml) [folder](../pages)\n"
    )
    page('# B\n\n## Some words\n\n| a |\n| --- |\n| <a id="there"></a>`x` |\n', "other.md")
    assert pages.build(folder, tmp_path / "html") == ""
