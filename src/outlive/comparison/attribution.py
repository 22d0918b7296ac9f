"""Attributes a difference between two stacks to what was swapped: objects per request at each stage. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.comparison.changes import OBJECTS, Amount, exact
from outlive.comparison.sides import python_own
from outlive.files import JsonDocument
from outlive.records.measurement import Connection, Measurement, Provenance, StackRecord
from outlive.retention.fingerprints import Change, changes


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: what was swapped, and what each request leaves after it.

    `joined` says why packages that were swapped together could not be parted. `objects` is survivors with gc
    off, else leaked objects; None if the stage could not be measured, for `reason`. The standard library
    keeps `python_own` of them. `change` is the difference to the last stage that was measured, 0 within the
    errors of both, and `fingerprints` the changes of leaks and rings since then.
    """

    swapped: tuple[str, ...]
    joined: tuple[str, ...] = ()
    stack: StackRecord
    gc: str
    objects: float | None
    python_own: float
    change: float | None
    fingerprints: tuple[Change, ...]
    reason: str | None


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """The stages from one stack to another for one scenario over one kind of connection."""

    scenario: str
    connection: Connection
    bars: tuple[Bar, ...]


class AttributionDocument(JsonDocument, frozen=True, kw_only=True):
    """A waterfall as JSON."""

    provenance: Provenance
    waterfall: Waterfall


class Reached(msgspec.Struct, frozen=True):
    """A stage with its measurement, which may have failed."""

    swapped: tuple[str, ...]
    stack: StackRecord
    measurement: Measurement
    joined: tuple[str, ...] = ()


def waterfall(reached: Sequence[Reached]) -> Waterfall:
    """Return the waterfall of one or more stages, in their order."""
    bars: list[Bar] = []
    last: Measurement | None = None
    for stage in reached:
        measurement = stage.measurement
        objects = _objects(measurement)
        before = None if last is None else _objects(last)
        bars.append(
            Bar(
                swapped=stage.swapped,
                joined=stage.joined,
                stack=stage.stack,
                gc=measurement.gc,
                objects=None if objects is None else objects.value,
                python_own=python_own(measurement),
                change=None if objects is None or before is None else _change(before, objects),
                fingerprints=changes([(last, measurement)]) if last is not None else (),
                reason=measurement.reason,
            )
        )
        if objects is not None:
            last = measurement
    first = reached[0].measurement
    return Waterfall(scenario=first.scenario, connection=first.connection, bars=tuple(bars))


def _objects(measurement: Measurement) -> Amount | None:
    return OBJECTS.of(measurement) if measurement.status == "measured" else None


def _change(before: Amount, after: Amount) -> float:
    return float(exact(after.value) - exact(before.value)) if OBJECTS.change(before, after) else 0.0
