"""Whether counts repeat: measures cells again and again, each time in a fresh worker.

Run by hand: `python benchmarks/by_hand/exactness.py STACK [--times N]` with the options of `outlive measure`.
Lists the cells whose runs differ, with what differs in how many of the runs; the exit code is 3 where there
are any. What is measured is not stored; an interruption ends it with what was seen until then.

    python benchmarks/by_hand/exactness.py aiohttp==3.14.5 --set extended --gc off --times 10
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import click

from outlive.api.selection import Selection
from outlive.commands.parts.progress import progress
from outlive.commands.parts.selection import measuring_options
from outlive.errors import ExitCode, OutliveError
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.measure import measure
from outlive.service import app as apps
from outlive.stacks import environments
from outlive.stacks.prepare import prepare
from outlive.wording import counted

READINGS = ("status", "reason", "answer", "growth", "survivors_per_request", "leaked_per_request")
"""What must repeat; memory does not, and decides nothing alone."""


@click.command()
@click.argument("stack")
@click.option("--times", type=click.IntRange(2), default=10, show_default=True)
@measuring_options
def main(stack: str, times: int, python: str | None, **selected: Any) -> None:
    """Measure cells again and again and list those that differ."""
    project = Project.find()
    wanted = Stack.parse(stack)
    request = Selection(**selected).request(project)
    packages = apps.packages(project, wanted.framework, request.worker)
    prepared = prepare(project, wanted, python, packages=packages)
    served = engine.serving(project, prepared.release.framework, request.scenarios)
    cells = [cell for cell in request.cells if cell.scenario in served]
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    tasks = engine.to_measure(project, environment, served, request, cells)
    runs: dict[Cell, list[Measurement]] = defaultdict(list)
    with progress() as callbacks:
        callbacks.start(times * len(cells))

        def done(found: Measurement) -> None:
            runs[Cell.of(found)].append(found)
            callbacks.done(found)

        try:
            for _ in range(times):
                measure(tasks, request.scenarios, request.jobs, done)
        except KeyboardInterrupt:
            for of_cell in runs.values():
                if of_cell[-1].status == "failed":  # most likely by the interruption
                    of_cell.pop()
    different = {cell: text for cell in cells if (text := differences(runs[cell]))}
    for cell, text in different.items():
        click.echo(f"{cell.scenario}, {cell.connection}, gc {cell.gc}: {text}")
    whole = {m.reason for of_cell in runs.values() for m in of_cell if m.status != "measured"}
    for reason in sorted(filter(None, whole)):
        click.echo(f"not measured: {reason}")
    counts = [len(runs[cell]) for cell in cells]
    much = counted(times, "run") if min(counts) == times else f"{min(counts)} to {max(counts)} runs"
    click.echo(f"{len(cells)} cells of {prepared.release}, {much}: {len(different)} differ")
    sys.exit(ExitCode.INCONCLUSIVE if different else ExitCode.FINE)


def differences(runs: Sequence[Measurement]) -> str:
    """Return what differs among the runs of a cell, with how often each was seen; nothing where all agree."""
    parts = []
    for reading in READINGS:
        seen = Counter(getattr(run, reading) for run in runs)
        if len(seen) > 1:
            parts.append(f"{reading} " + ", ".join(f"{value} ({n}x)" for value, n in seen.most_common()))
    return "; ".join(parts)


if __name__ == "__main__":
    try:
        main()
    except OutliveError as error:
        sys.exit(f"exactness: {error}")
