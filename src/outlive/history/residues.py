"""Residues: what a connection leaves apart from its requests, release by release. Pure.

It is a separate number: what stays when a client closes its connection, however many requests it has sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from outlive.comparison.changes import PER_CONNECTION
from outlive.history.timeline import Moment, Timeline
from outlive.records.measurement import Measurement
from outlive.retention.error import errors
from outlive.wording import listed, number, through

MOST_SCENARIOS = 4


class ReleaseSpan(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive releases whose connections leave equally many objects; `leaked` of them leak."""

    since: str
    until: str
    objects: float
    leaked: float


class ResidueHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What connections of some scenarios leave on one Python, in spans of measured releases."""

    python: str
    scenarios: tuple[str, ...]
    spans: tuple[ReleaseSpan, ...]


def residues(timelines: Iterable[Timeline]) -> tuple[ResidueHistory, ...]:
    """Return all residues that are not zero; scenarios with the same spans share one."""
    return tuple(residue for timeline in timelines for residue in _of(timeline))


def told(residue: ResidueHistory) -> str:
    """Return a residue as a line of text."""
    spans = [f"{_left(span)} in {through(span.since, span.until)}" for span in residue.spans]
    return f"Python {residue.python}, {listed(residue.scenarios, MOST_SCENARIOS)}: {'; '.join(spans)}"


def _of(timeline: Timeline) -> Iterator[ResidueHistory]:
    by_scenario: dict[str, list[ReleaseSpan]] = {}
    for moment in timeline.moments:
        for scenario, (objects, leaked) in _counts(moment).items():
            spans = by_scenario.setdefault(scenario, [])
            version = moment.release.version
            if spans and (spans[-1].objects, spans[-1].leaked) == (objects, leaked):
                spans[-1] = msgspec.structs.replace(spans[-1], until=version)
            else:
                spans.append(ReleaseSpan(since=version, until=version, objects=objects, leaked=leaked))
    alike: dict[tuple[ReleaseSpan, ...], list[str]] = {}
    for scenario, course in by_scenario.items():
        if any(span.objects for span in course):
            alike.setdefault(tuple(course), []).append(scenario)
    for shared, scenarios in alike.items():
        yield ResidueHistory(python=timeline.python, scenarios=tuple(scenarios), spans=shared)


def _counts(moment: Moment) -> dict[str, tuple[float, float]]:
    """Return (objects, leaked objects) that each scenario's connections leave."""
    counts: dict[str, tuple[float, float]] = {}
    for measurement in moment.measurements:
        leaked, objects = _amounts(measurement)
        # What is off the line differs from run to run.
        if leaked is not None and not any(errors(measurement)):
            old = counts.get(measurement.scenario, (0.0, 0.0))
            counts[measurement.scenario] = max(old[0], objects or 0.0, leaked), max(old[1], leaked)
    return counts


def _amounts(measurement: Measurement) -> Sequence[float | None]:
    amounts = [quantity.of(measurement) for quantity in PER_CONNECTION]
    return [None if amount is None else amount.value for amount in amounts]


def _left(span: ReleaseSpan) -> str:
    return number(span.objects) + (f", {number(span.leaked)} leaked," if span.leaked else "")
