"""The report of a comparison for a terminal or a pipe: readable at 80 columns and without colour."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from outlive.comparison import lines
from outlive.comparison.changes import Direction
from outlive.comparison.headline import Sentence
from outlive.comparison.pair import Compared, Comparison
from outlive.retention import changes_text
from outlive.tables import WIDE, columns, indented, say
from outlive.wording import step

COLOURS: dict[Direction, str] = {"worse": "red", "better": "green", "same": ""}


def show(comparison: Comparison, console: Console, *, everything: bool = False) -> None:
    """Print what changed, cell by cell; with `everything` the rows without a change too."""
    show_facts(comparison, (*lines.facts(comparison), *lines.peaks(comparison)), console)
    rows = comparison.rows if everything else tuple(row for row in comparison.rows if row.significant)
    for section in lines.sections(rows):
        console.print()
        _section(section, console)
    console.print()
    summary = lines.same_summary(comparison)
    if summary:
        say(console, f"{lines.MARKS['same'] if not everything else 'In all'}: {summary}.")
    _fingerprints(comparison, console, everything)
    if files := lines.open_files(comparison):
        say(console, "Files that stay open until a collection:")
        for line in files:
            indented(console, line)
    for gap in lines.gaps(comparison):
        say(console, f"? {gap.title}")
        indented(console, gap.cells)
    hidden = "" if everything else "--all shows every cell. "
    say(console, f"{hidden}--json has all numbers and how they were measured.", "dim")


def show_changes(sentences: Iterable[Sentence], console: Console, indent: str = "") -> None:
    """Print sentences as a list: each head, and its points below it."""
    for sentence in sentences:
        say(console, f"{indent}{sentence.head}")
        for point in sentence.points:
            say(console, f"{indent}  - {point}", hang=len(indent) + 4)


def show_facts(compared: Compared, facts: Sequence[lines.Fact], console: Console) -> None:
    """Print what is known of both sides, and which packages differ."""
    table = columns("bold")
    for name in ("", "before", "after"):
        table.add_column(name, overflow="fold")
    room = (console.width - max(len(fact.name) for fact in facts) - 4) // 2
    below = []
    for fact in facts:
        if any(len(word) > room for word in f"{fact.before} {fact.after}".split()):
            below.append(fact)  # a column would cut a link in two
        else:
            table.add_row(*map(Text, (fact.name, fact.before, fact.after)))
    console.print()
    console.print(table)
    for fact in below:
        say(console, f"{fact.name}: {step(fact.before, fact.after)}")
    console.print()
    equal, *apart = lines.dependencies(compared)
    say(console, equal)
    for line in apart:
        indented(console, line)


def _section(section: lines.Section, console: Console) -> None:
    wide = console.width >= WIDE
    say(console, section.heading, "bold")
    say(console, section.baseline, "dim")
    table = columns("dim")
    table.add_column("", no_wrap=True)
    table.add_column("scenario", overflow="fold")
    names = ["before", "after", "MiB per hour"]
    names += ["freed"] if wide and section.burden else []
    names += ["pauses, ms"] if wide and section.paused else []
    for name in names:
        table.add_column(name, justify="right")
    for line in section.lines:
        cells = [line.before, line.after, line.hourly]
        cells += [line.freed] if wide and section.burden else []
        cells += [line.pauses] if wide and section.paused else []
        mark = Text(lines.MARKS[line.direction], style=COLOURS[line.direction])
        scenario = f"{line.scenario}\n  {line.note}" if line.note else line.scenario
        table.add_row(mark, Text(scenario), *map(Text, cells))
    console.print(table)
    if section.burden and not wide:
        say(console, f"{section.burden} (noisy)", "dim")


def _fingerprints(comparison: Comparison, console: Console, everything: bool) -> None:
    counts = changes_text.summary(comparison.fingerprints)
    if counts:
        say(console, f"What keeps them alive: {counts}.")
    if changes := changes_text.told(comparison.fingerprints, everything=everything):
        console.print(changes_text.grid(changes))
