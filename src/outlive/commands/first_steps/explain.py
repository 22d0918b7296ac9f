"""`outlive explain`: find the references that keep alive what outlives a request."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.api.explained import explained
from outlive.commands.parts import inventory
from outlive.commands.parts.own import AppOption, app_options, stacks_named
from outlive.commands.parts.progress import progress
from outlive.commands.parts.selection import practice_option, tool_option, tool_readings, worker_option
from outlive.commands.parts.writing import file_option, json_option
from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.records.measurement import CONNECTIONS, GC_POLICIES, Connection, Tool
from outlive.replay.explanation.allocations import Tracer, allocation_lines
from outlive.retention import drawing, explanation
from outlive.retention.structures import Analysis, Structure
from outlive.tables import output


@click.command("explain")
@click.argument("stack", required=False, metavar="STACK")
@app_options
@click.option("--scenario", required=True, metavar="NAME", help="Scenario to explain.")
@click.option("--connection", type=click.Choice(CONNECTIONS), default="close", show_default=True)
@click.option(
    "--gc",
    "policy",
    type=click.Choice(GC_POLICIES),
    default="off",
    show_default=True,
    help="With gc on, only objects that no collection frees are explained.",
)
@click.option("--python", metavar="X.Y", help="Python for a stack that names none.")
@worker_option
@click.option(
    "--allocations",
    "traced",
    is_flag=True,
    help="Also run with tracemalloc to find the lines that allocate memory which stays.",
)
@click.option(
    "--memray",
    "with_c",
    is_flag=True,
    help="Also run with memray, which sees allocations by C code as well.",
)
@practice_option
@tool_option
@json_option
@file_option("--dot", "Also write the rings and paths for Graphviz.", "dot")
@file_option("--svg", "Also write the rings and paths as an SVG picture.", "svg")
@file_option("--mermaid", "Also write the rings and paths as a Mermaid flowchart.", "mermaid")
@file_option(
    "--reproducer",
    "Also write a script that reproduces the first structure; it is run first, to be sure.",
    "script",
)
@click.option(
    "--fingerprint", metavar="HEX", help="Structure for the script to reproduce. [default: the first]"
)
def explain_command(
    *,
    stack: str | None,
    app: AppOption | None,
    scenario: str,
    connection: Connection,
    policy: str,
    python: str | None,
    worker: str | None,
    traced: bool,
    with_c: bool,
    practices: tuple[str, ...],
    attached: tuple[Tool, ...],
    script: Path | None,
    fingerprint: str | None,
    **files: Path | None,
) -> int:
    """Explain which references keep objects alive after a request.

    \b
    outlive explain flask==2.3.3 --scenario not-found
    outlive explain aiohttp==3.10.10,python==3.11 --scenario not-found --gc on
    outlive explain --app . --scenario not-found
    outlive explain flask==3.1.3 --scenario not-found --reproducer reproduce.py
    """  # noqa: D301 - click's mark for lines that stay as they are
    project, (wanted, *_) = stacks_named(app, [stack] if stack else [])
    tracers: list[Tracer] = ["tracemalloc"] if traced else []
    tracers += ["memray"] if with_c else []
    with progress() as callbacks:
        result = explained(
            project,
            wanted,
            scenario,
            connection=connection,
            policy=policy,
            practices=practices,
            tracers=tracers,
            python=python,
            worker=worker,
            progress=callbacks,
        )
    document, analysis = result.document, result.document.analysis
    parts = [str(result.prepared.release), result.scenario.name, connection, f"gc {policy}"]
    parts += [f"Python {analysis.python}", *filter(None, [result.prepared.remedy_name])]
    console = output()
    heading = " · ".join(parts)
    text = explanation.render(
        heading,
        analysis,
        console.width,
        result.outside,
        collecting=policy == "on",
        measured=result.measured,
    )
    click.echo(text, nl=False)
    for traces in document.allocations:
        click.echo(allocation_lines(traces, console.width), nl=False)
    if readings := tool_readings(project, result.prepared, result.request, attached):
        inventory.show_tools(readings, console)
    pictures = {"dot": drawing.dot, "svg": drawing.svg, "mermaid": drawing.mermaid}
    for kind, path in files.items():
        if path:
            write_text(path, pictures[kind](analysis) if kind in pictures else document.to_json())
    if script:
        structure = _chosen(analysis, fingerprint)
        write_text(script, result.reproducer(structure))
        click.echo(f"\n{script} reproduces {structure.explanation.fingerprint}: it was run to be sure.")
    return ExitCode.FINE


def _chosen(analysis: Analysis, fingerprint: str | None) -> Structure:
    for structure in analysis.structures:
        if fingerprint in (None, structure.fingerprint):
            return structure
    if fingerprint is None:
        raise UsageError("there is nothing to reproduce: no object outlives its request")
    fingerprints = ", ".join(structure.fingerprint for structure in analysis.structures) or "none"
    raise UsageError(f"no structure has the fingerprint {fingerprint}; there are {fingerprints}")
