"""Life lines for a terminal or a pipe: those still present first, then those that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from outlive.history import residues
from outlive.history.lifelines import LifeLine, LifeLinesDocument, Measured, Period
from outlive.retention.changes_text import suspect
from outlive.tables import indented, say
from outlive.wording import counted, listed, number, step, through

MOST_SCENARIOS = 4
RESIDUES = "Objects that a connection leaves, apart from its requests, when its client closes it:"


def show(document: LifeLinesDocument, console: Console, *, everything: bool = False) -> None:
    """Print the life lines; `everything` includes rings that are nowhere the shortest one."""
    framework, lines = document.framework, document.lines
    for releases, pythons in _by_releases(document.measured).items():
        span = through(releases[0], releases[-1])
        count = counted(len(releases), document.noun)
        say(console, f"{framework}: {count} measured on Python {listed(pythons)}, {span}.", "bold")
    for history in document.measured:
        if history.origin:
            say(console, f"Python {history.python}: {history.origin}")
    shown = [line for line in lines if everything or not line.leak.further]
    for heading, present in (("Still there", True), ("Gone", False)):
        part = [line for line in shown if line.present is present]
        if part:
            console.print()
            say(console, f"{heading}: {len(part)}", "bold")
            _table(part, console)
    if not shown:
        say(console, "Nothing outlived its request.")
    hidden = len(lines) - len(shown)
    if hidden:
        console.print()
        text = f"{counted(hidden, 'further ring')} of the same structures not shown: --all shows them."
        say(console, text, "dim")
    if document.residues:
        console.print()
        say(console, RESIDUES, "bold")
        for residue in document.residues:
            indented(console, residues.told(residue))


def told(line: LifeLine) -> tuple[str, ...]:
    """Return a life line as lines of text: its objects and scenarios, its suspect, its releases."""
    leak = line.leak
    where = f"in {listed(line.scenarios, MOST_SCENARIOS)}"
    most = [period.python for period in line.periods if period.objects == line.objects]
    alone = {period.python for period in line.periods} <= set(most)
    return (
        f"up to {number(line.objects)} {leak.growth} per request {where}"
        + ("" if alone else f" (Python {listed(most)})"),
        suspect(leak),
        *(_when(line, pythons, periods) for pythons, periods in _by_course(line.periods)),
        *([f"Python {listed(line.absent)}: absent"] if line.absent else []),
        *([f"Python {listed(line.unmeasured)}: not measured there"] if line.unmeasured else []),
    )


def _by_releases(measured: Sequence[Measured]) -> dict[tuple[str, ...], list[str]]:
    pythons: dict[tuple[str, ...], list[str]] = {}
    for history in sorted(measured, key=lambda history: -len(history.releases)):
        pythons.setdefault(history.releases, []).append(history.python)
    return pythons


def _table(lines: Iterable[LifeLine], console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(Text(line.leak.fingerprint), Text("\n".join(told(line))))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _by_course(periods: Sequence[Period]) -> list[tuple[list[str], list[Period]]]:
    """Return (Pythons, periods); Pythons with the same periods are grouped together."""
    courses: dict[str, list[Period]] = {}
    for period in periods:
        courses.setdefault(period.python, []).append(period)
    groups: dict[tuple[object, ...], tuple[list[str], list[Period]]] = {}
    for python, course in courses.items():
        bare = tuple(
            (part.after, part.since, part.until, part.gone, part.steps and (part.cell, part.steps))
            for part in course
        )
        groups.setdefault(bare, ([], course))[0].append(python)
    return list(groups.values())


def _when(line: LifeLine, pythons: Sequence[str], periods: Sequence[Period]) -> str:
    """Return the course on some Pythons, with the cell that its numbers are of if the line has several."""
    parts = []
    for place, period in enumerate(periods):
        first = f"introduced in {period.since}" if place == 0 else f"back in {period.since}"
        alone = period.since == period.until and not period.after and not period.gone
        oldest = f"there in {period.since}, {'the only one measured' if alone else 'the oldest'}"
        parts.append(first if period.after else oldest)
        changes = [f"{step(number(s.before), number(s.after))} in {s.release}" for s in period.steps]
        if changes:
            places = [f"in {period.cell.scenario}"] if len(line.scenarios) > 1 else []
            places += [f"on {period.cell.connection}"] if len(line.connections) > 1 else []
            parts.append(" ".join(["objects", *places, ", ".join(changes)]))
        if not alone:
            parts.append(f"gone in {period.gone}" if period.gone else f"still in {period.until}")
    return f"Python {listed(pythons)}: {'; '.join(parts)}"
