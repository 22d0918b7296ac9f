"""The gate: proves that it can fail, then measures and judges a release on one Python with one gc policy.

It never judges stored numbers, except for the replay of a known-bad release.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from outlive.comparison.cells import BASELINE
from outlive.errors import ExitCode, UsageError
from outlive.files import JsonDocument
from outlive.gates import proof
from outlive.gates.judge import FAILING, JudgedCell, Stale, judge, stale
from outlive.gates.limits import Limits
from outlive.gates.proof import Control
from outlive.project import Project
from outlive.records.measurement import (
    USUAL_CONNECTIONS,
    Cell,
    Connection,
    Measurement,
    Provenance,
    StackRecord,
)
from outlive.records.stack import Package, Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay import engine, place
from outlive.replay.engine import Progress
from outlive.replay.subject import Task
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.service.scenarios import Scenario
from outlive.stacks.prepare import Prepared, prepare

PROOFS = 2
"""Most attempts at the proof: a busy machine can spoil the first."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to gate: the selected scenarios, connections and the gc policy.

    `known` are all scenarios, `patterns` those that selected some. `plant` leaves the planted leak in the app
    that is judged, to see the gate go red. Limits that expire before `today` are stale.
    """

    known: tuple[Scenario, ...]
    scenarios: tuple[Scenario, ...]
    connections: tuple[Connection, ...]
    gc: str
    jobs: int
    today: dt.date
    plant: bool = False
    patterns: tuple[str, ...] = ()
    worker: str | None = None
    scheduler: str | None = None

    @classmethod
    def of(
        cls, project: Project, patterns: Sequence[str], connections: Sequence[Connection], **others: Any
    ) -> Wanted:
        """Return what patterns and connections select, by default all scenarios over the usual ones."""
        known = scenarios.load(project.scenarios)
        return cls(
            known=known,
            scenarios=scenarios.select(known, patterns),
            connections=tuple(connections) or USUAL_CONNECTIONS,
            today=dt.datetime.now(dt.UTC).date(),
            patterns=tuple(patterns),
            **others,
        )

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The cells to judge."""
        return engine.cells(self.scenarios, self.connections, (self.gc,))

    @property
    def baseline(self) -> tuple[Cell, ...]:
        """The cells of `ok` for the proof."""
        return engine.cells(scenarios.select(self.known, [BASELINE]), self.connections, (self.gc,))


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """A known-bad release, judged by the limits of the gated release; `over` are the cells over them."""

    stack: str
    cells: int
    over: tuple[JudgedCell, ...]
    unmeasured: int


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the gate. `source` is where an unreleased framework came from.

    `planted`: the planted leak was left in, to see the gate go red. `limits` is the path of the file, and
    `limited` says whether any limit in it is about this release on this Python. `load`: the release was
    judged under load, in one cell for the mix of all scenarios or of those that `patterns` selected. `worker`
    is the gunicorn worker that the user named, `pins` are the packages whose versions they named, and `app`
    are the words that named an application of theirs. A leak of one object per `least_leak` requests is sure
    to be seen. There are no `cells` if the `controls` failed.
    """

    stack: StackRecord
    source: str | None
    gc: str
    planted: bool
    limits: str
    limited: bool = True
    controls: tuple[Control, ...]
    least_leak: int
    cells: tuple[JudgedCell, ...]
    stale: tuple[Stale, ...]
    replayed: Replayed | None
    load: bool = False
    patterns: tuple[str, ...] = ()
    worker: str | None = None
    pins: tuple[Package, ...] = ()
    allow_yanked: bool = False
    app: tuple[str, ...] = ()

    @property
    def failing(self) -> tuple[JudgedCell, ...]:
        """The cells over or under their limit."""
        return tuple(cell for cell in self.cells if cell.outcome in FAILING)

    @property
    def code(self) -> ExitCode:
        """The exit code. A confirmed deviation outweighs a fault or a doubt elsewhere."""
        if not all(control.seen for control in self.controls):
            return ExitCode.FAULT
        if self.failing or self.stale:
            return ExitCode.REGRESSION
        outcomes = {cell.outcome for cell in self.cells}
        if "failed" in outcomes or not outcomes - {"unsupported"}:
            return ExitCode.FAULT
        if self.replayed and not self.replayed.over:
            return ExitCode.FAULT
        return ExitCode.INCONCLUSIVE if "inconclusive" in outcomes else ExitCode.FINE


class GateDocument(JsonDocument, frozen=True, kw_only=True):
    """The JSON document of one or more runs; `exit_code` is that of the command."""

    provenance: Provenance
    exit_code: int
    gates: tuple[Gate, ...]


def code(gates: Sequence[Gate]) -> ExitCode:
    """Return the exit code of a command with several runs: the most serious of theirs."""
    gravest = (ExitCode.REGRESSION, ExitCode.FAULT, ExitCode.INCONCLUSIVE)
    codes = {gate.code for gate in gates}
    return next((code for code in gravest if code in codes), ExitCode.FINE)


def run(
    project: Project,
    prepared: Prepared,
    wanted: Wanted,
    limits: Limits,
    progress: Progress,
    *,
    source: str | None = None,
) -> Gate:
    """Return the verdict on a release, measured now; cells that deviate are measured twice.

    The proof comes first; without it nothing is judged. Raises as `place.at` and `environments.ensure` do,
    and UsageError if two limits apply to one cell.
    """
    framework = prepared.release.framework
    served = engine.serving(project, framework, wanted.known)
    cells = tuple(cell for cell in wanted.cells if cell.scenario in served)
    with place.at(wanted.scheduler, project, wanted.known, wanted.jobs) as where:
        progress.doing(f"installing {prepared.release}")
        environment = where.install(prepared.lock, prepared.interpreter)

        def tasks(cells: Sequence[Cell], *plants: str) -> list[Task]:
            by_name = served
            if plants:
                by_name = {
                    name: msgspec.structs.replace(subject, app=proof.planted(subject.app, *plants))
                    for name, subject in served.items()
                }
            worker = proof.marked(wanted.worker) if plants and wanted.worker else wanted.worker
            request = engine.CellRequest(wanted.known, tuple(cells), worker=worker, jobs=wanted.jobs)
            return engine.to_measure(project, environment, by_name, request, cells)

        for task in tasks(cells):
            for cell in task.cells:  # report a clash before measuring, not after
                limits.allowed(task.subject.describe(cell, None, status="measured"))

        left_in = ("leak",) if wanted.plant else ()
        reused = set() if wanted.plant else set(cells) & set(wanted.baseline)
        rest = tuple(cell for cell in cells if cell not in reused)
        progress.start(2 * len(wanted.baseline) + len(rest))

        def measured(batch: Sequence[Task]) -> list[Measurement]:
            return list(where.measure(batch, progress.done)) if batch else []

        for _ in range(PROOFS):
            attempt = measured([*tasks(wanted.baseline), *tasks(wanted.baseline, "leak", "cycle")])
            baseline = _by_cell(m for m in attempt if not proof.is_planted(m))
            with_plant = _by_cell(m for m in attempt if proof.is_planted(m))
            controls = tuple(proof.control(baseline[cell], with_plant[cell]) for cell in wanted.baseline)
            if proved := all(control.seen for control in controls):
                break

        verdicts: dict[Cell, JudgedCell] = {}
        first: dict[Cell, Measurement] = {}
        if proved:
            first = {cell: baseline[cell] for cell in reused} | _by_cell(measured(tasks(rest, *left_in)))
            verdicts = {cell: judge(limits, first[cell]) for cell in cells}
            doubtful = tuple(
                cell for cell, judged in verdicts.items() if judged.outcome not in ("within", "unsupported")
            )
            for cell, again in _by_cell(measured(tasks(doubtful, *left_in))).items():
                verdicts[cell] = judge(limits, first[cell], again)
    versions = [release.version for release in Catalogue.load(project, framework).releases]
    entries = stale(limits, list(first.values()), [*versions, prepared.release.version], wanted.today)
    return verdict(prepared, wanted, limits, source, controls, cells=verdicts.values(), entries=entries)


def verdict(
    prepared: Prepared,
    wanted: Wanted,
    limits: Limits,
    source: str | None,
    controls: tuple[Control, ...],
    *,
    cells: Iterable[JudgedCell],
    entries: tuple[Stale, ...] = (),
) -> Gate:
    """Return the run of the gate with these controls, judged cells and stale entries."""
    return Gate(
        stack=prepared.record,
        source=source,
        gc=wanted.gc,
        planted=wanted.plant,
        limits=limits.path,
        limited=limits.hold_for(prepared.record.release, prepared.record.python),
        worker=wanted.worker,
        controls=controls,
        least_leak=proof.SURE_TO_SEE,
        cells=tuple(cells),
        stale=entries,
        replayed=None,
    )


def _by_cell(measurements: Iterable[Measurement]) -> dict[Cell, Measurement]:
    return {Cell.of(m): m for m in measurements}


def replay(
    project: Project, gate: Gate, stack: Stack, wanted: Wanted, *, limits: Limits, progress: Progress
) -> Gate:
    """Return `gate` with the known-bad release `stack` judged by the same limits.

    It must go red, or the limits and the gate prove nothing. Raises UsageError if its framework or
    Python is not the gate's, and as `engine.run` does.
    """
    if stack.framework != gate.stack.framework or stack.python not in (None, gate.stack.python):
        raise UsageError(
            f"--prove {stack}: it must be a release of {gate.stack.framework} on Python {gate.stack.python}, "
            "or the limits do not hold for it"
        )
    packages = apps.packages(project, stack.framework, wanted.worker)
    bad = prepare(project, stack, gate.stack.python, packages=packages)
    request = engine.CellRequest(
        wanted.scenarios, wanted.cells, wanted.worker, jobs=wanted.jobs, scheduler=wanted.scheduler
    )
    (measurements,) = engine.run(project, [bad], request, progress)
    as_gated = [msgspec.structs.replace(m, release=gate.stack.release) for m in measurements]
    verdicts = [judge(limits, measurement) for measurement in as_gated]
    replayed = Replayed(
        stack=f"{bad.release.framework}=={bad.release.version},python=={bad.record.python}",
        cells=len(verdicts),
        over=tuple(judged for judged in verdicts if judged.outcome == "over"),
        unmeasured=sum(judged.outcome in ("failed", "unsupported") for judged in verdicts),
    )
    return msgspec.structs.replace(gate, replayed=replayed)
