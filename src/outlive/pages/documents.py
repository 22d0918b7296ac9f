"""The project's own documents as pages of the site: the method, how it counts, the words."""

from __future__ import annotations

import re

import msgspec
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup


class Text(msgspec.Struct, frozen=True):
    """A document: its file under `docs`, and the page that it becomes."""

    source: str
    page: str
    name: str


TEXTS = (
    Text("how-we-decide.md", "method.html", "How we decide"),
    Text("reports.md", "verdicts.html", "Reports and verdicts"),
    Text("advice.md", "advice.html", "Advice, measured"),
    Text("how-it-counts.md", "counting.html", "How it counts"),
    Text("findings.md", "findings.html", "Every scenario"),
    Text("glossary.md", "glossary.html", "Glossary"),
)
WIDE = '<div class="wide" tabindex="0" role="group" aria-label="Table">'
PAGES = {text.source: text.page for text in TEXTS}


def html(markdown: str) -> Markup:
    """Return a document as HTML: raw HTML in it is shown as text, links to what is no page are none."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", slug(tokens[at + 1].content))
        if token.type in {"th_open", "td_open"} and "right" in str(token.attrs.pop("style", "")):
            token.attrSet("class", "n")
        if token.type == "th_open" and tokens[at + 1].content:
            token.attrSet("scope", "col")
        elif token.type == "th_open":  # an empty corner heads nothing
            token.tag = tokens[at + 2].tag = "td"
        if token.children:
            token.children = _linked(token.children)
    parser.add_render_rule("table_open", lambda *_: f"{WIDE}<table>\n")
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704 - the renderer escapes


def slug(heading: str) -> str:
    """Return what a link to a heading is called, as GitHub does."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _linked(tokens: list[Token]) -> list[Token]:
    """Return inline tokens with the links to other documents as links to pages, and no dead ones."""
    found: list[Token] = []
    kept: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            target, hash_, anchor = str(token.attrGet("href")).partition("#")
            page = target if target.startswith("https://") else PAGES.get(target, "" if not target else None)
            kept.append(page is not None)
            if page is not None:
                token.attrSet("href", f"{page}{hash_}{anchor}")
                found.append(token)
        elif token.type == "link_close":
            if kept.pop():
                found.append(token)
        else:
            found.append(token)
    return found
