"""What became of each leak and ring in a comparison, as lines for every output."""

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
    """One fingerprint: what became of it, how many objects where, and the suspect link with its package."""

    verdict: str
    fingerprint: str
    objects: str
    where: str
    suspect: str

    @property
    def what(self) -> str:
        """All but the verdict and the suspect in one line."""
        return f"{self.fingerprint}  {self.objects} {self.where}"


def told(changes: Iterable[Change], *, everything: bool = False) -> tuple[ChangeLine, ...]:
    """Return a line for each fingerprint that is new, changed or gone; with `everything` for the same, too.

    One that is nowhere the shortest ring says nothing that another does not say.
    """
    return tuple(
        _line(one) for one in changes if not one.leak.further and (everything or one.verdict != "same")
    )


def summary(changes: Iterable[Change]) -> str:
    """Return how many of the fingerprints are new, changed, the same or gone; empty where there are none."""
    counts = Counter(one.verdict for one in changes if not one.leak.further)
    names = {"new": "new", "changed": "changed", "same": "the same", "gone": "gone"}
    said = [f"{counts[verdict]} {names[verdict]}" for verdict in VERDICTS if counts[verdict]]
    return listed(said)


def grid(lines: Iterable[ChangeLine], *, where: bool = True) -> RenderableType:
    """Return lines for a terminal: the verdict, and beside it the rest; without `where` only how many."""
    table = Table.grid(padding=(0, 1))
    for line in lines:
        what = line.what if where else f"{line.fingerprint}  {line.objects}"
        verdict = Text(line.verdict, style=COLOURS.get(line.verdict, ""))
        table.add_row(verdict, Text(f"{what}\n{line.suspect}", overflow="fold"))
    return Padding(table, (0, 0, 0, 4), expand=False)


def suspect(leak: Leak) -> str:
    """Return the suspect link, with the package where that is if the link does not name it."""
    if leak.python:
        return f"{leak.suspect} (Python's own)"
    return leak.suspect if leak.package in leak.suspect else f"{leak.suspect} ({leak.package})"


def _line(one: Change) -> ChangeLine:
    leak = one.leak
    spans = [_span(side) for side in (one.before, one.after) if side]
    return ChangeLine(
        verdict=one.verdict.upper(),
        fingerprint=leak.fingerprint,
        objects=f"{step(spans[0], spans[-1])} {leak.growth}",
        where=_where(one),
        suspect=suspect(leak),
    )


def _span(objects: Sequence[float]) -> str:
    """Return the objects per request of all cells: one number, or the least and the most."""
    least, most = min(objects), max(objects)
    return number(most) if least == most else f"{number(least)} to {number(most)}"


def _where(one: Change) -> str:
    before = dict.fromkeys(cell.scenario for cell in one.cells if cell.before is not None)
    after = dict.fromkeys(cell.scenario for cell in one.cells if cell.after is not None)
    if one.verdict in ("new", "gone"):
        return f"in {listed([*before, *after], MOST_SCENARIOS)}"
    groups = (
        ("in", [name for name in after if name in before]),
        ("new in", [name for name in after if name not in before]),
        ("gone from", [name for name in before if name not in after]),
    )
    return "; ".join(f"{verb} {listed(names, MOST_SCENARIOS)}" for verb, names in groups if names)
