"""Judges measured cells against the limits. Pure: no process, no clock.

- With gc off the survivors are judged, else the leaked objects. The count is exact and so is its limit.
- More than the limit is `over`, less is `under`; both fail. Counts less than LEAST_LEAK apart are the same.
- A leak of memory without objects (blocks, C heap) is `over` unless the limits list it under `memory`.
- A cell that deviates is measured a second time. If the two disagree it is `inconclusive`: neither passed nor
  failed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec
from packaging.specifiers import SpecifierSet

from outlive.gates.limits import Allowed, Limits, Place, exact
from outlive.records.measurement import Measurement
from outlive.retention.growth import LEAST_LEAK
from outlive.wording import number, one_line, size

Outcome = Literal["within", "over", "under", "inconclusive", "failed", "unsupported"]
FAILING: tuple[Outcome, ...] = ("over", "under")
Kind = Literal["expired", "unused"]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one cell. `again` is the second measurement, made if the first one deviated.

    `what` says briefly what is wrong and `advice` what to change; both are empty if nothing is wrong. `why`
    is the reason for its limit, with the upstream link; it is empty if no limit applies.
    """

    measurement: Measurement
    again: Measurement | None = None
    outcome: Outcome
    objects: float
    limit: float
    place: Place | None
    what: str = ""
    advice: str = ""
    why: str = ""


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the limits that fails whatever was measured: it is expired or unused.

    `about` names the cells that it is for, and does not change when the file's lines move.
    """

    kind: Kind
    place: Place
    what: str
    advice: str
    about: str


def objects(measurement: Measurement) -> float:
    """Return the objects per request that are judged, rounded to thousandths like the limits."""
    m = measurement
    count = m.survivors_per_request if m.gc == "off" else m.leaked_per_request
    return max(0.0, round(count or 0.0, 3))


def leaks_memory(measurement: Measurement) -> bool:
    """Return whether the cell leaks memory outside of objects that the collector tracks."""
    return measurement.growth == "leak" and abs(measurement.leaked_per_request or 0) < LEAST_LEAK


def agree(first: Measurement, second: Measurement) -> bool:
    """Return whether two measurements of a cell are judged alike."""
    return (
        first.status == second.status
        and _same(objects(first), objects(second))
        and leaks_memory(first) == leaks_memory(second)
    )


def judge(limits: Limits, measurement: Measurement, again: Measurement | None = None) -> Judged:
    """Return the verdict on a cell. Raises UsageError if two limits apply to it."""
    outcome, what, advice = _outcome(limits, measurement, again)
    allowed = limits.allowed(measurement)
    return Judged(
        measurement=measurement,
        again=again,
        outcome=outcome,
        objects=objects(measurement),
        limit=allowed.objects,
        place=allowed.place or allowed.memory_place,
        what=what,
        advice=advice,
        why=allowed.why,
    )


def _outcome(limits: Limits, first: Measurement, again: Measurement | None) -> tuple[Outcome, str, str]:
    if first.status == "unsupported":
        return "unsupported", one_line(first.reason or ""), ""
    if again is not None and not agree(first, again):
        twice = " and then ".join(map(_said, (first, again)))
        return "inconclusive", f"does not repeat: {twice}", "run it again on a machine that is at rest"
    if first.status == "failed":
        return "failed", one_line(first.reason or "no reason is recorded"), "see docs/gates.md, exit code 4"
    return _against(limits.path, limits.allowed(first), first)


def _against(path: str, allowed: Allowed, measurement: Measurement) -> tuple[Outcome, str, str]:
    count, limit = objects(measurement), allowed.objects
    if not _same(count, limit):
        if count > limit:
            bound = f"{exact(limit)} allowed" if allowed.place else "no limit allows any"
            return "over", f"leaves {exact(count)} objects per request, {bound}", _if_meant(path, allowed)
        assert allowed.place is not None
        key = allowed.place.text.partition("=")[0].strip()
        change = f"write `{key} = {exact(count)}` for it" if count else "delete it"
        return (
            "under",
            f"leaves {exact(count)} objects per request where {exact(limit)} are allowed: lock it in",
            f"{path}:{allowed.place.line}: `{allowed.place.text}`: {change}",
        )
    if leaks_memory(measurement) and not allowed.memory:
        blocks, heap = measurement.blocks_per_request or 0, measurement.heap_bytes_per_request or 0
        memory = f"{number(blocks)} blocks, {size(heap)} of C heap"
        return "over", f"leaks memory outside of objects: {memory} per request", _if_meant(path, allowed)
    if (place := allowed.memory_place) and not leaks_memory(measurement):
        return (
            "under",
            "leaks no memory outside of objects any more: lock it in",
            f"{path}:{place.line}: `{place.text}`: take {measurement.scenario} out",
        )
    return "within", "", ""


def _if_meant(path: str, allowed: Allowed) -> str:
    where = f"{path}:{allowed.place.line}" if allowed.place else path
    return f"find what keeps them; if it is meant, --accept writes {where}, and you the reason"


def _said(one: Measurement) -> str:
    if one.status != "measured":
        return one_line(one.reason or one.status)
    memory = " and leaked memory" if leaks_memory(one) else ""
    return f"{exact(objects(one))} objects{memory}"


def stale(
    limits: Limits, measurements: Sequence[Measurement], releases: Iterable[str], today: dt.date
) -> tuple[Stale, ...]:
    """Return the entries that are expired or unused, in the order of the file.

    `measurements` are this run's, of one release on one Python; `releases` are all versions of the framework.
    """
    versions = list(releases)
    return tuple(
        failing
        for at in range(len(limits.entries))
        for failing in _stale(limits, at, measurements, versions, today)
    )


def _stale(
    limits: Limits, at: int, measurements: Sequence[Measurement], versions: Sequence[str], today: dt.date
) -> Iterator[Stale]:
    entry = limits.entries[at]

    def fails(kind: Kind, key: str | None, what: str, change: str, *patterns: str) -> Stale:
        place = limits.place(at, key)
        advice = f"{limits.path}:{place.line}: {change.format(place.text)}"
        return Stale(kind=kind, place=place, what=what, advice=advice, about=entry.about_what(patterns))

    if not any(SpecifierSet(entry.releases).contains(version, prereleases=True) for version in versions):
        yield fails("unused", None, f"no release is {entry.releases}", "delete the entry")
        return
    about = [m for m in measurements if m.status == "measured" and entry.about(m)]
    without = [m for m in measurements if m.status == "unsupported" and entry.about(m)]
    if about and entry.expires < today:
        what = f"expired on {entry.expires}: {entry.why}"
        yield fails("expired", "expires", what, "give a new date after review, or delete the entry")
    for pattern in entry.patterns:
        key = pattern if pattern in entry.objects else "memory"
        cells = [m for m in about if fnmatchcase(m.scenario, pattern)]
        unserved = {m.connection for m in without if fnmatchcase(m.scenario, pattern)}
        if not cells and unserved == set(entry.connections):
            yield fails("unused", key, f"{pattern}: no worker can serve it", "delete `{}`", pattern)
        if cells and not any(map(entry.covers, cells)):
            what = f"{pattern} no longer shows {entry.type or entry.fingerprint}"
            yield fails("unused", key, what, "delete `{}`", pattern)


def _same(count: float, other: float) -> bool:
    return abs(count - other) < LEAST_LEAK
