"""Prints tables and text on a terminal, at its width."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDE = 100  # columns of a terminal that is wide enough for the collector's work


def columns(header_style: str) -> Table:
    """Return an empty table without lines; two spaces separate its columns."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=header_style)


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text verbatim: rich reads no markup in it."""
    console.print(Text(text, style=style))


def indented(console: Console, text: str) -> None:
    """Print a text with an indent of four columns."""
    console.print(Padding(Text(text), (0, 0, 0, 4), expand=False))
