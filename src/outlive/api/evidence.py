"""Gathers the evidence of a report: two stacks, prepared and measured, and their stored load tests."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from outlive.api import era
from outlive.api.selection import Selection
from outlive.comparison.cells import BASELINE, judge, match
from outlive.comparison.pair import BothMeasurements, Side
from outlive.errors import FaultError
from outlive.loads import stored
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.engine import Progress
from outlive.replay.store import provenance
from outlive.reports import record
from outlive.reports.evidence import Evidence
from outlive.retention.growth import TO_COMPARE
from outlive.service.scenarios import load_set
from outlive.stacks import pythons
from outlive.stacks.prepare import Pair
from outlive.wording import step


def measured(
    project: Project,
    stacks: tuple[Stack, Stack],
    python: str | None,
    selection: Selection,
    progress: Progress,
    *,
    words: Sequence[str] = (),
) -> Evidence:
    """Measure the selected cells of both stacks, and no others: only these decide.

    `words` name the stacks on the command line; by default the stacks name themselves.

    Raises FaultError, with the reasons, if no cell could be measured on both sides, and as `prepare_pair`.
    """
    request = selection.request(project, always=(BASELINE,), sensitivity=TO_COMPARE)
    pair = selection.pair(project, stacks, python)
    before, after = engine.run(project, (pair.before, pair.after), request, progress)
    measurable, gaps = match(before, after)
    if not measurable:
        reasons = sorted({gap.reason for gap in gaps})
        raise FaultError(f"nothing could be measured on both sides: {'; '.join(reasons)}")
    came_with = era.sentences(project, stacks, pair, judge(measurable), request=request, progress=progress)
    options = [*(["--python", python] if python else []), *selection.words, "--fresh"]
    return msgspec.structs.replace(
        _evidence(project, pair, before, after),
        command=shlex.join(["outlive", "report", *(words or map(str, stacks)), *options]),
        python=_python(pair, stacks, python),
        era=came_with,
    )


def from_store(project: Project, pair: Pair, worker: str | None) -> Evidence | None:
    """Return the stored evidence on both stacks for the default set, or None if they share no cell."""
    names = {scenario.name for scenario in load_set(project.scenarios, "default")}
    both = era.stored(project, (pair.before, pair.after), worker, lambda cell: cell.scenario in names)
    return _evidence(project, pair, *both) if both else None


def _python(pair: Pair, stacks: tuple[Stack, Stack], python: str | None) -> str:
    """Return a sentence that names the Pythons of the sides, and the reason for choosing them."""
    sides = (pair.before, pair.after)
    asked = any(stack.python or python for stack in stacks)
    minors = step(*(side.interpreter.minor for side in sides))
    return f"Python {minors}: {'as asked for' if asked else pythons.why([side.release for side in sides])}."


def _evidence(
    project: Project, pair: Pair, before: Sequence[Measurement], after: Sequence[Measurement]
) -> Evidence:
    records = (pair.before.record, pair.after.record)
    evidence = Evidence(
        provenance=provenance(records),
        before=Side(records[0], pair.before.release),
        after=Side(records[1], pair.after.release),
        differences=pair.differences,
        measurements=BothMeasurements(before=tuple(before), after=tuple(after)),
    )
    return msgspec.structs.replace(
        evidence, loads=stored.gather(project, *records, record.name(evidence), pair.before.remedy)
    )
