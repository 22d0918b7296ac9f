"""Explains a cell: measures, samples and analyses it, and traces where its memory was allocated."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.api.selection import Selection, one_scenario
from outlive.comparison.outside import outside
from outlive.errors import FaultError
from outlive.files import JsonDocument
from outlive.project import Project
from outlive.records.measurement import Cell, Connection, Provenance
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.engine import Progress
from outlive.replay.explanation.allocations import Allocations, Tracer, trace, with_memray
from outlive.replay.explanation.reproducer import Reproducer
from outlive.replay.explanation.sample import SAMPLE, sample
from outlive.replay.store import provenance
from outlive.replay.subject import Subject
from outlive.retention import explanation
from outlive.retention.structures import Analysis, Structure, analyse
from outlive.service import app as apps
from outlive.service.scenarios import Scenario
from outlive.stacks import environments
from outlive.stacks.prepare import Prepared


class ExplanationDocument(JsonDocument, frozen=True, kw_only=True):
    """The explanation of one cell as JSON."""

    provenance: Provenance
    cell: Cell
    analysis: Analysis
    allocations: tuple[Allocations, ...]


class Explained(msgspec.Struct, frozen=True):
    """An explanation, with everything that a reproducer or another tool needs.

    `outside` says what each request leaks besides objects; `measured` is how many objects each request
    leaves, or leaks where cyclic garbage is left out.
    """

    document: ExplanationDocument
    subject: Subject
    prepared: Prepared
    scenario: Scenario
    request: engine.CellRequest
    outside: tuple[str, ...]
    measured: float | None

    def reproducer(self, structure: Structure) -> str:
        """Return a script that reproduces `structure`: it was run. Raises as `Reproducer.find` does."""
        picture = tuple(explanation.picture(structure.explanation))
        return Reproducer(self.subject, self.scenario).find(structure, picture)


def explained(
    project: Project,
    stack: Stack,
    pattern: str,
    *,
    connection: Connection,
    policy: str,
    practices: Sequence[str] = (),
    tracers: Sequence[Tracer] = (),
    python: str | None,
    worker: str | None,
    fresh: bool = False,
    progress: Progress,
) -> Explained:
    """Return the explanation of the one scenario that matches `pattern`, served by `stack`.

    Raises UsageError unless exactly one scenario matches, FaultError if it cannot be measured, and as
    `prepare` and `sample` do.
    """
    scenario = one_scenario(project, pattern, "explain")
    cell = Cell(scenario.name, connection, policy)
    selection = Selection(
        patterns=(scenario.name,),
        connections=(connection,),
        policies=(policy,),
        worker=worker,
        fresh=fresh,
        jobs=1,
        practices=tuple(practices),
    )
    prepared = selection.prepared(project, stack, python)
    request = selection.request(project)
    ((measurement,),) = engine.run(project, [prepared], request, progress)
    if measurement.status != "measured":
        raise FaultError(f"{cell.scenario} cannot be measured: {measurement.reason}")
    app = apps.load(project, prepared.release.framework, scenario.app)
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    subject = Subject(environment, app, project.apps / app.framework, worker, prepared.remedy)
    traced = [(with_memray(subject, prepared) if name == "memray" else subject, name) for name in tracers]
    analysis = analyse(
        sample(subject, scenario, cell),
        connections=len(SAMPLE[connection]),
        bounded=measurement.growth != "leak",
        collecting=policy == "on",
    )
    document = ExplanationDocument(
        provenance=provenance([prepared.record]),
        cell=cell,
        analysis=analysis,
        allocations=tuple(trace(served, scenario, cell, tracer) for served, tracer in traced),
    )
    left = measurement.leaked_per_request if policy == "on" else measurement.survivors_per_request
    return Explained(document, subject, prepared, scenario, request, tuple(outside(measurement)), left)
