"""Steps: the releases of a framework at which the memory that requests leave changes. Pure.

Each release is compared with the measured release before it by lineage, as in asv: the highest lower version
that was out when it was uploaded. Both have the dependencies of their time, so a dependency may have caused a
step: those that changed are named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from outlive.comparison.cells import Row, judge, match
from outlive.comparison.headline import Sentence, changes, one_paragraph
from outlive.files import JsonDocument
from outlive.history.timeline import Moment, Timeline
from outlive.records.release import Release
from outlive.releases.claims import Changelog, Claim
from outlive.releases.lineage import by_upload
from outlive.wording import NO_VERSION, step


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A release whose cells differ from those of the one before it.

    `changes` describe the change, `summary` does so in one line. `rows` are the cells that changed,
    `packages` the dependencies that changed as well, as in `yarl 1.9.4 → 1.9.5`. `cells` are how many were
    compared, by gc policy. `claims` are the entries of its changelog about memory; None if no changelog was
    available.
    """

    release: Release
    before: Release
    summary: str
    changes: tuple[Sentence, ...]
    rows: tuple[Row, ...]
    packages: tuple[str, ...]
    claims: tuple[Claim, ...] | None
    cells: dict[str, int]


class Steps(msgspec.Struct, frozen=True, kw_only=True):
    """All steps of a framework on one Python, in the order of upload, and the number of measured releases.

    `missing` are the covered releases that were not measured; `origin` is as in `Timeline`.
    """

    framework: str
    python: str
    measured: int
    missing: tuple[Release, ...]
    steps: tuple[Step, ...]
    origin: str = ""


class StepsDocument(JsonDocument, frozen=True, kw_only=True):
    """The steps of several frameworks as JSON."""

    histories: tuple[Steps, ...]


def find(timeline: Timeline, logs: Iterable[Changelog] | None) -> Steps:
    """Return the steps of a measured history; `logs` are the changelogs that are known."""
    measured = {moment.release: moment for moment in timeline.moments if moment.measurements}
    claimed = {log.release: log.claims for log in logs or () if log.source is not None}
    steps = []
    for after in map(measured.__getitem__, by_upload(measured)):
        before = timeline.before(after)
        if before is None:
            continue
        rows = judge(match(before.measurements, after.measurements)[0])
        changed = tuple(row for row in rows if row.direction != "same")
        if changed:
            sentences = changes(rows)
            steps.append(
                Step(
                    release=after.release,
                    before=before.release,
                    summary=one_paragraph(sentences),
                    changes=sentences,
                    rows=changed,
                    packages=changed_packages(before, after),
                    claims=claimed.get(after.release.version),
                    cells=dict(Counter(row.gc for row in rows if row.decides)),
                )
            )
    return Steps(
        framework=timeline.framework,
        python=timeline.python,
        measured=len(measured),
        missing=tuple(moment.release for moment in timeline.moments if not moment.measurements),
        steps=tuple(steps),
        origin=timeline.origin,
    )


def changed_packages(before: Moment, after: Moment) -> tuple[str, ...]:
    """Return the packages that differ beside the framework, as in `yarl 1.9.4 → 1.9.5`."""
    early, late = ({each.name: each.version for each in side.packages} for side in (before, after))
    return changed_versions(early, late, after.release.framework)


def changed_versions(before: Mapping[str, str], after: Mapping[str, str], varied: str) -> tuple[str, ...]:
    """Return the packages beside the `varied` one whose versions differ, as in `yarl 1.9.4 → 1.9.5`."""
    return tuple(
        f"{name} {step(before.get(name, NO_VERSION), after.get(name, NO_VERSION))}"
        for name in sorted({*before, *after} - {varied})
        if before.get(name) != after.get(name)
    )
