"""Prints a waterfall for a terminal or a pipe: how many objects per request each swap changes, and why."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from outlive.comparison.attribution import Bar, Waterfall
from outlive.comparison.changes import BLOCKS, HEAP, LEAKED, OBJECTS, QUANTITIES, Quantity
from outlive.retention import changes_text
from outlive.tables import columns, say
from outlive.wording import listed, number, one_line, signed, step

WIDTH = 20
"""Columns of the longest bar."""
BLOCK, OWN = "█", "░"


def show(waterfall: Waterfall, console: Console) -> None:
    """Print a line for each stage with what it changes, then the changes of leaks and rings."""
    first, last = waterfall.bars[0], waterfall.bars[-1]
    framework = first.stack.framework
    releases = step(first.stack.release, last.stack.release)
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
    kept = any(_leaked(bar) and bar.gc == "off" for bar in waterfall.bars)
    names = ("objects", "change", *(["leaked"] if kept else []), *(["Python's own"] if own else []))
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", overflow="fold", min_width=WIDTH)
    for place, bar in enumerate(waterfall.bars):
        numbers = _numbers(bar)
        table.add_row(*map(Text, (_swapped(place, bar), *map(numbers.__getitem__, names), _bar(bar, most))))
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
    for sentence in _conclusion(waterfall):
        say(console, sentence)


def _swapped(place: int, bar: Bar) -> str:
    if place == 0:
        return f"{bar.stack.framework} {bar.stack.release}, Python {bar.stack.python}, gc {bar.gc}"
    return ", ".join(bar.swapped)


def _numbers(bar: Bar) -> dict[str, str]:
    """Return the numbers of a bar by their columns."""
    if bar.objects is None:
        return {"objects": "?", "change": "", "leaked": "", "Python's own": ""}
    return {
        "objects": number(bar.objects),
        "change": "" if bar.change is None else signed(bar.change),
        "leaked": number(_leaked(bar)),
        "Python's own": number(bar.python_own) if bar.python_own else "",
    }


def _leaked(bar: Bar) -> float:
    return bar.amounts.get(LEAKED.name, 0.0)


def _bar(bar: Bar, most: float) -> str:
    if bar.objects is None:
        return one_line(bar.reason or "")
    if not most:
        return ""
    own = round(WIDTH * min(bar.python_own, bar.objects) / most)
    return BLOCK * (round(WIDTH * bar.objects / most) - own) + OWN * own


def _conclusion(waterfall: Waterfall) -> Iterator[str]:
    """Yield what made the difference: a sentence for each quantity, then what could not be separated."""
    first, last = waterfall.bars[0], waterfall.bars[-1]
    if first.objects is None or last.objects is None:
        yield "One end could not be measured, so the change cannot be attributed."
        return
    order = dict.fromkeys((OBJECTS, *QUANTITIES))
    told = [quantity for quantity in order if _told(quantity, waterfall)]
    if not told:
        yield "No swap changes anything."
    for quantity in told:
        yield _attributed(quantity, waterfall)
    for bar in waterfall.bars[1:]:
        if bar.joined and any(quantity.name in bar.changes for quantity in told):
            yield f"{listed(bar.swapped, 2)} cannot be separated: {'; '.join(map(one_line, bar.joined))}."


def _told(quantity: Quantity, waterfall: Waterfall) -> bool:
    """Return whether some swap changes a quantity that the others told do not imply."""
    changed = [bar for bar in waterfall.bars if quantity.name in bar.changes]
    if quantity in (BLOCKS, HEAP):  # objects take memory
        return any(set(bar.changes) <= {BLOCKS.name, HEAP.name} for bar in changed)
    if quantity is LEAKED:  # where a collector runs, nothing else counts as an object
        return any(bar.changes[quantity.name] != bar.changes.get(OBJECTS.name) for bar in changed)
    return bool(changed)


def _attributed(quantity: Quantity, waterfall: Waterfall) -> str:
    """Return how much of a quantity stays at both ends, and which swaps change it by how much."""
    parts = []
    for bar in waterfall.bars[1:]:
        if change := bar.changes.get(quantity.name):
            sign = "+" if change > 0 else "-"
            parts.append(f"{listed(bar.swapped)} {sign}{quantity.write(abs(change))}")
    ends = (bar.amounts.get(quantity.name, 0.0) for bar in (waterfall.bars[0], waterfall.bars[-1]))
    amounts = quantity.text(step(*map(quantity.write, ends)))
    return f"{amounts} per {quantity.per}: {'; '.join(parts)}."
