"""`outlive sweep`: measure every release, for asv to compare, search and publish."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from outlive.api.selection import Selection
from outlive.commands.parts.progress import progress
from outlive.commands.parts.selection import measuring_options
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode, FaultError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.records.release import Release
from outlive.releases.lineage import PYTHON
from outlive.replay import sweep as history_sweep
from outlive.tables import output, say
from outlive.wording import counted


@click.command("sweep")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
@click.option("--since", metavar="VERSION", help="Start at this version.")
@measuring_options
@json_option
def sweep_command(
    *,
    frameworks: tuple[str, ...],
    since: str | None,
    python: str | None,
    json_file: Path | None,
    **selected: Any,
) -> int:
    """Measure every release of a framework.

    The default Python is 3.11.

    Stored results are skipped, so an interrupted sweep continues where it stopped. In a checkout the results
    are published: they go to results/, also in the form that asv reads (asv compare, asv find, asv publish).

    \b
    outlive sweep
    outlive sweep aiohttp --since 3.11.0 --python 3.12
    outlive sweep --scheduler tcp://10.0.0.1:8786
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    python = python or PYTHON
    keep: history_sweep.Keep = _discard
    if project.inside and not project.named:
        project = project.publishing()
    if project.publishes:
        project.renewable("sweep of published results")
        try:
            from outlive.asv.results import AsvResults  # noqa: PLC0415 - only this verb needs asv
        except ModuleNotFoundError as error:
            raise FaultError(
                f"{error.name} is not installed: sweep needs asv, as in `pip install asv`"
            ) from None
        keep = AsvResults(project, python).write
    swept = history_sweep.releases(project, frameworks, since)
    request = Selection(**selected).request(project)
    with progress() as callbacks:
        outcome = history_sweep.sweep(project, swept, python, request, callbacks, keep=keep)
    write_json(json_file, outcome)
    console = output()
    for gap in outcome.unavailable:
        say(console, f"not measured: {gap.framework} {gap.release}: {gap.reason}")
    say(
        console,
        f"{counted(len(swept), 'release')} on Python {python}: "
        f"{counted(outcome.cells, 'cell')} measured, {outcome.failed} of them failed",
    )
    return ExitCode.FAULT if outcome.failed else ExitCode.FINE


def _discard(_release: Release, _measurements: Sequence[Measurement]) -> None:
    """Write nothing: outside a checkout there is no asv suite that reads results."""
