"""Writes Markdown: escaped text, tables, folded sections."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

LINK = re.compile(r"(https?://[A-Za-z0-9./_~:?=#%+-]+)")
SPECIAL = re.compile(r"([\\`*_\[\]|<>&~#!])")
WORD_JOINER = "\u2060"  # keeps an @name from notifying anyone


def escape(text: str) -> str:
    """Return `text` escaped: Markdown shows it verbatim, even in a table; plain links stay links."""
    parts = LINK.split(text)
    return "".join(
        part if at % 2 else SPECIAL.sub(r"\\\1", part).replace("@", f"@{WORD_JOINER}")
        for at, part in enumerate(parts)
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: int = 0) -> Iterator[str]:
    """Yield the lines of a table; the last `right` columns align right. The cells of `rows` are escaped."""
    yield from marked_up(header, (map(escape, row) for row in rows), right)


def marked_up(header: Sequence[str], rows: Iterable[Iterable[str]], right: int = 0) -> Iterator[str]:
    """Yield the lines of a table whose cells are Markdown."""
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join(['---'] * (len(header) - right) + ['--:'] * right)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def details(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a section that is folded under a summary."""
    yield from ("", "<details>", f"<summary>{summary}</summary>", "")
    yield from lines
    yield from ("", "</details>")
