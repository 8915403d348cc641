"""Sphinx's configuration of the site of ``docs/``; ``python hack/docs`` builds it.

In: the Markdown of ``docs/``, as it is read on a Git host, too. Out: settings, and small extensions in ``setup``:
drawings (SVG) become part of the page so that they follow dark mode, ``<a id="x"></a>`` becomes a target that links are
checked against, and links to files outside ``docs/`` become downloads (folders: plain text). A folder's ``README.md``
has the folder's pages below it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import download_reference, pending_xref
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from hookline import __version__

ROOT = Path(__file__).resolve().parents[2]

project = "Hookline"
release = version = __version__
project_copyright = ""
extensions = ["myst_parser", "sphinx_design"]
exclude_patterns = ["_build"]
nitpicky = True
smartquotes = False  # quotes are those that one types into a manifest

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "furo"
html_title = "Hookline"
html_static_path = [str(Path(__file__).with_name("static"))]
html_css_files = ["hookline.css"]
html_favicon = str(Path(__file__).with_name("static") / "mark.svg")
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {
    "sidebar_hide_name": False,
    "light_logo": "mark.svg",
    "dark_logo": "mark.svg",
    "light_css_variables": {
        "color-brand-primary": "#0b57d0",
        "color-brand-content": "#0b57d0",
        "font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace",
    },
    "dark_css_variables": {"color-brand-primary": "#8ab4f8", "color-brand-content": "#8ab4f8"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"


class Anchors(SphinxTransform):
    """``<a id="x"></a>`` as a target, so that ``page.md#x`` is checked like the anchor of a heading."""

    default_priority = 5

    def apply(self, **_: Any) -> None:
        """Replace each in the document."""
        for raw in list(self.document.findall(nodes.raw)):
            found = re.fullmatch(r'<a id="([^"]+)">(</a>)?', raw.astext().strip())
            if found:
                end = raw.next_node(nodes.raw, descend=False, siblings=True)
                if end is not None and end.astext() == "</a>":
                    end.parent.remove(end)
                target = nodes.target("", "", ids=[found[1]], names=[found[1]])
                raw.replace_self(target)
                self.document.note_explicit_target(target)


class Outside(SphinxTransform):
    """Links to what is in the repository and not in ``docs/``: a file is a download, a folder is plain text.

    What is not there stays, and is told as a dead link.
    """

    default_priority = 6

    def apply(self, **_: Any) -> None:
        """Replace each in the document."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for link in [*self.document.findall(pending_xref), *self.document.findall(download_reference)]:
            path = here / link["reftarget"]
            page = path.with_name(f"{path.name}.md")
            if path.is_dir():
                link.replace_self(nodes.inline("", "", *link.children))
            elif link.get("refdomain") == "doc" and page.is_file() and not page.is_relative_to(self.env.srcdir):
                target = os.path.relpath(page, here)
                words = nodes.literal("", link.astext(), classes=["xref", "download"])
                link.replace_self(download_reference("", "", words, reftarget=target, refdoc=self.env.docname))


class Drawings(SphinxTransform):
    """SVG pictures as part of the page."""

    default_priority = 7

    def apply(self, **_: Any) -> None:
        """Replace each in the document; a picture that is not there stays, and is told as a dead link."""
        here = Path(self.env.doc2path(self.env.docname)).parent
        for image in list(self.document.findall(nodes.image)):
            path = here / image["uri"]
            if path.suffix == ".svg" and path.is_file() and 'class="drawing"' in path.read_text("utf-8"):
                self.env.note_dependency(str(path))
                image.replace_self(nodes.raw("", path.read_text("utf-8"), format="html"))


def _with_pages(_: Sphinx, name: str, source: list[str]) -> None:
    """A folder's README gets the folder's pages below it."""
    if name.endswith("/README"):
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    for transform in (Anchors, Outside, Drawings):
        app.add_transform(transform)
    app.connect("source-read", _with_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
