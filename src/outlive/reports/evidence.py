"""What a report is made from, and what is read back of one that is stored."""

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
from outlive.files import SCHEMA_VERSION, read_bytes
from outlive.records import plausible
from outlive.records.load import LoadMeasurement
from outlive.records.measurement import Measurement, Provenance
from outlive.records.stack import PYTHON_NAME, Difference
from outlive.wording import one_line

Published = TypeVar("Published", Measurement, LoadMeasurement)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, and why so.

    `command` repeats it, `python` says why it ran on this one, `era` what changes with the dependencies each
    release came with, if known.
    """

    provenance: Provenance
    measurements: BothMeasurements
    loads: Loads = Loads()
    command: str | None = None
    python: str | None = None
    era: str | None = None


class Evidence(Made, frozen=True, kw_only=True):
    """What a report is made from: also both stacks, and what could not be held equal."""

    before: Side
    after: Side
    differences: tuple[Difference, ...]


class _Sides(msgspec.Struct, frozen=True):
    before: Side
    after: Side
    differences: tuple[Difference, ...] = ()


class _Stored(Made, frozen=True, kw_only=True):
    """What is read of a stored report."""

    comparison: _Sides


class _Versioned(msgspec.Struct, frozen=True):
    schema_version: int


def published(evidence: Evidence) -> Evidence:
    """Return the evidence of a report that is published itself."""

    def each(tests: tuple[Published, ...]) -> tuple[Published, ...]:
        return tuple(msgspec.structs.replace(test, published=True) for test in tests)

    sides, loads = evidence.measurements, evidence.loads
    return msgspec.structs.replace(
        evidence,
        measurements=BothMeasurements(before=each(sides.before), after=each(sides.after)),
        loads=msgspec.structs.replace(loads, before=each(loads.before), after=each(loads.after)),
    )


def read(path: Path) -> Evidence:
    """Return the evidence of the report in the file `path`.

    Raises FaultError, in one line, for a file that cannot be read or has another schema version.
    """
    again = "make it again with `outlive report`"
    try:
        data = read_bytes(path)
        found = msgspec.json.decode(data, type=_Versioned).schema_version
        if found != SCHEMA_VERSION:
            raise FaultError(f"{path} has schema version {found}, this is {SCHEMA_VERSION}: {again}")
        stored = msgspec.json.decode(data, type=_Stored)
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FaultError(f"{path} is not a report: {error}; {again}") from None
    fields = msgspec.structs.asdict(stored)
    evidence = Evidence(**msgspec.structs.asdict(fields.pop("comparison")), **fields)
    if fault := next(_faults(evidence), None):
        raise FaultError(f"{path} is not a report: {fault}; {again}")
    return evidence


def _faults(evidence: Evidence) -> Iterator[str]:
    """Yield what no report of ours can hold: it would break a page, or is no measurement."""
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
