"""A report in a few lines for a terminal: the verdicts, what changes, and the answers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outlive.reports.record import Report
from outlive.tables import indented, say
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
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for answer in report.said.answers:
        table.add_row(Text(answer.question, style="bold"), Text(answer.answer))
    console.print(table)
