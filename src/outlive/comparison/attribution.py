"""Attributes a difference between two stacks to what was swapped: what stays at each stage. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.comparison.changes import OBJECTS, QUANTITIES, Amount, exact
from outlive.comparison.sides import python_own
from outlive.files import JsonDocument
from outlive.records.measurement import Connection, Measurement, Provenance, StackRecord
from outlive.retention.fingerprints import Change, changes


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One stage: what was swapped, and what each request leaves after it.

    `joined` says why packages that were swapped together could not be parted. `objects` is survivors with gc
    off, else leaked objects; None if the stage could not be measured, for `reason`. The standard library
    keeps `python_own` of them. `change` is the difference to the last stage that was measured, 0 within the
    errors of both, and `fingerprints` the changes of leaks and rings since then. `amounts` are all quantities
    of `changes.QUANTITIES` by name, and `changes` those differences that are certain.
    """

    swapped: tuple[str, ...]
    joined: tuple[str, ...] = ()
    stack: StackRecord
    gc: str
    objects: float | None
    python_own: float
    change: float | None
    amounts: dict[str, float]
    changes: dict[str, float]
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
    before: dict[str, Amount] = {}
    for stage in reached:
        measurement = stage.measurement
        amounts = _amounts(measurement)
        objects = amounts.get(OBJECTS.name)
        changed = {
            quantity.name: _apart(before[quantity.name], amounts[quantity.name])
            for quantity in QUANTITIES
            if quantity.change(before.get(quantity.name), amounts.get(quantity.name))
        }
        bars.append(
            Bar(
                swapped=stage.swapped,
                joined=stage.joined,
                stack=stage.stack,
                gc=measurement.gc,
                objects=None if objects is None else objects.value,
                python_own=python_own(measurement),
                change=None if objects is None or last is None else changed.get(OBJECTS.name, 0.0),
                amounts={name: amount.value for name, amount in amounts.items()},
                changes=changed,
                fingerprints=changes([(last, measurement)]) if last is not None else (),
                reason=measurement.reason,
            )
        )
        if objects is not None:
            last, before = measurement, amounts
    first = reached[0].measurement
    return Waterfall(scenario=first.scenario, connection=first.connection, bars=tuple(bars))


def _amounts(measurement: Measurement) -> dict[str, Amount]:
    """Return what is counted, by name; nothing if the stage could not be measured."""
    if measurement.status != "measured":
        return {}
    read = {quantity.name: quantity.of(measurement) for quantity in QUANTITIES}
    return {name: amount for name, amount in read.items() if amount is not None}


def _apart(before: Amount, after: Amount) -> float:
    return float(exact(after.value) - exact(before.value))
