"""The rows of a comparison: each cell that both sides measured, and the direction of its change. Pure.

The direction is that of `changes`, from what is there before and after. What `ok` leaves is said beside it:
it is attribution and decides nothing.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Literal

import msgspec

from outlive.comparison.changes import (
    BLOCKS,
    HEAP,
    NAMED,
    OBJECTS,
    OPEN_FILES,
    QUANTITIES,
    RANK,
    Amount,
    Direction,
    Quantity,
    bytes_changed,
    bytes_of,
    class_change,
    exact,
    sign,
)
from outlive.comparison.sides import SideReading, readings
from outlive.comparison.sizes import MIB, Rates, Size, hourly
from outlive.errors import FaultError
from outlive.records.measurement import Cell, Measurement
from outlive.wording import one_line

Gap = Literal["unsupported", "failed", "missing", "incomparable"]

BASELINE = "ok"
PEAK_TOLD = 1.5
"""Least ratio of the two sides' peak RSS that a row shows, if they also differ by PEAK_LEAST. The peak is
that of one run and noisy, so it decides nothing."""
PEAK_LEAST = 64 * MIB
GAPS: tuple[Gap, ...] = ("unsupported", "missing", "incomparable", "failed")  # the gravest last


class Row(Cell, frozen=True, kw_only=True):
    """One cell that both sides measured.

    `by` is what gave the direction: `class`, or the name of a quantity; empty where nothing changed. `told`
    are the quantities that differ. `as_ok`: it changes, and by just what `ok` changes. `decides` is false
    where it is for development only. `size` is what stays at the reader's traffic, `leak` what of it no
    collection frees, all of it if that is not known.
    """

    before: SideReading
    after: SideReading
    direction: Direction
    by: str
    told: tuple[str, ...]
    as_ok: bool
    decides: bool
    size: Size | None
    leak: Size | None

    @property
    def change(self) -> float:
        """The change in objects per request."""
        return float(exact(self.after.objects) - exact(self.before.objects))

    def amounts(self, quantity: Quantity) -> tuple[float, float]:
        """Return how much of a quantity stays before and after, 0 where that is unknown."""
        return self.before.value(quantity.name) or 0.0, self.after.value(quantity.name) or 0.0

    def written(self, quantity: Quantity) -> tuple[str, str]:
        """Return the amounts of a quantity as text."""
        before, after = self.amounts(quantity)
        return quantity.write(before), quantity.write(after)

    @property
    def open_files(self) -> tuple[float, float]:
        """Files that each request leaves open until a collection, before and after."""
        return self.amounts(OPEN_FILES)

    @property
    def equally_long(self) -> bool:
        """Whether as many requests were sent on both sides: then what grows with them can be compared."""
        return self.before.requests == self.after.requests

    @property
    def peaks(self) -> tuple[int, int] | None:
        """Peak RSS before and after, in bytes, if they can be compared and are far apart, else None."""
        if not self.equally_long:
            return None
        before, after = self.before.peak_rss_bytes or 0, self.after.peak_rss_bytes or 0
        apart = abs(after - before) >= PEAK_LEAST and max(before, after) >= PEAK_TOLD * min(before, after)
        return (before, after) if before and after and apart else None

    @property
    def still_leaks(self) -> bool:
        """Whether it leaks before and after."""
        return self.before.kind == self.after.kind == "leak"

    @property
    def contrary(self) -> tuple[Quantity, ...]:
        """The quantities that changed in the opposite direction."""
        way = {"worse": 1, "better": -1, "same": 0}[self.direction]
        return tuple(
            quantity
            for quantity in QUANTITIES
            if quantity.name in self.told
            and quantity.change(self.before.amounts.get(quantity.name), self.after.amounts.get(quantity.name))
            == -way
        )

    @property
    def significant(self) -> bool:
        """Whether a reader must see it: it changed by itself, or it leaks on both sides."""
        return (self.direction != "same" and not self.as_ok) or self.still_leaks


class Unmeasured(Cell, frozen=True, kw_only=True):
    """One cell that cannot be compared; `side` is the side at fault."""

    side: Literal["before", "after", "both"]
    gap: Gap
    reason: str

    @property
    def nowhere(self) -> bool:
        """Whether neither side can serve it."""
        return self.gap == "unsupported" and self.side == "both"


def match(
    before: Sequence[Measurement], after: Sequence[Measurement]
) -> tuple[dict[Cell, tuple[Measurement, Measurement]], tuple[Unmeasured, ...]]:
    """Return the measurements of all cells that both sides measured alike, and the cells that they did not.

    Both are in the order of `before`; what only `after` has comes last. Raises FaultError where a side has a
    cell twice.
    """
    sides = by_cell(before), by_cell(after)
    cells = dict.fromkeys((*sides[0], *sides[1]))
    gaps = {cell: gap for cell in cells if (gap := _gap(cell, *(side.get(cell) for side in sides)))}
    measured = {cell: (sides[0][cell], sides[1][cell]) for cell in cells if cell not in gaps}
    return measured, tuple(gaps.values())


def judge(
    measured: Mapping[Cell, tuple[Measurement, Measurement]],
    rates: Rates | None = None,
    development: Container[str] = (),
) -> tuple[Row, ...]:
    """Return a row for each cell, its size at `rates`; scenarios that are for `development` never decide.

    Raises FaultError where a measured cell has no counts.
    """
    pairs = {cell: readings(*sides) for cell, sides in measured.items()}
    rates = rates or Rates()
    return tuple(_row(cell, pairs, rates, decides=cell.scenario not in development) for cell in measured)


def by_cell(measurements: Sequence[Measurement]) -> dict[Cell, Measurement]:
    """Return the measurements by their cells. Raises FaultError for a cell that is there twice."""
    cells: dict[Cell, Measurement] = {}
    for measurement in measurements:
        cell = Cell.of(measurement)
        if cell in cells:
            where = f"{cell.scenario}, {cell.connection}, {cell.gc}"
            raise FaultError(f"{where} is measured twice on one side: compare one worker at a time")
        cells[cell] = measurement
    return cells


def _gap(cell: Cell, before: Measurement | None, after: Measurement | None) -> Unmeasured | None:
    """Return why a cell cannot be compared, or None if it can."""
    sides: dict[Literal["before", "after"], Measurement | None] = {"before": before, "after": after}
    faults = {name: fault for name, measurement in sides.items() if (fault := _fault(measurement))}
    if faults:
        side: Literal["before", "after", "both"] = "both" if len(faults) == 2 else next(iter(faults))
        gap = max((gap for gap, _ in faults.values()), key=GAPS.index)
        reasons = {reason for _, reason in faults.values()}
        apart = (f"{name}: {reason}" for name, (_, reason) in faults.items())
        reason = reasons.pop() if len(reasons) == 1 else "; ".join(apart)
    elif before and after and (differing := _different_means(before, after)):
        side, gap = "both", "incomparable"
        reason = f"measured differently: {', '.join(differing)}"
    else:
        return None
    return Unmeasured(cell.scenario, cell.connection, cell.gc, side=side, gap=gap, reason=reason)


def _different_means(before: Measurement, after: Measurement) -> list[str]:
    apps = ("reference app", before.app_version, after.app_version)
    workers = ("worker", before.worker, after.worker)
    return [f"{name} {early} and {late}" for name, early, late in (apps, workers) if early != late]


def _fault(measurement: Measurement | None) -> tuple[Gap, str] | None:
    if measurement is None:
        return "missing", "not requested on this side"
    if measurement.status == "measured":
        return None
    return measurement.status, one_line(measurement.reason or "no reason was recorded")


def _row(
    cell: Cell, pairs: Mapping[Cell, tuple[SideReading, SideReading]], rates: Rates, *, decides: bool
) -> Row:
    before, after = pairs[cell]
    ok = pairs.get(msgspec.structs.replace(cell, scenario=BASELINE))
    if ok:
        before, after = (
            msgspec.structs.replace(side, ok=of.objects, ok_python=of.ok_python)
            for side, of in zip((before, after), ok, strict=True)
        )
    direction, by, differing = decide(before, after)
    fails = cell.scenario != BASELINE
    change = bytes_changed(before.amounts, after.amounts)
    leaked = bytes_changed(before.kept, after.kept) if _leak_differs(before, after, differing) else 0.0
    size = _size(before.amounts, after.amounts, change, rates, fails=fails)
    return Row(
        cell.scenario,
        cell.connection,
        cell.gc,
        before=before,
        after=after,
        direction=direction,
        by=by,
        told=differing,
        as_ok=by in {"class", "leaked", "objects"}
        and cell.scenario != BASELINE
        and ok is not None
        and decide(*ok)[0] == direction
        and _as_ok((before, after), ok),
        decides=decides,
        size=size,
        leak=_size(before.kept, after.kept, leaked, rates, fails=fails) or size,
    )


def _leak_differs(before: SideReading, after: SideReading, differing: Sequence[str]) -> bool:
    """Return whether what no collection frees differs: without that, estimates of it only differ by noise."""
    turns = (before.kind == "leak") != (after.kind == "leak")
    return turns or any(NAMED[name].leaks is not None for name in differing)


def _size(
    before: Mapping[str, Amount],
    after: Mapping[str, Amount],
    change: float,
    rates: Rates,
    *,
    fails: bool,
) -> Size | None:
    """Return what stays per hour; `change` are the bytes per request that are certain."""
    sides = bytes_of(before), bytes_of(after)
    if sides[0] is None or sides[1] is None:
        return None
    return Size.of(*(hourly(each, rates, fails=fails) for each in (sides[0], sides[1], change)))


def decide(before: SideReading, after: SideReading) -> tuple[Direction, str, tuple[str, ...]]:
    """Return the direction, what gave it, and all quantities that differ."""
    signs = {"class": class_change((before.kind, after.kind), (before.once, after.once))}
    for quantity in QUANTITIES:
        signs[quantity.name] = quantity.change(
            before.amounts.get(quantity.name), after.amounts.get(quantity.name)
        )
    changed = tuple(name for name, sign in signs.items() if sign)
    differing = tuple(name for name in changed if name != "class")
    if not changed:
        return "same", "", differing
    by = changed[0]
    if by == OBJECTS.name:  # a few objects more or less weigh nothing against memory that goes the other way
        memory = sign(bytes_changed(before.amounts, after.amounts))
        if memory == -signs[by]:
            by = next(quantity.name for quantity in (HEAP, BLOCKS) if signs[quantity.name] == memory)
    return "worse" if signs[by] > 0 else "better", by, differing


def _as_ok(sides: tuple[SideReading, SideReading], ok: tuple[SideReading, SideReading]) -> bool:
    """Return whether what changes is what `ok` changes: as many objects, and their growth if it changes."""
    own, base = ((RANK[first.kind], RANK[last.kind]) for first, last in (sides, ok))
    if own[0] != own[1] and own != base:
        return False
    for name in ("leaked", "objects"):
        early, late, ok_early, ok_late = (side.amounts[name] for side in (*sides, *ok))
        change = exact(late.value) - exact(early.value) - (exact(ok_late.value) - exact(ok_early.value))
        if abs(change) > sum(exact(amount.error) for amount in (early, late, ok_early, ok_late)):
            return False
    return True
