"""Prints tables and text at the width of the terminal; piped output is not folded."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import IO, cast

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

WIDE = 100  # columns of a terminal with room for the collector's work
UNFOLDED = 10_000
"""Columns of output that does not go to a terminal: programs and logs read whole lines."""


PADDING = re.compile(" +(?=\n)")


class _Unpadded:
    """Standard output without the spaces that tables print at the end of lines: in a pager, they fold."""

    @property
    def encoding(self) -> str:
        """The encoding of standard output."""
        return sys.stdout.encoding

    def write(self, text: str) -> int:
        """Write a text; return the number of characters written."""
        return sys.stdout.write(PADDING.sub("", text))

    def flush(self) -> None:
        """Flush standard output."""
        sys.stdout.flush()


def output() -> Console:
    """Return a console on standard output, as wide as its terminal or COLUMNS."""
    columns = os.environ.get("COLUMNS", "")
    width = int(columns[:6]) if columns.isdecimal() and int(columns[:6]) > 0 else None
    if sys.stdout.isatty():
        return Console(width=width)
    return Console(file=cast("IO[str]", _Unpadded()), width=width or UNFOLDED)


def columns(header_style: str, *names: str) -> Table:
    """Return an empty table without lines; its columns fold, and two spaces separate them."""
    headers = (Column(name, overflow="fold") for name in names)
    return Table(*headers, box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=header_style)


def fold(line: str, width: int, hang: int = 0) -> str:
    """Return a line folded between words; a word that is too long, such as a link, stays whole.

    The lines that follow are indented like the first, by at least `hang` columns.
    """
    indent = " " * max(hang, len(line) - len(line.lstrip(" ")))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def say(console: Console, text: str, style: str = "", *, hang: int = 0) -> None:
    """Print a text verbatim, folded at the width of the console: rich reads no markup in it."""
    whole(console, "\n".join(fold(line, console.width, hang) for line in text.split("\n")), style)


def described(console: Console, rows: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a name and a text of one or more lines in two columns; links stay whole."""
    rows = tuple(rows)
    wide = max((len(name) for name, _ in rows), default=0) + 2
    for name, text in rows:
        first, *others = text.split("\n")
        whole = [fold(f"{name:<{wide}}{first}", console.width, hang=wide)]
        whole += [fold(f"{'':<{wide}}{line}", console.width, hang=wide + 2) for line in others]
        line = Text("\n".join(whole))
        line.stylize("bold", 0, len(name))
        console.print(line, soft_wrap=True)


def whole(console: Console, text: str, style: str = "") -> None:
    """Print a text verbatim, without folding: a command or a path that the user copies."""
    console.print(Text(text, style=style), soft_wrap=True)


def indented(console: Console, text: str) -> None:
    """Print a text with an indent of four columns."""
    say(console, f"    {text}")
