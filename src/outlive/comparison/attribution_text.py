"""Prints a waterfall for a terminal or a pipe: how many objects per request each swap changes, and why."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from outlive.comparison.attribution import Bar, Waterfall
from outlive.retention import changes_text
from outlive.tables import columns, say
from outlive.wording import counted, listed, number, one_line, signed

WIDTH = 20
"""Columns of the longest bar."""
BLOCK, OWN = "█", "░"


def show(waterfall: Waterfall, console: Console) -> None:
    """Print a line for each stage with what it changes, then the changes of leaks and rings."""
    first, last = waterfall.bars[0], waterfall.bars[-1]
    framework = first.stack.framework
    releases = f"{first.stack.release} → {last.stack.release}"
    console.print(
        Text(
            f"{framework} {releases}, {waterfall.scenario}, {waterfall.connection}: objects per request",
            "bold",
        )
    )
    console.print()
    most = max((bar.objects or 0 for bar in waterfall.bars), default=0)
    table = columns("dim")
    table.add_column("swapped", overflow="fold")
    own = any(bar.python_own for bar in waterfall.bars)
    for name in ("objects", "change", *(["Python's own"] if own else [])):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for place, bar in enumerate(waterfall.bars):
        numbers = _numbers(bar) if own else _numbers(bar)[:2]
        table.add_row(*map(Text, (_swapped(place, bar), *numbers, _bar(bar, most))))
    console.print(table)
    if own:
        say(console, f"{OWN} Python's own", "dim")
    for bar in waterfall.bars[1:]:
        lines = changes_text.told(bar.fingerprints)
        if lines:
            console.print()
            say(console, f"With {listed(bar.swapped)}:")
            console.print(changes_text.grid(lines, where=False))
    console.print()
    say(console, _conclusion(waterfall))


def _swapped(place: int, bar: Bar) -> str:
    if place == 0:
        return f"{bar.stack.framework} {bar.stack.release}, Python {bar.stack.python}, gc {bar.gc}"
    return ", ".join(bar.swapped)


def _numbers(bar: Bar) -> tuple[str, str, str]:
    if bar.objects is None:
        return "?", "", ""
    change = "" if bar.change is None else signed(bar.change)
    return number(bar.objects), change, number(bar.python_own) if bar.python_own else ""


def _bar(bar: Bar, most: float) -> str:
    if bar.objects is None:
        return one_line(bar.reason or "")
    if not most:
        return ""
    own = round(WIDTH * min(bar.python_own, bar.objects) / most)
    return BLOCK * (round(WIDTH * bar.objects / most) - own) + OWN * own


def _conclusion(waterfall: Waterfall) -> str:
    """Return one sentence that says what made the difference."""
    first, last = waterfall.bars[0], waterfall.bars[-1]
    if first.objects is None or last.objects is None:
        return "One end could not be measured, so the change cannot be attributed."
    parts = [f"{listed(bar.swapped)} {signed(bar.change)}" for bar in waterfall.bars[1:] if bar.change]
    if not parts:
        return "No swap changes anything."
    objects = counted(f"{number(first.objects)} → {number(last.objects)}", "object")
    text = f"{objects} per request: {'; '.join(parts)}."
    for bar in waterfall.bars[1:]:
        if bar.joined and bar.change:
            text += f" {listed(bar.swapped, 2)} cannot be separated: {'; '.join(map(one_line, bar.joined))}."
    return text
