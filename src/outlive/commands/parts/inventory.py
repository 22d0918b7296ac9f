"""Tables of what there is: releases, measurements, what the doctor found."""

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

if TYPE_CHECKING:  # these are slow to import, and only some verbs need them
    from outlive.commands.parts.doctor_checks import Check
    from outlive.releases.claims import Changelog
    from outlive.releases.index import Update
    from outlive.stacks.eras import Added

NOTHING = "-"


def show_releases(releases: Sequence[Release], console: Console) -> None:
    """Print one line a release: version, upload date, Requires-Python, Pythons; below it why it is yanked."""
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
            reason = one_line(release.yanked_reason or "no reason given")
            say(console, f"{' ' * (widths[0] + 2)}yanked: {reason}")


def show_update(update: Update, console: Console) -> None:
    """Print what a refresh changed."""
    added = f"new: {', '.join(update.added)}" if update.added else "nothing new"
    changed = f"; changed: {', '.join(update.changed)}" if update.changed else ""
    undated = f"; no upload date known: {', '.join(update.undated)}" if update.undated else ""
    say(console, f"{update.framework}: {added}{changed}{undated}")


def show_locks(framework: str, added: Added, console: Console) -> None:
    """Print how many era locks were written, and what has none."""
    say(console, f"{framework}: {counted(len(added.locks), 'new lock')}")
    for each in added.unavailable:
        say(console, f"  none for {each.release} on Python {each.python}: {one_line(each.reason)}")


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
    """Print what stays per request, how it grows and the most frequent type: a line a cell, a table a stack.

    Where all cells are of one connection and gc policy the heading names them, else each line does. A star
    marks what was measured here where the rest is published.
    """
    by_stack: dict[str, list[Measurement]] = {}
    published = [m.published for m in measurements if m.status == "measured"]
    mixed = len({*published}) > 1
    for m in measurements:
        remedy = f", {m.remedy}" if m.remedy else ""
        by_stack.setdefault(f"{m.framework} {m.release}, Python {m.python}{remedy}", []).append(m)
    reasons: list[str] = []
    for stack, mine in by_stack.items():
        kinds = {_kind(m) for m in mine}
        alone = f", {kinds.pop()}" if len(kinds) == 1 else ""
        say(console, f"{stack}{alone}", "bold")
        table = columns("bold", "scenario", "survivors", "leaked", "growth", "most of it")
        for column in table.columns[:-1]:
            column.no_wrap = True
        scenario = None
        for m in mine:
            if not alone and m.scenario != scenario:
                table.add_row(m.scenario)
            scenario = m.scenario
            name = scenario if alone else f"  {_kind(m)}"
            own = " *" if mixed and not m.published else ""
            table.add_row(*map(Text, (f"{name}{own}", *_numbers(m, reasons))))
        console.print(table)
        console.print()
    for at, reason in enumerate(reasons, 1):
        say(console, f"{at}. {one_line(reason)}")
    console.print("Objects per request; survivors are counted with gc off.", style="dim")
    say(console, f"{'* ' if mixed else ''}{origin(published)}", style="dim")


def _kind(m: Measurement) -> str:
    return f"{m.connection}, gc {m.gc}"


def _numbers(m: Measurement, reasons: list[str]) -> tuple[str, str, str, str]:
    """Return survivors, leaked, growth and most of what grows in a cell; reasons get numbers."""
    if m.status != "measured":
        reason = m.reason or m.status
        if reason not in reasons:
            reasons.append(reason)
        return NOTHING, NOTHING, m.status, f"({reasons.index(reason) + 1})"
    survivors = NOTHING if m.survivors_per_request is None else number(m.survivors_per_request)
    types = [f"{number(count)} {name.rpartition('.')[2]}" for name, count in m.types.items()]
    leaders = (types or outside(m)) if m.growth in GROWING else []
    return survivors, number(m.leaked_per_request or 0), m.growth or NOTHING, "".join(leaders[:1])


def show_tools(readings: Iterable[ToolReading], console: Console) -> None:
    """Print what each tool saw, and what it cost."""
    table = columns("bold", "scenario", "tool", "objects", "memory", "most of it", "serving", "with looking")
    for one in readings:
        what, much = next(iter(one.grown.items()), ("", 0.0))
        most = f"{size(much) if one.bytes is not None else number(much)} {what}" if what else NOTHING
        cells = (
            f"{one.scenario}, {one.connection}",
            one.tool,
            NOTHING if one.objects is None else number(one.objects),
            NOTHING if one.bytes is None else size(one.bytes),
            most,
            f"{one.serving:.2f}x",
            f"{one.total:.2f}x",
        )
        table.add_row(*map(Text, cells))
    console.print()
    console.print(table)
    console.print("Per request, with gc off; times are of the same requests without a tool.", style="dim")


def show_checks(checks: Iterable[Check], console: Console) -> tuple[Check, ...]:
    """Print each check as it is made, with the remedy where it failed; return them all."""
    made = []
    for check in checks:
        made.append(check)
        mark = "ok" if check.fine else "FAILED" if check.needed else "missing"
        say(console, f"{mark:8}{check.name}: {one_line(check.found)}", hang=8)
        if not check.fine:
            say(console, f"        {check.remedy}")
    return tuple(made)
