"""`outlive compare`: compare two stacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from outlive.api import evidence
from outlive.api.selection import Selection
from outlive.commands.parts.compare_load import LoadWanted, compare_under_load
from outlive.commands.parts.own import AppOption, app_options
from outlive.commands.parts.pairs import (
    both_stacks,
    measured_pair,
    open_option,
    show_page,
    write_copies,
    write_report,
)
from outlive.commands.parts.selection import fault_code, measuring_options, practice_option, traffic_options
from outlive.commands.parts.writing import writing_options
from outlive.comparison import terminal
from outlive.comparison.noisy.noise import ROUNDS
from outlive.comparison.sizes import Rates
from outlive.errors import UsageError
from outlive.reports import terminal as summary
from outlive.tables import output


@click.command("compare")
@click.argument("what", nargs=-1, metavar="FRAMEWORK BEFORE AFTER | STACK STACK")
@open_option
@app_options
@measuring_options
@practice_option
@click.option("--all", "everything", is_flag=True, help="Also show the rows that do not change.")
@writing_options
@click.option(
    "--load", "under_load", is_flag=True, help="Compare under load, in rounds. [default gc policy: on]"
)
@click.option("--rounds", type=int, metavar="N", help=f"Rounds of three load tests each. [default: {ROUNDS}]")
@traffic_options
def compare_command(
    *,
    what: tuple[str, ...],
    app: AppOption | None,
    python: str | None,
    everything: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    under_load: bool,
    rounds: int | None,
    user: str | None,
    clients: int,
    requests: int | None,
    rate: float | None,
    opened: bool,
    **selected: Any,
) -> int:
    """Compare two releases of a framework, or two stacks.

    Every selection includes the scenario `ok`, as the baseline for the others. With --load both stacks take
    turns under the same load, and memory, latency and throughput are compared by the rules of
    docs/how-we-decide.md.

    \b
    outlive compare aiohttp 3.11.13 3.11.14
    outlive compare flask==3.1.3,python==3.11 flask==3.1.3,python==3.13
    outlive compare --app . aiohttp==3.12.15
    outlive compare --app . @main @feature
    outlive compare flask 2.3.3 3.1.3 --load --gc off --rounds 6
    outlive compare flask==3.1.3,sentry-sdk==2.0 flask==3.1.3,sentry-sdk==2.9 --with-practice my.py:errors
    """  # noqa: D301 - click's mark for lines that stay as they are
    selection = Selection(**selected)
    if under_load and selection.scheduler:
        raise UsageError("--load and --scheduler exclude each other: load tests run on this machine")
    if under_load:
        wanted = LoadWanted(rounds, user, clients, requests, rate, everything, json_file, markdown_file)
        project, stacks = both_stacks(app, what)
        pair = selection.pair(project, stacks, python)
        code = compare_under_load(project, pair, selection, wanted)
        if stored := evidence.from_store(project, pair, selection.worker):
            show_page(write_report(project, stored, Rates())[1], output(), opened=opened)
        return code
    if rounds or requests or rate:
        raise UsageError("--rounds, --requests and --rate are for a comparison with --load")
    project, measured = measured_pair(app, what, python, selection)
    report, page = write_report(project, measured, Rates())
    console = output()
    summary.head(report, console)
    terminal.show(report.comparison, console, everything=everything)
    write_copies(report, json_file, markdown_file)
    show_page(page, console, opened=opened)
    return fault_code([*measured.measurements.before, *measured.measurements.after])
