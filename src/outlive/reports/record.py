"""Reports: everything that a page, a Markdown comment and a JSON file say about one upgrade, in one record.

`reports/<framework>/<name>.json` in a folder of results is a `Report`. Only its evidence is read back. The
rest is made anew with today's rules and release facts, so a release that has been yanked since is no longer
recommended.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from outlive.comparison.cells import BASELINE
from outlive.comparison.noisy.load import Loads
from outlive.comparison.pair import BothMeasurements, Compared, Comparison, Side, compare
from outlive.comparison.sizes import Rates
from outlive.errors import FaultError
from outlive.files import SCHEMA_VERSION
from outlive.history import timeline
from outlive.history.stored import Stored
from outlive.history.timeline import History, Stepped, Strip, Timeline
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, Provenance
from outlive.records.release import Release
from outlive.releases import claims
from outlive.releases.catalogue import Catalogue
from outlive.releases.claims import Changelog, Claim
from outlive.reports import answers, costs, verdict
from outlive.reports import remedies as relief
from outlive.reports.answers import Said
from outlive.reports.claims import Held, Span, about, hold
from outlive.reports.costs import Bill
from outlive.reports.evidence import Evidence, read
from outlive.reports.remedies import ReliefDocument, Reliefs
from outlive.reports.verdict import Judgement
from outlive.service import scenarios

UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")


class Facts(msgspec.Struct, frozen=True):
    """Facts about a framework besides the evidence: releases, scenarios, changelogs, history, remedies.

    `scenarios` are the names and summaries of all. `expected` are the names of the default set, `development`
    those that no service in production meets.
    """

    releases: tuple[Release, ...]
    scenarios: tuple[tuple[str, str], ...]
    expected: tuple[str, ...]
    development: frozenset[str]
    logs: tuple[Changelog, ...] | None
    history: History
    reliefs: Reliefs = Reliefs()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is reported about one upgrade.

    `scenarios` are summaries by name. `changelogs` are those of the releases in between, None if no claims
    are stored for the framework. `history` is what each release leaves in the scenarios that changed.
    `relief` is what remedies do for the release before or, if that was not measured, for another release; it
    is None if no release was measured.
    """

    schema_version: int = SCHEMA_VERSION
    provenance: Provenance
    said: Said
    judgement: Judgement
    comparison: Comparison
    bill: Bill
    changelogs: tuple[Changelog, ...] | None
    held: tuple[Held, ...]
    scenarios: dict[str, str]
    history: tuple[Strip, ...]
    relief: ReliefDocument | None
    loads: Loads
    command: str | None
    python: str | None
    era: str | None
    measurements: BothMeasurements

    @property
    def name(self) -> str:
        """The report's file name without suffix, as in `3.11.13-to-3.11.14-py3.11`."""
        return name(self.comparison)

    @property
    def own(self) -> bool:
        """Whether any of its measurements was made here and is not published."""
        return any(not m.published for m in (*self.measurements.before, *self.measurements.after))

    def to_json(self) -> bytes:
        """Return the report as UTF-8 JSON, with each part and each measurement on its own line."""
        encode = msgspec.json.encode
        parts = [
            b'"%s":%s' % (field.encode(), encode(getattr(self, field)))
            for field in self.__struct_fields__
            if field != "measurements"
        ]
        sides = (
            b'"%s":[\n%s\n]' % (side.encode(), b",\n".join(map(encode, getattr(self.measurements, side))))
            for side in ("before", "after")
        )
        return b'{%s,\n"measurements":{%s}}\n' % (b",\n".join(parts), b",\n".join(sides))


def facts(project: Project, framework: str, history: History | None = None) -> Facts:
    """Return today's facts about `framework`. Unless `history` is given, it is read from storage when needed.

    Raises UsageError or FaultError if a file is malformed.
    """
    all_scenarios = scenarios.load_set(project.scenarios, "all")
    return Facts(
        releases=Catalogue.load(project, framework).releases,
        scenarios=tuple((scenario.name, scenario.summary) for scenario in all_scenarios),
        expected=tuple(scenario.name for scenario in scenarios.load_set(project.scenarios, "default")),
        development=frozenset(scenario.name for scenario in all_scenarios if scenario.development),
        logs=claims.load(project, framework),
        history=history or Stored(project, framework),
        reliefs=relief.stored(project, framework),
    )


def build(evidence: Evidence, facts: Facts, rates: Rates) -> Report:
    """Return the report of `evidence` with today's rules and facts. Raises FaultError as `compare` does."""
    before, after = (_current(side, facts.releases) for side in (evidence.before, evidence.after))
    comparison = compare(
        before,
        after,
        evidence.measurements,
        evidence.differences,
        rates=rates,
        development=facts.development,
    )
    compared = {row.scenario for row in comparison.rows} | {gap.scenario for gap in comparison.unmeasured}
    logs = None
    if facts.logs is not None:
        logs = claims.between(facts.logs, before.release, after.release)
    judgement = verdict.judge(
        comparison.rows,
        comparison.unmeasured,
        after.release,
        releases=facts.releases,
        python=after.stack.python,
        loads=evidence.loads.comparisons,
    )
    remedies = facts.reliefs.about(before.stack)
    claimed = tuple(log for log in logs or () if log.claims)
    changed = dict.fromkeys(row.scenario for row in comparison.rows if row.direction != "same")
    names = [name for name, _ in facts.scenarios]
    concerned = (name for log in claimed for claim in log.claims for name in about(claim, names))
    history = facts.history.of({BASELINE, *changed})
    steps = _steps(facts.history, history, [log.release for log in claimed], {BASELINE, *concerned})
    held = tuple(
        _held(log.release, claim, comparison, steps[log.release], len(logs or ()) - 1)
        for log in claimed
        for claim in log.claims
    )
    statements = answers.say(
        answers.Upgrade(
            evidence=evidence,
            comparison=comparison,
            judgement=judgement,
            relief=remedies,
            changelogs=logs,
            held=held,
            rates=rates,
        )
    )
    return Report(
        provenance=evidence.provenance,
        said=statements,
        judgement=judgement,
        comparison=comparison,
        bill=costs.bill(comparison.rows, rates),
        changelogs=logs,
        held=held,
        scenarios={name: summary for name, summary in facts.scenarios if name in compared},
        history=tuple(
            strip for connection in CONNECTIONS for strip in timeline.strips(history, changed, connection)
        ),
        relief=remedies,
        loads=evidence.loads,
        command=evidence.command,
        python=evidence.python,
        era=evidence.era,
        measurements=evidence.measurements,
    )


def _steps(
    history: History, measured: Timeline, releases: Collection[str], scenarios: Collection[str]
) -> dict[str, Stepped | None]:
    """Return the step to each release in `scenarios`; only the releases around these steps are read."""
    versions = {moment.release.version for step in measured.steps_to(releases) for moment in step}
    excerpt = history.of(scenarios, versions)
    return {release: excerpt.step_to(release) for release in releases}


def dated(path: Path, report: Report) -> Report:
    """Return `report`, with the provenance of the report in the file `path` if their evidence is the same."""
    try:
        earlier = read(path)
    except (FaultError, FileNotFoundError):
        return report
    same = _identity(earlier, earlier) == _identity(report, report.comparison)
    return msgspec.structs.replace(report, provenance=earlier.provenance) if same else report


def _identity(source: Evidence | Report, pair: Evidence | Comparison) -> tuple[object, ...]:
    """Return all of the evidence except its provenance."""
    stacks = pair.before.stack, pair.after.stack, pair.differences
    return (*stacks, source.measurements, source.loads, source.command, source.python, source.era)


def folder(project: Project, framework: str) -> Path:
    """Return the folder of the user's own reports on `framework`."""
    return folders(project, framework)[0]


def folders(project: Project, framework: str) -> tuple[Path, ...]:
    """Return the folders of reports on `framework`, the user's own first."""
    return tuple(results / "reports" / framework for results in project.results)


def name(pair: Compared | Evidence) -> str:
    """Return the file name of a report without its suffix; it names everything that was varied."""
    before, after = pair.before.stack, pair.after.stack
    sides = [before.release, after.release]
    for difference in pair.differences:
        if difference.asked:
            versions = (difference.before, difference.after)
            sides = [
                f"{side}+{difference.package}-{version or 'none'}"
                for side, version in zip(sides, versions, strict=True)
            ]
    practice = f"-with-{_safe(after.practice)}" if after.practice else ""
    if before.python != after.python:
        sides = [f"{side}-py{stack.python}" for side, stack in zip(sides, (before, after), strict=True)]
        return _safe("-to-".join(sides)) + practice
    return _safe(f"{'-to-'.join(sides)}-py{after.python}") + practice


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a `Report`."""
    return msgspec.json.schema(Report)


def _current(side: Side, releases: Sequence[Release]) -> Side:
    """Return a side with its release as in today's catalogue, or as stored if it is not in there."""
    for release in releases:
        if (release.framework, release.version) == (side.stack.framework, side.stack.release):
            return Side(side.stack, release)
    return side


def _held(release: str, claim: Claim, comparison: Comparison, step: Stepped | None, others: int) -> Held:
    """Return a claim held against the step to its own release if that was measured, else against the pair."""
    span = Span(comparison.before.stack.release, comparison.after.stack.release, others)
    pair = hold(release, claim, comparison.rows, span)
    if step is None:
        return pair
    held = hold(release, claim, step[1], Span(step[0], release, 0))
    return held if held.measured or not pair.measured else pair


def _safe(text: str) -> str:
    return UNSAFE.sub("-", text).strip(".-") or "report"
