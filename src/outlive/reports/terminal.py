"""A report in a few lines for a terminal: the verdicts, what changes, and the answers."""

from __future__ import annotations

from rich.console import Console

from outlive.reports.record import Report
from outlive.tables import described, indented, say
from outlive.wording import capital


def head(report: Report, console: Console) -> None:
    """Print the verdict, for whom it is which, and what changes."""
    said = report.said
    say(console, f"{report.comparison.subject}: {said.verdict}", "bold")
    say(console, said.means)
    for line in said.policies:
        indented(console, line)
    say(console, capital(said.changes))
    if said.era:
        say(console, said.era)
    for line in (said.scope, said.sizes, said.python, said.origin):
        say(console, line, "dim")


def show(report: Report, console: Console) -> None:
    """Print the head and the answers to what a reader asks."""
    head(report, console)
    console.print()
    described(console, ((one.question, one.answer) for one in report.said.answers))
