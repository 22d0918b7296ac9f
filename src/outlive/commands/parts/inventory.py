"""Prints tables: releases, measurements, checks of the machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from outlive.comparison.outside import outside
from outlive.records.measurement import GROWING, Measurement, ToolReading, origin
from outlive.records.release import Release
from outlive.tables import columns, say, whole
from outlive.wording import counted, number, one_line, size

if TYPE_CHECKING:  # slow to import, and only some verbs need them
    from outlive.commands.parts.doctor_checks import Check
    from outlive.releases.claims import Changelog
    from outlive.releases.index import Update
    from outlive.stacks.eras import Added

NOTHING = "-"


def show_releases(releases: Sequence[Release], console: Console) -> None:
    """Print a line for each release: version, upload date, Requires-Python, Pythons; and why it is yanked."""
    rows = [("version", "uploaded", "requires Python", "wheels for")]
    rows += [
        (
            release.version,
            str(release.date or "unknown"),
            release.requires_python or NOTHING,
            release.pythons() if release.wheels else "no wheel",
        )
        for release in releases
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, release in zip(rows, (None, *releases), strict=True):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        whole(console, cells, "" if release else "bold")
        if release and release.yanked:
            say(console, f"{' ' * (widths[0] + 2)}yanked: {release.why_yanked}")


def show_update(update: Update, console: Console) -> None:
    """Print what an update of a list changed."""
    added = f"new: {', '.join(update.added)}" if update.added else "nothing new"
    changed = f"; changed: {', '.join(update.changed)}" if update.changed else ""
    undated = f"; no upload date known: {', '.join(update.undated)}" if update.undated else ""
    say(console, f"{update.framework}: {added}{changed}{undated}")


def show_locks(framework: str, added: Added, console: Console) -> None:
    """Print how many era locks were written, and which releases have none."""
    say(console, f"{framework}: {counted(len(added.locks), 'new lock')}")
    for gap in added.unavailable:
        say(console, f"  none for {gap.release} on Python {gap.python}: {one_line(gap.reason)}")


def show_claims(framework: str, logs: Sequence[Changelog], console: Console) -> None:
    """Print what the changelogs of a framework's releases claim about memory."""
    claimed = sum(len(log.claims) for log in logs)
    say(console, f"{framework}: {counted(claimed, 'claim')} in {counted(len(logs), 'release')}")
    for log in logs:
        if log.source is None:
            say(console, f"  {log.release}: no changelog: {one_line(log.reason or '')}")
        for claim in log.claims:
            issues = "".join(f" #{issue}" for issue in claim.issues)
            say(console, f"  {log.release}: {one_line(claim.text)}{issues}")


def show_measurements(measurements: Sequence[Measurement], console: Console) -> None:
    """Print what requests leave, how it grows and its most frequent type: a table a stack, a line a cell.

    If all cells share a connection and a gc policy, the heading names them, else each line does. If some
    results are published, a star marks the user's own.
    """
    by_stack: dict[str, list[Measurement]] = {}
    published = [m.published for m in measurements if m.status == "measured"]
    mixed = len({*published}) > 1
    for measurement in measurements:
        remedy = f", {measurement.remedy}" if measurement.remedy else ""
        stack = f"{measurement.framework} {measurement.release}, Python {measurement.python}{remedy}"
        by_stack.setdefault(stack, []).append(measurement)
    reasons: list[str] = []
    for stack, cells in by_stack.items():
        kinds = {*map(_kind, cells)}
        shared = f", {kinds.pop()}" if len(kinds) == 1 else ""
        say(console, f"{stack}{shared}", "bold")
        table = columns("bold", "scenario", "survivors", "leaked", "growth", "most of it")
        for column in table.columns[:-1]:
            column.no_wrap = True
        scenario = None
        for cell in cells:
            if not shared and cell.scenario != scenario:
                table.add_row(cell.scenario)
            scenario = cell.scenario
            name = scenario if shared else f"  {_kind(cell)}"
            star = " *" if mixed and not cell.published else ""
            table.add_row(*map(Text, (f"{name}{star}", *_numbers(cell, reasons))))
        console.print(table)
        console.print()
    for at, reason in enumerate(reasons, 1):
        say(console, f"{at}. {one_line(reason)}")
    console.print("Objects per request; survivors are counted with gc off.", style="dim")
    say(console, f"{'* ' if mixed else ''}{origin(published)}", style="dim")


def _kind(measurement: Measurement) -> str:
    return f"{measurement.connection}, gc {measurement.gc}"


def _numbers(cell: Measurement, reasons: list[str]) -> tuple[str, str, str, str]:
    """Return survivors, leaked, growth and the most frequent type of a cell; add its reason to `reasons`."""
    if cell.status != "measured":
        reason = cell.reason or cell.status
        if reason not in reasons:
            reasons.append(reason)
        return NOTHING, NOTHING, cell.status, f"({reasons.index(reason) + 1})"
    survivors = NOTHING if cell.survivors_per_request is None else number(cell.survivors_per_request)
    types = [f"{number(count)} {name.rpartition('.')[2]}" for name, count in cell.types.items()]
    leaders = (types or outside(cell)) if cell.growth in GROWING else []
    return survivors, number(cell.leaked_per_request or 0), cell.growth or NOTHING, "".join(leaders[:1])


def show_tools(readings: Iterable[ToolReading], console: Console) -> None:
    """Print what each tool found, and what it cost."""
    table = columns("bold", "scenario", "tool", "objects", "memory", "most of it", "serving", "with looking")
    for reading in readings:
        name, amount = next(iter(reading.grown.items()), ("", 0.0))
        most = f"{size(amount) if reading.bytes is not None else number(amount)} {name}" if name else NOTHING
        cells = (
            f"{reading.scenario}, {reading.connection}",
            reading.tool,
            NOTHING if reading.objects is None else number(reading.objects),
            NOTHING if reading.bytes is None else size(reading.bytes),
            most,
            f"{reading.serving:.2f}x",
            f"{reading.total:.2f}x",
        )
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)
    console.print("Per request, with gc off; times are of the same requests without a tool.", style="dim")


def show_checks(checks: Iterable[Check], console: Console) -> tuple[Check, ...]:
    """Print each check as it is made, with its remedy if it failed; return all of them."""
    made = []
    for check in checks:
        made.append(check)
        mark = "ok" if check.fine else "FAILED" if check.needed else "missing"
        say(console, f"{mark:8}{check.name}: {one_line(check.found)}", hang=8)
        if not check.fine:
            say(console, f"        {check.remedy}")
    return tuple(made)
