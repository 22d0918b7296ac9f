"""A comparison: what changes between two stacks, cell by cell, and sentences that say it. Pure.

`cells` judges the cells, `headline` builds the sentences.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence

import msgspec

from outlive.comparison.cells import Row, Unmeasured, judge, match
from outlive.comparison.headline import (
    ONE_STACK,
    SAME,
    Sentence,
    changes,
    one_paragraph,
    subject,
    untouched,
    withdrawn,
)
from outlive.comparison.sizes import Rates
from outlive.records.measurement import Measurement, StackRecord, never_imported
from outlive.records.release import Release
from outlive.records.stack import Difference, Package
from outlive.retention import fingerprints
from outlive.retention.fingerprints import Change


class Side(msgspec.Struct, frozen=True):
    """One side of a comparison: the stack as it was installed, and what the index says about its release."""

    stack: StackRecord
    release: Release


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """Two sides and what is said of them, whatever was measured.

    `subject` names what is varied, `headline` says what came of it. `held_equal` are the packages with the
    same version on both sides, `differences` the others.
    """

    subject: str
    headline: str
    before: Side
    after: Side
    held_equal: tuple[Package, ...]
    differences: tuple[Difference, ...]


class Comparison(Compared, frozen=True, kw_only=True):
    """What changes from `before` to `after` in exact cells.

    `changes` are the sentences of the headline, but not those about yanked releases. `rows` are the cells
    that both sides measured, `unmeasured` all others; `better`, `worse` and `same` count those that decide.
    `fingerprints` say what became of each leak and ring.
    """

    changes: tuple[Sentence, ...]
    better: int
    worse: int
    same: int
    rows: tuple[Row, ...]
    unmeasured: tuple[Unmeasured, ...]
    fingerprints: tuple[Change, ...]


class BothMeasurements(msgspec.Struct, frozen=True, kw_only=True):
    """All measurements of both sides."""

    before: tuple[Measurement, ...]
    after: tuple[Measurement, ...]


def compare(
    before: Side,
    after: Side,
    measurements: BothMeasurements,
    differences: Sequence[Difference] = (),
    *,
    rates: Rates | None = None,
    development: Container[str] = (),
) -> Comparison:
    """Return the comparison of two sides; `differences` are the packages that are not the same on both.

    What changes has its size at `rates`, and scenarios that are for `development` never decide. Raises
    FaultError where a side has a cell twice, or a measured cell without counts.
    """
    measured, gaps = match(measurements.before, measurements.after)
    rows = judge(measured, rates, development)
    counts = Counter(row.direction for row in rows if row.decides)
    about = subject(before.stack, after.stack, differences)
    first = _before_all(before.stack, after.stack, measurements, differences)
    yanked = withdrawn((before.release, after.release))
    sentences = (*(Sentence((text,)) for text in first), *changes(rows, gaps, differences))
    return Comparison(
        subject=about,
        headline=f"{about}: {'. '.join([one_paragraph(sentences), *yanked])}{'' if yanked else '.'}",
        changes=sentences,
        before=before,
        after=after,
        held_equal=held_equal(before.stack, after.stack),
        differences=tuple(differences),
        better=counts["better"],
        worse=counts["worse"],
        same=counts["same"],
        rows=rows,
        unmeasured=gaps,
        fingerprints=fingerprints.changes(measured.values()),
    )


def _before_all(
    before: StackRecord, after: StackRecord, both: BothMeasurements, differences: Sequence[Difference]
) -> Iterator[str]:
    """Yield what a reader must know before anything else."""
    stacks = [(stack.framework, stack.release, stack.python, stack.lock) for stack in (before, after)]
    if stacks[0] == stacks[1] and not differences:
        yield SAME if both.before == both.after else ONE_STACK
    if unimported := _unimported(both, differences):
        yield untouched(unimported)


def _unimported(both: BothMeasurements, differences: Sequence[Difference]) -> tuple[str, ...]:
    """Return the packages that were varied on purpose and that no worker of a side that has them imported."""
    return tuple(
        difference.package
        for difference in differences
        if difference.asked
        and never_imported(
            [difference.package],
            (*(both.before if difference.before else ()), *(both.after if difference.after else ())),
        )
    )


def held_equal(before: StackRecord, after: StackRecord) -> tuple[Package, ...]:
    """Return the packages other than the framework that have the same version in both stacks."""
    others = set(after.packages)
    frameworks = {before.framework, after.framework}
    return tuple(
        package for package in before.packages if package in others and package.name not in frameworks
    )
