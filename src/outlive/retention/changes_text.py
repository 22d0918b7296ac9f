"""The text about leaks and rings in a comparison: which are new, changed, the same or gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from outlive.records.measurement import Leak
from outlive.retention.fingerprints import VERDICTS, Change
from outlive.wording import listed, number, step

MOST_SCENARIOS = 3
COLOURS = {"NEW": "red", "GONE": "green"}


class ChangeLine(msgspec.Struct, frozen=True):
    """One fingerprint: its verdict, how many objects it keeps and where, and its suspect link."""

    verdict: str
    fingerprint: str
    objects: str
    where: str
    suspect: str

    @property
    def what(self) -> str:
        """Everything but the verdict and the suspect, in one line."""
        return f"{self.fingerprint}  {self.objects} {self.where}"


def told(changes: Iterable[Change], *, everything: bool = False) -> tuple[ChangeLine, ...]:
    """Return a line for each fingerprint that is new, changed or gone; with `everything` also for the same.

    A ring that is nowhere the shortest one is left out: another line describes the same objects.
    """
    return tuple(
        _line(change)
        for change in changes
        if not change.leak.further and (everything or change.verdict != "same")
    )


def summary(changes: Iterable[Change]) -> str:
    """Return how many of the fingerprints are new, changed, the same or gone; empty if there are none."""
    counts = Counter(change.verdict for change in changes if not change.leak.further)
    names = {"new": "new", "changed": "changed", "same": "the same", "gone": "gone"}
    return listed([f"{counts[verdict]} {names[verdict]}" for verdict in VERDICTS if counts[verdict]])


def grid(lines: Iterable[ChangeLine], *, where: bool = True) -> RenderableType:
    """Return the lines for a terminal, verdicts in the first column; without `where`, leave out the cells."""
    table = Table.grid(padding=(0, 1))
    for line in lines:
        what = line.what if where else f"{line.fingerprint}  {line.objects}"
        verdict = Text(line.verdict, style=COLOURS.get(line.verdict, ""))
        table.add_row(verdict, Text(f"{what}\n{line.suspect}", overflow="fold"))
    return Padding(table, (0, 0, 0, 4), expand=False)


def suspect(leak: Leak) -> str:
    """Return the suspect link, with its package if the link does not name it."""
    if leak.python:
        return f"{leak.suspect} (Python's own)"
    return leak.suspect if leak.package in leak.suspect else f"{leak.suspect} ({leak.package})"


def _line(change: Change) -> ChangeLine:
    leak = change.leak
    spans = [_span(side) for side in (change.before, change.after) if side]
    return ChangeLine(
        verdict=change.verdict.upper(),
        fingerprint=leak.fingerprint,
        objects=f"{step(spans[0], spans[-1])} {leak.growth}",
        where=_where(change),
        suspect=suspect(leak),
    )


def _span(objects: Sequence[float]) -> str:
    """Return the objects per request of all cells as text: one number, or the least and the most."""
    least, most = min(objects), max(objects)
    return number(most) if least == most else f"{number(least)} to {number(most)}"


def _where(change: Change) -> str:
    before = dict.fromkeys(cell.scenario for cell in change.cells if cell.before is not None)
    after = dict.fromkeys(cell.scenario for cell in change.cells if cell.after is not None)
    if change.verdict in ("new", "gone"):
        return f"in {listed([*before, *after], MOST_SCENARIOS)}"
    groups = (
        ("in", [name for name in after if name in before]),
        ("new in", [name for name in after if name not in before]),
        ("gone from", [name for name in before if name not in after]),
    )
    return "; ".join(f"{verb} {listed(names, MOST_SCENARIOS)}" for verb, names in groups if names)
