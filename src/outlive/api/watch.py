"""Compares unreleased code with the last release, and reports what changed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from outlive.api import evidence
from outlive.api.explained import Explained, explained
from outlive.api.selection import Selection, stack_of
from outlive.comparison.cells import Row
from outlive.comparison.sizes import Rates
from outlive.errors import ExitCode, OutliveError
from outlive.files import JsonDocument, write_text
from outlive.project import Project
from outlive.records.measurement import GC_POLICIES, GROWING, Connection
from outlive.records.stack import AT, Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.engine import Progress
from outlive.reports import record
from outlive.reports.record import Report

CONNECTION: Connection = "close"
"""The connection of a reproducer's requests: each has its own."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison of the last release with unreleased code.

    `changed` are the rows that decide and differ. If there are any, `page` is the report that was written,
    and `script` reproduces one of them; `lacking` says why there is no script.
    """

    report: Report
    changed: tuple[Row, ...] = ()
    page: Path | None = None
    script: Path | None = None
    lacking: str = ""

    @property
    def code(self) -> ExitCode:
        """The exit code: a regression if any row is worse, a fault if a cell failed."""
        if any(row.direction == "worse" for row in self.changed):
            return ExitCode.REGRESSION
        after = self.report.measurements.after
        return ExitCode.FAULT if any(m.status == "failed" for m in after) else ExitCode.FINE


class WatchedDocument(JsonDocument, frozen=True, kw_only=True):
    """The comparisons of unreleased code with the last release, as JSON."""

    watched: tuple[Watched, ...]


def candidates(project: Project, framework: str, repository: Path | None, *, pre: bool) -> list[Stack]:
    """Return the unreleased stacks: a checkout, and with `pre` the pre-releases after the last release."""
    stacks = [Stack(framework, f"{AT}{repository.resolve()}")] if repository else []
    catalogue = Catalogue.load(project, framework)
    last = catalogue.newest()
    if pre:
        stacks += [
            Stack(framework, release.version)
            for release in catalogue.releases
            if release.parsed.is_prerelease and release.parsed > last.parsed and not release.yanked
        ]
    return stacks


def watch(
    project: Project, candidate: Stack, python: str | None, selection: Selection, progress: Progress
) -> Watched:
    """Return what changes from the last release to `candidate`, and write a report if anything does.

    Raises as `evidence.measured` does.
    """
    last = stack_of(project, candidate.framework)
    measured = evidence.measured(project, (last, candidate), python, selection, progress)
    report = record.build(measured, record.facts(project, candidate.framework), Rates())
    changed = tuple(row for row in report.comparison.rows if row.decides and row.direction != "same")
    if not changed:
        return Watched(report=report)
    from outlive.pages import write  # noqa: PLC0415 - templates take a tenth of a second to import

    report, page = write.write(project, report)
    explain = functools.partial(
        explained,
        project,
        candidate,
        connection=CONNECTION,
        python=report.comparison.after.stack.python,
        worker=selection.worker,
        progress=progress,
    )
    script = page.with_name(f"{report.name}-reproducer.py")
    try:
        write_text(script, _reproducer(report, changed, explain))
    except OutliveError as error:
        return Watched(report=report, changed=changed, page=page, lacking=f"none: {error}")
    return Watched(report=report, changed=changed, page=page, script=script)


def _reproducer(report: Report, changed: Sequence[Row], explain: Callable[..., Explained]) -> str:
    """Return a script that reproduces what a row leaves, preferably new structures of rows that are worse.

    Raises the error of the last attempt if no row can be reproduced.
    """
    earlier = {fingerprint for m in report.measurements.before for fingerprint in m.fingerprints}
    growing = [row for row in changed if row.after.growth in GROWING and row.gc in GC_POLICIES]
    growing.sort(key=lambda row: (row.direction != "worse", row.gc != "off"))
    why = OutliveError("nothing that changed grows")
    for scenario, policy in dict.fromkeys((row.scenario, row.gc) for row in growing):
        try:
            explanation = explain(scenario, policy=policy)
            structures = explanation.document.analysis.structures
            new_first = sorted(structures, key=lambda s: s.explanation.fingerprint in earlier)
            if new_first:
                return explanation.reproducer(new_first[0])
        except OutliveError as error:
            why = error
    raise why
