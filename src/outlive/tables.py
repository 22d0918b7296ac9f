"""Tables and text for a terminal, at its width."""

from __future__ import annotations

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

WIDE = 100  # columns from which on the collector's work has columns of its own


def say(console: Console, text: str, style: str = "") -> None:
    """Print a text as it is, without markup."""
    console.print(Text(text, style=style))


def indented(console: Console, text: str) -> None:
    """Print a text under the one above it."""
    console.print(Padding(Text(text), (0, 0, 0, 4), expand=False))
