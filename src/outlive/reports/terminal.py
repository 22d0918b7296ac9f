"""Prints a report in a terminal: the verdicts, the changes and the answers."""

from __future__ import annotations

from rich.console import Console

from outlive.comparison.terminal import show_changes
from outlive.reports.record import Report
from outlive.tables import described, indented, say


def head(report: Report, console: Console) -> None:
    """Print the verdict, overall and for each gc policy, and what changes."""
    statements = report.said
    say(console, f"{report.comparison.subject}: {statements.verdict}", "bold")
    say(console, statements.means)
    if statements.verdict == "WITHDRAWN":  # what to take instead; a policy's line says why of all others
        say(console, statements.because)
    for line in statements.policies:
        indented(console, line)
    show_changes(report.comparison.changes, console)
    if statements.era:
        say(console, statements.era)
    for line in (statements.scope, statements.sizes, statements.python, statements.origin):
        say(console, line, "dim")


def show(report: Report, console: Console) -> None:
    """Print the head and the answers to a reader's questions."""
    head(report, console)
    console.print()
    described(console, ((answer.question, "\n".join(answer.lines)) for answer in report.said.answers))
