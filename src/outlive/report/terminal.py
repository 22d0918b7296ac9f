"""A report in a few lines for a terminal: the verdicts and the answers."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from outlive.report.answers import MEANS, answers, because
from outlive.report.record import Report


def show(report: Report, console: Console) -> None:
    """Print the verdict, for whom it is which, and the answers to what a reader asks."""
    judged = report.judgement.overall
    console.print(Text(f"{report.comparison.subject}: {judged.verdict}", style="bold"))
    console.print(Text(f"{MEANS[judged.verdict]} {because(report)}"))
    for one in report.judgement.policies:
        console.print(Text(f"  with gc {one.gc}: {one.judged.verdict} ({one.judged.because})"))
    console.print()
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for answer in answers(report):
        table.add_row(Text(answer.question, style="bold"), Text(answer.answer))
    console.print(table)
