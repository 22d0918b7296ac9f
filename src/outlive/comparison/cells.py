"""The rows of a comparison: each cell that both sides measured, and which way it changed. Pure.

How a row is judged:

- With gc off the count that matters is survivors: everything stays. Otherwise it is what is leaked.
- Objects are counted exactly, so any difference counts.
- Each change is counted once: a scenario is judged by what it leaves above `ok` on the same side, connection
  and gc policy, and what `ok` itself changes is judged at `ok`. Where `ok` is not measured on both sides the
  whole count is judged.
- A change of growth goes before a change of the count: leak is worse than cyclic, then bounded, then none.
  Where a collector runs only leak counts: what it frees shows in its work.
- The collector's work, blocks, heap and RSS are not exact and never give a direction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from outlive.errors import FaultError
from outlive.leaks.growth import slope
from outlive.records.measurement import Connection, Growth, Measurement
from outlive.wording import number, one_line, size, step

Direction = Literal["better", "worse", "same"]
Gap = Literal["unsupported", "failed", "missing", "incomparable"]
Cell = tuple[str, Connection, str]

BASELINE = "ok"
RANK: dict[Growth, int] = {"none": 0, "bounded": 1, "cyclic": 2, "leak": 3}
GAPS: tuple[Gap, ...] = ("unsupported", "missing", "incomparable", "failed")  # the gravest last

BLOCKS_NOTED = 1.0
"""Difference in pymalloc blocks per request from which on a row with equal objects gets a note: each request
leaves one more object that the collector does not track. Lists and dicts that grow stay below it."""
HEAP_NOTED = 512.0
"""The same for bytes of C heap: pymalloc serves up to 512 bytes, so a larger buffer for each request shows
here and nowhere else, and a smaller one shows in the blocks."""
MOST_REQUESTS = 1_000_000
"""A count per request is a fraction whose denominator is a number of requests, at most this: so the fraction
can be had back from its float, and differences are exact."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a row says, per request.

    `objects` is the count that matters: survivors with gc off (`leaked` of them for ever), else leaked ones.
    `…above_ok` is what is left of it beyond the `ok` scenario, None where that is not measured on both sides
    and for `ok` itself. `blocks` and `heap_bytes` are what stays in that sense too; `open_files` are file
    descriptors that stay open until a collection, with gc off; `freed` and the pauses are the collector's.
    """

    objects: float
    leaked: float
    above_ok: float | None
    leaked_above_ok: float | None
    growth: Growth
    blocks: float | None
    heap_bytes: float | None
    open_files: float | None
    peak_rss_bytes: int | None
    freed: float | None
    pause_ms_per_1000_requests: float | None

    @property
    def ok(self) -> float | None:
        """What the `ok` scenario leaves, in the same sense as `objects`."""
        return None if self.above_ok is None else float(_exact(self.objects) - _exact(self.above_ok))

    @property
    def ok_leaked(self) -> float | None:
        """What the `ok` scenario leaks."""
        return (
            None
            if self.leaked_above_ok is None
            else float(_exact(self.leaked) - _exact(self.leaked_above_ok))
        )


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One cell that both sides measured. `change` is in objects per request.

    `follows_ok`: the count changes, but no more than that of `ok`, so that the direction is `same`.
    `mixed`: the growth and the count go opposite ways; the growth gave the direction.
    """

    scenario: str
    connection: Connection
    gc: str
    before: Reading
    after: Reading
    change: float
    change_above_ok: float | None
    direction: Direction
    follows_ok: bool
    mixed: bool
    note: str | None

    @property
    def judged_change(self) -> float:
        """The change in objects per request that the direction is about: above `ok` where that is known."""
        return self.change if self.change_above_ok is None else self.change_above_ok

    @property
    def open_files(self) -> tuple[float, float]:
        """Files that each request leaves open until a collection, before and after."""
        return self.before.open_files or 0.0, self.after.open_files or 0.0

    @property
    def still_leaks(self) -> bool:
        """Whether it leaks before and after."""
        return self.before.growth == self.after.growth == "leak"

    @property
    def significant(self) -> bool:
        """Whether a reader must see it: it changed, or it leaks on both sides."""
        return self.direction != "same" or self.still_leaks


class Unmeasured(msgspec.Struct, frozen=True, kw_only=True):
    """One cell that cannot be compared. `side` is the one at fault."""

    scenario: str
    connection: Connection
    gc: str
    side: Literal["before", "after", "both"]
    gap: Gap
    reason: str


def match(
    before: Sequence[Measurement], after: Sequence[Measurement]
) -> tuple[dict[Cell, tuple[Measurement, Measurement]], tuple[Unmeasured, ...]]:
    """Return the measurements of all cells that both sides measured alike, and the cells that they did not.

    Both are in the order of `before`; what only `after` has comes last. Raises FaultError where a side has a
    cell twice.
    """
    sides = _by_cell(before), _by_cell(after)
    gaps = tuple(filter(None, (_gap(cell, *(side.get(cell) for side in sides)) for cell in _cells(*sides))))
    apart = {(gap.scenario, gap.connection, gap.gc) for gap in gaps}
    return {cell: (sides[0][cell], sides[1][cell]) for cell in _cells(*sides) if cell not in apart}, gaps


def judge(measured: Mapping[Cell, tuple[Measurement, Measurement]]) -> tuple[Row, ...]:
    """Return a row for each cell. Raises FaultError where a measured cell has no counts."""
    return tuple(_row(cell, measured) for cell in measured)


def _cells(*sides: Mapping[Cell, Measurement]) -> Iterator[Cell]:
    yield from dict.fromkeys(cell for side in sides for cell in side)


def _by_cell(measurements: Sequence[Measurement]) -> dict[Cell, Measurement]:
    found: dict[Cell, Measurement] = {}
    for one in measurements:
        cell = (one.scenario, one.connection, one.gc)
        if cell in found:
            raise FaultError(f"{', '.join(cell)} is measured twice on one side: compare one worker at a time")
        found[cell] = one
    return found


def _gap(cell: Cell, before: Measurement | None, after: Measurement | None) -> Unmeasured | None:
    """Return why a cell cannot be compared, or None where it can."""
    faults: dict[Literal["before", "after"], tuple[Gap, str]] = {}
    if found := _fault(before):
        faults["before"] = found
    if found := _fault(after):
        faults["after"] = found
    scenario, connection, gc = cell
    if not faults and before and after:
        differing = [
            f"{name} {getattr(before, field)} and {getattr(after, field)}"
            for name, field in (("reference app", "app_version"), ("worker", "worker"))
            if getattr(before, field) != getattr(after, field)
        ]
        if not differing:
            return None
        return Unmeasured(
            scenario=scenario,
            connection=connection,
            gc=gc,
            side="both",
            gap="incomparable",
            reason=f"measured with different means: {', '.join(differing)}",
        )
    reasons = dict.fromkeys(reason for _, reason in faults.values())
    return Unmeasured(
        scenario=scenario,
        connection=connection,
        gc=gc,
        side="both" if len(faults) == 2 else next(iter(faults)),
        gap=max((gap for gap, _ in faults.values()), key=GAPS.index),
        reason=next(iter(reasons))
        if len(reasons) == 1
        else "; ".join(f"{side}: {reason}" for side, (_, reason) in faults.items()),
    )


def _fault(one: Measurement | None) -> tuple[Gap, str] | None:
    if one is None:
        return "missing", "was not asked for on this side"
    if one.status == "measured":
        return None
    return one.status, one_line(one.reason or "no reason is recorded")


class _Count(msgspec.Struct, frozen=True):
    """The exact counts of one measured cell, and the rank of its growth."""

    objects: Fraction
    leaked: Fraction
    rank: int

    def above(self, ok: _Count | None) -> tuple[Fraction, Fraction]:
        return (self.objects - ok.objects, self.leaked - ok.leaked) if ok else (self.objects, self.leaked)


def _count(one: Measurement) -> _Count:
    off = one.gc == "off"
    matters = one.survivors_per_request if off else one.leaked_per_request
    if matters is None or one.leaked_per_request is None or one.growth is None:
        raise FaultError(
            f"{one.scenario}, {one.connection}, {one.gc} is measured but has no counts: measure it again"
        )
    rank = RANK[one.growth] if off or one.growth == "leak" else RANK["none"]
    return _Count(_exact(matters), _exact(one.leaked_per_request), rank)


def _row(cell: Cell, measured: Mapping[Cell, tuple[Measurement, Measurement]]) -> Row:
    scenario, connection, gc = cell
    before, after = map(_count, measured[cell])
    baseline = measured.get((BASELINE, connection, gc)) if scenario != BASELINE else None
    ok_before, ok_after = map(_count, baseline) if baseline else (None, None)
    growth, objects, leaked = _changes((before, after), (ok_before, ok_after))
    sign = _sign(growth) or _sign(objects) or _sign(leaked)
    readings = (
        _reading(measured[cell][0], before, ok_before),
        _reading(measured[cell][1], after, ok_after),
    )
    return Row(
        scenario=scenario,
        connection=connection,
        gc=gc,
        before=readings[0],
        after=readings[1],
        change=float(after.objects - before.objects),
        change_above_ok=float(objects) if baseline else None,
        direction="worse" if sign > 0 else "better" if sign < 0 else "same",
        follows_ok=sign == 0 and before != after,
        mixed=_sign(growth) * _sign(objects) < 0,
        note=_note(*readings) if (before.objects, before.leaked) == (after.objects, after.leaked) else None,
    )


def _changes(
    sides: tuple[_Count, _Count], ok: tuple[_Count | None, _Count | None]
) -> tuple[int, Fraction, Fraction]:
    """Return what changes beyond `ok`: the rank of the growth, objects, and the leaked ones among them."""
    before, after = sides
    growth = after.rank - before.rank
    ok_before, ok_after = ok
    if ok_before and ok_after:
        same_way = _sign(growth) == _sign(ok_after.rank - ok_before.rank)
        if same_way and max(before.rank, after.rank) == max(ok_before.rank, ok_after.rank):
            growth = 0  # the change of `ok` explains it
    objects, leaked = (
        late - early for early, late in zip(before.above(ok_before), after.above(ok_after), strict=True)
    )
    # A cell that leaves what it left has no part in the change of `ok`.
    return (
        growth,
        objects if after.objects != before.objects else Fraction(0),
        leaked if after.leaked != before.leaked else Fraction(0),
    )


def _reading(one: Measurement, count: _Count, ok: _Count | None) -> Reading:
    objects, leaked = count.above(ok)
    blocks, heap = one.blocks_per_request, one.heap_bytes_per_request
    if one.gc != "off":  # what the collector has not come to yet says nothing: take what it cannot free
        blocks = heap = None
        if len(one.phases) > 1:
            a, b = one.phases[-2:]
            blocks = float(slope(a, b, "blocks_kept"))
            heap = None if a.heap_kept is None else float(slope(a, b, "heap_kept"))
    return Reading(
        objects=float(count.objects),
        leaked=float(count.leaked),
        above_ok=float(objects) if ok else None,
        leaked_above_ok=float(leaked) if ok else None,
        growth=one.growth or "none",
        blocks=blocks,
        heap_bytes=heap,
        open_files=_open_files(one) if one.gc == "off" else None,
        peak_rss_bytes=one.peak_rss_bytes,
        freed=one.collector.freed_per_request if one.collector else None,
        pause_ms_per_1000_requests=one.collector.pause_ms_per_1000_requests if one.collector else None,
    )


def _open_files(one: Measurement) -> float | None:
    """Return how many more files are open after each request, or None where that cannot be counted."""
    if len(one.phases) < 2 or one.phases[-1].fds is None:
        return None
    a, b = one.phases[-2:]
    return float(slope(a, b, "fds"))


def _note(before: Reading, after: Reading) -> str | None:
    """Return what differs in memory that is not in gc-tracked objects, or None where it is too little."""
    parts = []
    if _apart(before.blocks, after.blocks, BLOCKS_NOTED):
        parts.append(f"{step(number(before.blocks or 0), number(after.blocks or 0))} blocks")
    if _apart(before.heap_bytes, after.heap_bytes, HEAP_NOTED):
        parts.append(f"{step(size(before.heap_bytes or 0), size(after.heap_bytes or 0))} of C heap")
    return f"{' and '.join(parts)} per request" if parts else None


def _apart(before: float | None, after: float | None, noted: float) -> bool:
    return before is not None and after is not None and abs(after - before) > noted


def _exact(value: float) -> Fraction:
    return Fraction(value).limit_denominator(MOST_REQUESTS)


def _sign(value: Fraction | int) -> int:
    return (value > 0) - (value < 0)
