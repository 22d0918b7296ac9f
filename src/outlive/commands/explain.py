"""`outlive explain`: which references keep alive what outlives a request."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from outlive.commands import inventory
from outlive.commands.selection import Selection, measured, said_by_tools, tool_option
from outlive.errors import ExitCode, FaultError, UsageError
from outlive.files import JsonDocument, write_text
from outlive.leaks import drawing, explanation
from outlive.leaks.structures import Analysis, Structure, analyse
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, GC_POLICIES, Cell, Connection, Provenance, Tool
from outlive.records.stack import Stack
from outlive.replay.allocations import Allocations, Tracer, allocation_lines, trace, with_memray
from outlive.replay.reproducer import Reproducer
from outlive.replay.sample import SAMPLE, sample
from outlive.replay.store import provenance
from outlive.replay.subject import Subject
from outlive.service import app as apps
from outlive.service import remedies, scenarios
from outlive.stacks import environments
from outlive.stacks.prepare import prepare

SCHEMA_VERSION = 1

F = TypeVar("F", bound=Callable[..., Any])


class ExplanationDocument(JsonDocument, frozen=True, kw_only=True):
    """The explanation of one cell as JSON."""

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    cell: Cell
    analysis: Analysis
    allocations: tuple[Allocations, ...]


def _file(flag: str, what: str) -> Callable[[F], F]:
    path = click.Path(dir_okay=False, path_type=Path)
    return click.option(flag, flag.strip("-"), type=path, metavar="FILE", help=f"Also write {what}.")


@click.command("explain")
@click.argument("stack", metavar="STACK")
@click.option("--scenario", required=True, metavar="NAME", help="Scenario to explain.")
@click.option("--connection", type=click.Choice(CONNECTIONS), default="close", show_default=True)
@click.option(
    "--gc",
    "policy",
    type=click.Choice(GC_POLICIES),
    default="off",
    show_default=True,
    help="With gc on only what a collection does not free is explained.",
)
@click.option("--python", metavar="X.Y", help="Python for a stack that does not name one.")
@click.option("--worker", metavar="NAME", help="gunicorn worker, as app.toml names it.")
@click.option(
    "--allocations",
    "traced",
    is_flag=True,
    help="Trace in a second run where memory that stays is allocated, with tracemalloc.",
)
@click.option(
    "--memray",
    "with_c",
    is_flag=True,
    help="Trace with memray, too, which also sees what C code takes from malloc.",
)
@click.option("--remedy", "name", metavar="NAME", help="Remedy to apply to the app.")
@tool_option
@_file("--json", "JSON")
@_file("--dot", "the rings and paths for Graphviz")
@_file("--svg", "them as a picture")
@_file("--mermaid", "them as a Mermaid flowchart")
@click.option(
    "--reproducer",
    "script",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a script that shows the first structure, once it was seen to.",
)
@click.option("--fingerprint", metavar="HEX", help="Structure that the script is to show, if not the first.")
def explain_command(
    stack: str,
    *,
    scenario: str,
    connection: Connection,
    policy: str,
    python: str | None,
    worker: str | None,
    traced: bool,
    with_c: bool,
    name: str | None,
    attached: tuple[Tool, ...],
    script: Path | None,
    fingerprint: str | None,
    **files: Path | None,
) -> int:
    """Explain which references keep alive what outlives a request.

    \b
    outlive explain flask==2.3.3 --scenario not-found
    outlive explain aiohttp==3.10.10,python==3.11 --scenario not-found --gc on
    outlive explain flask==3.1.3 --scenario not-found --reproducer reproduce.py
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    chosen = scenarios.find(project.scenarios, [scenario])
    if len(chosen) > 1:
        raise UsageError(f"explain takes one scenario; {scenario!r} matches {len(chosen)}")
    cell = Cell(chosen[0].name, connection, policy)
    asked = Stack.parse(stack)
    remedy = remedies.find(project, asked.framework, name) if name else None
    prepared = prepare(project, asked, python, remedy)
    selection = Selection((cell.scenario,), None, (connection,), (policy,), worker, fresh=False, jobs=1)
    request = selection.request(project)
    ((measurement,),) = measured(project, [prepared], request)
    if measurement.status != "measured":
        raise FaultError(f"{cell.scenario} cannot be measured: {measurement.reason}")
    app = apps.load(project, prepared.release.framework, chosen[0].app)
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    subject = Subject(environment, app, project.apps / app.framework, worker, remedy)
    tracers: list[tuple[Tracer, Subject]] = [("tracemalloc", subject)] if traced else []
    tracers += [("memray", with_memray(subject, prepared))] if with_c else []
    analysis = analyse(
        sample(subject, chosen[0], cell),
        connections=len(SAMPLE[connection]),
        bounded=measurement.growth != "leak",
        collecting=policy == "on",
    )
    heading = f"{prepared.release} · {cell.scenario} · {connection} · gc {policy} · Python {analysis.python}"
    heading += f" · {remedy.name}" if remedy else ""
    click.echo(explanation.render(heading, analysis), nl=False)
    traces = []
    for tracer, of in tracers:
        traces.append(trace(of, chosen[0], cell, tracer))
        click.echo(allocation_lines(traces[-1]), nl=False)
    if readings := said_by_tools(project, prepared, request, attached):
        inventory.show_tools(readings, Console())
    document = ExplanationDocument(
        provenance=provenance([prepared.record]),
        cell=cell,
        analysis=analysis,
        allocations=tuple(traces),
    )
    pictures = {"dot": drawing.dot, "svg": drawing.svg, "mermaid": drawing.mermaid}
    for kind, path in files.items():
        if path:
            write_text(path, pictures[kind](analysis) if kind in pictures else document.to_json())
    if script:
        wanted = _wanted(analysis, fingerprint)
        module = (project.apps / app.framework / app.target.partition(":")[0]).with_suffix(".py")
        picture = tuple(explanation.picture(wanted.explanation))
        write_text(script, Reproducer(environment, module, chosen[0]).find(wanted, picture))
        click.echo(f"\n{script} shows {wanted.explanation.fingerprint}: it was run, and seen to.")
    return ExitCode.FINE


def _wanted(analysis: Analysis, fingerprint: str | None) -> Structure:
    for structure in analysis.structures:
        if fingerprint in (None, structure.fingerprint):
            return structure
    if fingerprint is None:
        raise UsageError("there is nothing to reproduce: nothing outlives its request")
    known = ", ".join(structure.fingerprint for structure in analysis.structures) or "none"
    raise UsageError(f"no structure here has the fingerprint {fingerprint}; there are {known}")
