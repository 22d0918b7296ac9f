"""`outlive measure`: measure what stacks leave in memory, cell by cell."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click

from outlive.api.selection import Selection
from outlive.commands.parts import inventory
from outlive.commands.parts.own import AppOption, app_options, stacks_named
from outlive.commands.parts.selection import (
    fault_code,
    measured,
    measuring_options,
    practice_option,
    tool_option,
    tool_readings,
)
from outlive.commands.parts.writing import writing_options
from outlive.comparison.headline import untouched
from outlive.errors import UsageError
from outlive.files import write_text
from outlive.records.measurement import Document, Tool, never_imported
from outlive.replay.explanation import findings
from outlive.replay.store import provenance
from outlive.tables import output, say
from outlive.wording import capital


@click.command("measure")
@click.argument("stacks", nargs=-1, metavar="STACK…")
@app_options
@measuring_options
@click.option(
    "--remedy", "names", multiple=True, metavar="NAME", help="Remedy to apply; with several, each in turn."
)
@practice_option
@tool_option
@writing_options
def measure_command(
    *,
    stacks: tuple[str, ...],
    app: AppOption | None,
    python: str | None,
    names: tuple[str, ...],
    practices: tuple[str, ...],
    attached: tuple[Tool, ...],
    json_file: Path | None,
    markdown_file: Path | None,
    **selected: Any,
) -> int:
    """Measure what stacks leave in memory per request.

    \b
    outlive measure aiohttp==3.11.18,multidict==6.3.1,python==3.11 --scenario not-found --gc off
    outlive measure aiohttp==3.14.5 flask==3.1.3 --set all --markdown findings.md
    outlive measure --app . --scenario not-found
    outlive measure flask==3.1.3 --scenario not-found --gc off --with objgraph --with tracemalloc
    outlive measure flask==3.1.3 --remedy clear-error --remedy clear-frames
    outlive measure flask==3.1.3,opentelemetry-api==1.30.0 --with-practice tracing.py:tracing
    """  # noqa: D301 - click's mark for lines that stay as they are
    if attached and max(len(stacks), 1) * max(len(names), 1) > 1:
        raise UsageError("--with takes one stack and at most one remedy")
    project, wanted = stacks_named(app, stacks)
    changes: list[tuple[str, ...]] = [(name, *practices) for name in dict.fromkeys(names)] or [practices]
    selections = [Selection(**selected, practices=change) for change in changes]
    request = selections[0].request(project)
    runs = [*itertools.product(wanted, selections)]
    prepared = [selection.prepared(project, stack, python) for stack, selection in runs]
    by_stack = measured(project, prepared, request)
    measurements = tuple(itertools.chain.from_iterable(by_stack))
    readings = tool_readings(project, prepared[0], request, attached)
    if json_file:
        records = [stack.record for stack in prepared]
        document = Document(provenance=provenance(records), measurements=measurements, tools=readings)
        write_text(json_file, document.to_json().decode())
    inventory.show_measurements(measurements, output())
    for (stack, _), cells in zip(runs, by_stack, strict=True):
        if unimported := never_imported([pin.name for pin in stack.pins], cells):
            say(output(), f"{capital(untouched(unimported))}.")
    if readings:
        inventory.show_tools(readings, output())
    if markdown_file:
        write_text(markdown_file, findings.render(request.scenarios, measurements))
    return fault_code(measurements)
