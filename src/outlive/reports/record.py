"""Reports: all that a page, a Markdown comment and a JSON file say about one upgrade, in one record.

`reports/<framework>/<name>.json` in a folder of results is a `Report`. Only its evidence is read back:
everything else is made anew from it by the rules and the release facts of today, so that a release that was
yanked since is no longer recommended.
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
    """What is known beside the evidence: releases, scenarios, changelogs, measured history, remedies.

    `scenarios` has all names with their summaries, `expected` are the names of the default set, `development`
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
    """All that is said about one upgrade.

    `scenarios` has the summary of each by name. `changelogs` are those of the releases in between; None where
    no claims are stored for the framework. `history` is what each release leaves in those that changed.
    `relief` is what remedies do for the release before or, where that was not measured, for another; None
    where that is not known of any.
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
        """Whether something in it was measured here and is not published."""
        return any(not m.published for m in (*self.measurements.before, *self.measurements.after))

    def to_json(self) -> bytes:
        """Return the report as UTF-8 JSON, each part and each measurement on a line of its own."""
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
    """Return what is known of `framework` now; its stored history is read when needed, unless it is given.

    Raises UsageError or FaultError where a file is malformed.
    """
    every = scenarios.load_set(project.scenarios, "all")
    return Facts(
        releases=Catalogue.load(project, framework).releases,
        scenarios=tuple((one.name, one.summary) for one in every),
        expected=tuple(one.name for one in scenarios.load_set(project.scenarios, "default")),
        development=frozenset(one.name for one in every if one.development),
        logs=claims.load(project, framework),
        history=history or Stored(project, framework),
        reliefs=relief.stored(project, framework),
    )


def build(evidence: Evidence, known: Facts, rates: Rates) -> Report:
    """Return the report of `evidence` by the rules and the facts of now. Raises FaultError as `compare`."""
    sides = [_current(side, known.releases) for side in (evidence.before, evidence.after)]
    comparison = compare(
        sides[0],
        sides[1],
        evidence.measurements,
        evidence.differences,
        rates=rates,
        development=known.development,
    )
    own = {row.scenario for row in comparison.rows} | {gap.scenario for gap in comparison.unmeasured}
    logs = None
    if known.logs is not None:
        logs = claims.between(known.logs, sides[0].release, sides[1].release)
    judgement = verdict.judge(
        comparison.rows,
        comparison.unmeasured,
        sides[1].release,
        releases=known.releases,
        python=sides[1].stack.python,
        loads=evidence.loads.comparisons,
    )
    remedies = known.reliefs.about(sides[0].stack)
    claimed = tuple(log for log in logs or () if log.claims)
    changed = dict.fromkeys(row.scenario for row in comparison.rows if row.direction != "same")
    names = [name for name, _ in known.scenarios]
    concerned = (name for log in claimed for claim in log.claims for name in about(claim, names))
    history = known.history.of({BASELINE, *changed})
    steps = _steps(known.history, history, [log.release for log in claimed], {BASELINE, *concerned})
    held = tuple(
        _hold(log.release, claim, comparison, steps[log.release], len(logs or ()) - 1)
        for log in claimed
        for claim in log.claims
    )
    said = answers.say(
        answers.Known(
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
        said=said,
        judgement=judgement,
        comparison=comparison,
        bill=costs.bill(comparison.rows, rates),
        changelogs=logs,
        held=held,
        scenarios={name: summary for name, summary in known.scenarios if name in own},
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
    known: History, history: Timeline, releases: Collection[str], scenarios: Collection[str]
) -> dict[str, Stepped | None]:
    """Return the step to each release in some scenarios, read from the releases around these steps alone."""
    around = {moment.release.version for step in history.steps_to(releases) for moment in step}
    read = known.of(scenarios, around)
    return {release: read.step_to(release) for release in releases}


def dated(path: Path, report: Report) -> Report:
    """Return `report` with the provenance of the one in the file `path`, if their evidence is the same."""
    try:
        earlier = read(path)
    except FaultError:
        return report
    same = _identity(earlier, earlier) == _identity(report, report.comparison)
    return msgspec.structs.replace(report, provenance=earlier.provenance) if same else report


def _identity(made: Evidence | Report, pair: Evidence | Comparison) -> tuple[object, ...]:
    """Return all of the evidence that is not about when and by what it was made."""
    stacks = pair.before.stack, pair.after.stack, pair.differences
    return (*stacks, made.measurements, made.loads, made.command, made.python, made.era)


def folder(project: Project, framework: str) -> Path:
    """Return where the user's own reports on `framework` are."""
    return folders(project, framework)[0]


def folders(project: Project, framework: str) -> tuple[Path, ...]:
    """Return where the reports on `framework` are, the user's own first."""
    return tuple(results / "reports" / framework for results in project.results)


def name(pair: Compared | Evidence) -> str:
    """Return the file name of a report without suffix; what else was varied is in it."""
    before, after = pair.before.stack, pair.after.stack
    sides = [before.release, after.release]
    for one in pair.differences:
        if one.asked:
            sides = [
                f"{side}+{one.package}-{version or 'none'}"
                for side, version in zip(sides, (one.before, one.after), strict=True)
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
    """Return a side with what the catalogue says of its release today; as stored where it has none."""
    for release in releases:
        if (release.framework, release.version) == (side.stack.framework, side.stack.release):
            return Side(side.stack, release)
    return side


def _hold(release: str, claim: Claim, comparison: Comparison, step: Stepped | None, others: int) -> Held:
    """Hold a claim against the step to its own release where that was measured, else against the pair."""
    span = Span(comparison.before.stack.release, comparison.after.stack.release, others)
    pair = hold(release, claim, comparison.rows, span)
    if step is None:
        return pair
    near = hold(release, claim, step[1], Span(step[0], release, 0))
    return near if near.measured or not pair.measured else pair


def _safe(text: str) -> str:
    return UNSAFE.sub("-", text).strip(".-") or "report"
