"""Judges measured cells against the limits. Pure: no process, no clock.

- With gc off the survivors are judged, else the leaked objects. The count is exact and so is its limit.
- More than the limit is `over`, less is `under`; both fail. As in a comparison, counts are equal within their
  errors; counts on a straight line have no error, but limits are rounded to thousandths.
- What a connection leaves, apart from its requests, has its own exact limit.
- A leak outside of objects (blocks, C heap, mapped memory, files, threads and so on) is `over` unless
  the limits list it under `memory`. With gc off so are files and sockets that stay open until a collection.
- A cell that deviates is measured a second time. If the two disagree it is `inconclusive`: neither passed nor
  failed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

import msgspec
from packaging.specifiers import SpecifierSet

from outlive.comparison.outside import held, open_files, outside
from outlive.gates.limits import Allowed, FilePlace, Limits, exact
from outlive.records.measurement import Measurement
from outlive.retention.error import errors
from outlive.retention.growth import LEAST_LEAK
from outlive.retention.residue import LEAST
from outlive.wording import counted, listed, one_line

Outcome = Literal["within", "over", "under", "inconclusive", "failed", "unsupported"]
FAILING: tuple[Outcome, ...] = ("over", "under")
Kind = Literal["expired", "unused"]

RESIDUE = float(LEAST)
ROUNDED = 0.0005
"""Most objects by which a count and its limit differ through rounding alone: limits are in thousandths."""


class JudgedCell(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one cell. `again` is the second measurement, made if the first one deviated.

    `objects` are per request; `residue` is what a connection leaves apart from its requests, None if unknown.
    `what` says briefly what is wrong and `advice` what to change; both are empty if nothing is wrong. `why`
    is the reason for its limit, with the upstream link; it is empty if no limit applies.
    """

    measurement: Measurement
    again: Measurement | None = None
    outcome: Outcome
    objects: float
    limit: float
    residue: float | None = None
    residue_limit: float = 0.0
    place: FilePlace | None
    what: str = ""
    advice: str = ""
    why: str = ""


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the limits that fails whatever was measured, because it is expired or unused.

    `about` names the cells that it is for; it stays the same when the file's lines move.
    """

    kind: Kind
    place: FilePlace
    what: str
    advice: str
    about: str


def objects(measurement: Measurement) -> float:
    """Return the objects per request that are judged, rounded to thousandths like the limits."""
    survivors, leaked = measurement.survivors_per_request, measurement.leaked_per_request
    count = survivors if measurement.gc == "off" else leaked
    return max(0.0, round(count or 0.0, 3))


def residue(measurement: Measurement) -> float | None:
    """Return the objects per connection that are judged, rounded like the limits; None if unknown."""
    survivors, leaked = measurement.survivors_per_connection, measurement.leaked_per_connection
    count = survivors if measurement.gc == "off" else leaked
    return None if count is None else max(0.0, round(count, 3))


def leaks_memory(measurement: Measurement) -> bool:
    """Return whether a cell leaks outside of gc-tracked objects: memory, files or the like."""
    if open_files(measurement):
        return True
    if measurement.growth != "leak":
        return False
    return abs(measurement.leaked_per_request or 0) < LEAST_LEAK or bool(held(measurement))


class _Count(NamedTuple):
    """The objects that a cell leaves, and their limit; counts that differ by `apart` or less are equal."""

    left: float
    limit: float
    apart: float
    place: FilePlace | None
    of: str

    @property
    def fits(self) -> bool:
        """Whether the count is exactly what is allowed."""
        return _same(self.left, self.limit, self.apart)


def _counts(allowed: Allowed, m: Measurement) -> Iterator[_Count]:
    """Yield the objects per request, and those per connection if they are known."""
    error = 2 * sum(errors(m))
    # If nothing is allowed, no error hides what is left.
    apart = error if allowed.place else min(error, float(LEAST_LEAK))
    yield _Count(objects(m), allowed.objects, apart, allowed.place, "per request")
    if (left := residue(m)) is not None:
        unit = "per connection, apart from its requests"
        yield _Count(left, allowed.residue, RESIDUE + error, allowed.residue_place, unit)


def agree(first: Measurement, second: Measurement) -> bool:
    """Return whether two measurements of a cell are judged alike."""
    if not first.status == second.status == "measured":
        return first.status == second.status
    error = sum(errors(first)) + sum(errors(second))
    return (
        _same(objects(first), objects(second), error)
        and _same(residue(first) or 0.0, residue(second) or 0.0, RESIDUE + error)
        and leaks_memory(first) == leaks_memory(second)
    )


def fits(allowed: Allowed, measurement: Measurement) -> bool:
    """Return whether a cell leaves exactly what is allowed; the limit is taken to have the same error."""
    alike = all(count.fits for count in _counts(allowed, measurement))
    return alike and leaks_memory(measurement) == allowed.memory


def judge(limits: Limits, measurement: Measurement, again: Measurement | None = None) -> JudgedCell:
    """Return the verdict on a cell. Raises UsageError if two limits apply to it."""
    outcome, problem, advice = _outcome(limits, measurement, again)
    allowed = limits.allowed(measurement)
    place = allowed.place or allowed.residue_place or allowed.memory_place
    about_residue = [count.fits for count in _counts(allowed, measurement)] == [True, False]
    if about_residue:
        place = allowed.residue_place
    return JudgedCell(
        measurement=measurement,
        again=again,
        outcome=outcome,
        objects=objects(measurement),
        limit=allowed.objects,
        residue=residue(measurement),
        residue_limit=allowed.residue,
        place=place,
        what=problem,
        advice=advice,
        why="" if about_residue and place is None else allowed.why,
    )


def _outcome(limits: Limits, first: Measurement, again: Measurement | None) -> tuple[Outcome, str, str]:
    if first.status == "unsupported":
        return "unsupported", one_line(first.reason or ""), ""
    if again is not None and not agree(first, again):
        counts = " and then ".join(map(_summary, (first, again)))
        return "inconclusive", f"does not repeat: {counts}", "run it again on an idle machine"
    if first.status == "failed":
        return "failed", one_line(first.reason or "no reason was recorded"), "see docs/gates.md, exit code 4"
    return _deviation(limits.path, limits.allowed(first), first)


def _deviation(path: str, allowed: Allowed, measurement: Measurement) -> tuple[Outcome, str, str]:
    deviating = (count for count in _counts(allowed, measurement) if not count.fits)
    for count, limit, _, place, unit in deviating:
        leaves = f"leaves {counted(exact(count), 'object')} {unit}"
        if count > limit:
            bound = f"{exact(limit)} allowed" if place else "no limit allows any"
            return "over", f"{leaves}, {bound}", _advice(path, place)
        assert place is not None
        key = place.text.partition("=")[0].strip()
        change = f"write `{key} = {exact(count)}` for it" if count else "delete it"
        return (
            "under",
            f"{leaves}, {exact(limit)} allowed: lock it in",
            f"{path}:{place.line}: `{place.text}`: {change}",
        )
    if leaks_memory(measurement) and not allowed.memory:
        place = allowed.place or allowed.residue_place
        problem = f"leaks outside of objects: {listed(outside(measurement))} per request"
        return "over", problem, _advice(path, place)
    if (place := allowed.memory_place) and not leaks_memory(measurement):
        return (
            "under",
            "no longer leaks memory outside of objects: lock it in",
            f"{path}:{place.line}: `{place.text}`: take {measurement.scenario} out",
        )
    return "within", "", ""


def _advice(path: str, place: FilePlace | None) -> str:
    where = f"{path}:{place.line}" if place else path
    accept = f"if they are intended, --accept writes {where} and you add the reason"
    return f"`outlive explain` shows what keeps them; {accept}"


def _summary(measurement: Measurement) -> str:
    if measurement.status != "measured":
        return one_line(measurement.reason or measurement.status)
    left = residue(measurement)
    per_connection = f", {exact(left)} per connection" if left else ""
    memory = f" and leaked {listed(outside(measurement))}" if leaks_memory(measurement) else ""
    return f"{counted(exact(objects(measurement)), 'object')}{per_connection}{memory}"


def stale(
    limits: Limits, measurements: Sequence[Measurement], releases: Iterable[str], today: dt.date
) -> tuple[Stale, ...]:
    """Return the entries that are expired or unused, in the order of the file.

    `measurements` are this run's, of one release on one Python; `releases` are all versions of the framework.
    """
    versions = list(releases)
    return tuple(
        entry
        for at in range(len(limits.entries))
        for entry in _stale(limits, at, measurements, versions, today)
    )


def _stale(
    limits: Limits, at: int, measurements: Sequence[Measurement], versions: Sequence[str], today: dt.date
) -> Iterator[Stale]:
    entry = limits.entries[at]

    def failure(kind: Kind, place: FilePlace, problem: str, change: str, *patterns: str) -> Stale:
        advice = f"{limits.path}:{place.line}: {change.format(place.text)}"
        return Stale(kind=kind, place=place, what=problem, advice=advice, about=entry.about_what(patterns))

    if not any(SpecifierSet(entry.releases).contains(version, prereleases=True) for version in versions):
        yield failure("unused", limits.place(at), f"no release is {entry.releases}", "delete the entry")
        return
    measured = [m for m in measurements if m.status == "measured" and entry.about(m)]
    unsupported = [m for m in measurements if m.status == "unsupported" and entry.about(m)]
    if measured and entry.expires < today:
        problem = f"expired on {entry.expires}: {entry.why}"
        change = "give a new date after review, or delete the entry"
        yield failure("expired", limits.place(at, "expires"), problem, change)
    for pattern in entry.patterns:
        place = limits.place_of(at, pattern)
        cells = [m for m in measured if fnmatchcase(m.scenario, pattern)]
        unserved = {m.connection for m in unsupported if fnmatchcase(m.scenario, pattern)}
        if not cells and unserved == set(entry.connections):
            yield failure("unused", place, f"{pattern}: no worker can serve it", "delete `{}`", pattern)
        if cells and not any(map(entry.covers, cells)):
            problem = f"{pattern} no longer shows {entry.type or entry.fingerprint}"
            yield failure("unused", place, problem, "delete `{}`", pattern)


def _same(first: float, second: float, error: float = 0.0) -> bool:
    # Counts with an error were both rounded, at worst in opposite directions.
    return abs(first - second) <= (error + 2 * ROUNDED if error else ROUNDED)
