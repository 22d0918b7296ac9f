"""`outlive report`: write a report on an upgrade as a page, Markdown and JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outlive.api.selection import Selection
from outlive.commands.parts.own import AppOption, app_options
from outlive.commands.parts.pairs import (
    measured_pair,
    open_option,
    show_page,
    write_copies,
    write_load_page,
    write_report,
)
from outlive.commands.parts.selection import fault_code, measuring_options, practice_option
from outlive.commands.parts.writing import writing_options
from outlive.comparison.sizes import Rates
from outlive.errors import ExitCode, UsageError
from outlive.reports import terminal
from outlive.reports.costs import parse_bytes, parse_rate, parse_share
from outlive.tables import output


@click.command("report")
@click.argument("what", nargs=-1, metavar="FRAMEWORK BEFORE AFTER | STACK STACK | RECORD…")
@app_options
@click.option("--rate", default="200/s", show_default=True, help="Your requests, over all workers.")
@click.option("--errors", default="5%", show_default=True, help="Share of requests that fail.")
@click.option(
    "--workers", type=click.IntRange(1, 100_000), default=8, show_default=True, help="Your workers."
)
@click.option("--limit", default="512MiB", show_default=True, help="Memory limit of all workers together.")
@open_option
@measuring_options
@practice_option
@writing_options
def report_command(
    *,
    what: tuple[str, ...],
    app: AppOption | None,
    rate: str,
    errors: str,
    workers: int,
    limit: str,
    opened: bool,
    python: str | None,
    json_file: Path | None,
    markdown_file: Path | None,
    **selected: Any,
) -> int:
    """Write a report on an upgrade as HTML, Markdown and JSON.

    It measures what is not stored yet, and estimates the costs for your traffic.

    The files go to .outlive/results/reports; --json and --markdown write further copies.

    Given records of load tests, it writes a page with plots over time.

    \b
    outlive report aiohttp 3.11.13 3.11.14
    outlive report .outlive/results/loads/flask/3.1.3/py3.11*.json --open
    outlive report flask 2.0.3 3.1.3 --rate 50/s --errors 2% --workers 4 --limit 1GiB
    """  # noqa: D301 - click's mark for lines that stay as they are
    if what and all(word.endswith(".json") for word in what):
        if json_file or markdown_file:
            raise UsageError("--json and --markdown are for a comparison: of load tests there is a page")
        show_page(write_load_page(what), output(), opened=opened)
        return ExitCode.FINE
    rates = Rates(
        rate=parse_rate(rate), errors=parse_share(errors), workers=workers, limit=parse_bytes(limit)
    )
    project, evidence = measured_pair(app, what, python, Selection(**selected))
    report, page = write_report(project, evidence, rates)
    write_copies(report, json_file, markdown_file)
    terminal.show(report, output())
    show_page(page, output(), opened=opened)
    return fault_code([*evidence.measurements.before, *evidence.measurements.after])
