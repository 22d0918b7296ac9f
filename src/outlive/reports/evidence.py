"""The evidence of a report, and reading it back from a stored report."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from packaging.version import Version

from outlive.comparison.noisy.load import Loads, faults
from outlive.comparison.pair import BothMeasurements, Side
from outlive.errors import FaultError
from outlive.files import decode
from outlive.records import plausible
from outlive.records.load import LoadMeasurement
from outlive.records.measurement import Measurement, Provenance
from outlive.records.stack import PYTHON_NAME, Difference
from outlive.wording import one_line

Published = TypeVar("Published", Measurement, LoadMeasurement)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """The measurements of a report and how they came about.

    `command` repeats them. `python` says why they ran on this Python. `era` says what changes with the
    dependencies that were current when each release came out, if known.
    """

    provenance: Provenance
    measurements: BothMeasurements
    loads: Loads = Loads()
    command: str | None = None
    python: str | None = None
    era: str | None = None


class Evidence(Made, frozen=True, kw_only=True):
    """All that a report is made from: also both stacks, and the packages that could not be held equal."""

    before: Side
    after: Side
    differences: tuple[Difference, ...]


class _Sides(msgspec.Struct, frozen=True):
    before: Side
    after: Side
    differences: tuple[Difference, ...] = ()


class _Stored(Made, frozen=True, kw_only=True):
    """The part of a stored report that is read."""

    comparison: _Sides


def published(evidence: Evidence) -> Evidence:
    """Return `evidence` with all its measurements marked as published."""

    def marked(tests: tuple[Published, ...]) -> tuple[Published, ...]:
        return tuple(msgspec.structs.replace(test, published=True) for test in tests)

    sides, loads = evidence.measurements, evidence.loads
    return msgspec.structs.replace(
        evidence,
        measurements=BothMeasurements(before=marked(sides.before), after=marked(sides.after)),
        loads=msgspec.structs.replace(loads, before=marked(loads.before), after=marked(loads.after)),
    )


def read(path: Path) -> Evidence:
    """Return the evidence of the report in the file `path`.

    Raises FileNotFoundError if there is no file, and FaultError as `decode` does or if it cannot be right.
    """
    advice = "make it again with `outlive report`"
    fields = msgspec.structs.asdict(decode(path, _Stored, name="a report", advice=advice))
    evidence = Evidence(**msgspec.structs.asdict(fields.pop("comparison")), **fields)
    if fault := next(_faults(evidence), None):
        raise FaultError(f"{path} is not a report: {fault}; {advice}")
    return evidence


def _faults(evidence: Evidence) -> Iterator[str]:
    """Yield what no report of outlive can contain: values that break a page or cannot be measured."""
    for side in (evidence.before, evidence.after):
        stack, release = side.stack, side.release
        for version in (stack.release, release.version):
            try:
                Version(version)
            except ValueError:
                yield f"{one_line(version)!r} is not a version"
        if stack.framework != release.framework or not PYTHON_NAME.fullmatch(stack.python):
            yield f"{one_line(f'{stack.framework}, {release.framework}, {stack.python}')!r} is not a stack"
    try:
        dt.datetime.fromisoformat(evidence.provenance.created)
    except ValueError:
        yield f"{one_line(evidence.provenance.created)!r} is not a time"
    yield from plausible.faults(evidence.measurements)
    yield from faults(evidence.loads)
