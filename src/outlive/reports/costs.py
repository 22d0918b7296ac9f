"""What an upgrade costs with the reader's traffic: memory per hour, hours to the limit, the collector's time.

Pure. The costs are estimates from exact counts (`outlive.comparison.sizes`). The page of a report computes
the same in the browser (`pages/templates/costs.js`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from outlive.comparison.cells import BASELINE, Row
from outlive.comparison.changes import bytes_of
from outlive.comparison.sides import SideReading
from outlive.comparison.sizes import MIB, Rates
from outlive.errors import UsageError
from outlive.records.measurement import Connection

SideName = Literal["before", "after"]
SIDES: tuple[SideName, ...] = ("before", "after")

RESTART_SHARE = 0.5
"""Share of a worker's room that it may have filled when `max_requests` restarts it: the other half is for
traffic that is worse than stated."""
GARBAGE_SHARE = 0.1
"""Share of a worker's room that garbage may take before a periodic collection frees it."""
UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
PER = {"": 1.0, "/s": 1.0, "/min": 60.0, "/h": 3600.0}
PARTS = {"": 1.0, "%": 100.0}


class Leaves(msgspec.Struct, frozen=True, kw_only=True):
    """What one failed request of a scenario costs on one side with one gc policy.

    `bytes_each` stay in memory, and `garbage_each` of them only until a collection. `ok_bytes` and
    `ok_garbage` are the same for a plain 200.
    """

    scenario: str
    connection: Connection
    gc: str
    bytes_each: float
    garbage_each: float
    ok_bytes: float
    ok_garbage: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader's traffic costs if all failures are of one scenario.

    `hours` is the time until the limit, None if it is never reached. `max_requests` and `periodic` (requests
    between collections) are per worker, None if they are not needed or cannot help.
    """

    mib_per_hour: float
    hours: float | None
    max_requests: int | None
    periodic: int | None


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the bill: a scenario, a connection and a gc policy, on both sides."""

    scenario: str
    connection: Connection
    gc: str
    before: Cost
    after: Cost


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """All costs of both sides at `rates`. A base is what a fresh worker takes in bytes, None if unknown."""

    rates: Rates
    base_before: int | None
    base_after: int | None
    leaves_before: tuple[Leaves, ...]
    leaves_after: tuple[Leaves, ...]
    charges: tuple[Charge, ...]


def bill(rows: Sequence[Row], rates: Rates) -> Bill:
    """Return what both sides cost: a line for each cell except `ok`, which is part of all lines."""
    errors = [row for row in rows if row.scenario != BASELINE]
    ok = {(row.connection, row.gc): row for row in rows if row.scenario == BASELINE}
    bases = [base(rows, side) for side in SIDES]
    leaves = [tuple(_leaves(row, ok.get((row.connection, row.gc)), side) for row in errors) for side in SIDES]
    return Bill(
        rates=rates,
        base_before=bases[0],
        base_after=bases[1],
        leaves_before=leaves[0],
        leaves_after=leaves[1],
        charges=tuple(
            Charge(
                scenario=before.scenario,
                connection=before.connection,
                gc=before.gc,
                before=cost(before, rates, bases[0]),
                after=cost(after, rates, bases[1]),
            )
            for before, after in zip(*leaves, strict=True)
        ),
    )


def base(rows: Iterable[Row], side: SideName) -> int | None:
    """Return what a worker takes before requests leave anything, in bytes: the lowest peak of a side."""
    peaks = [peak for row in rows if (peak := _reading(row, side).peak_rss_bytes)]
    return min(peaks, default=None)


def cost(leaves: Leaves, rates: Rates, base_bytes: int | None) -> Cost:
    """Return what traffic at `rates` costs."""
    share = rates.errors
    size = share * leaves.bytes_each + (1 - share) * leaves.ok_bytes
    garbage = share * leaves.garbage_each + (1 - share) * leaves.ok_garbage
    room = max(0.0, rates.limit - rates.workers * (base_bytes or 0))
    growth = size * rates.rate
    room_each = room / rates.workers
    return Cost(
        mib_per_hour=growth * 3600 / MIB,
        hours=room / growth / 3600 if growth > 0 else None,
        max_requests=_round(RESTART_SHARE * room_each / size) if size > 0 else None,
        periodic=_round(GARBAGE_SHARE * room_each / garbage) if garbage > 0 else None,
    )


def parse_rate(text: str) -> float:
    """Return requests per second from `200/s`, `200` or `12000/min`. Raises UsageError."""
    number, seconds = _quantity(text, PER)
    if not 0 < number / seconds <= 1e9:
        raise UsageError(f"--rate takes requests per second, as in 200/s, not {text!r}")
    return number / seconds


def parse_share(text: str) -> float:
    """Return a share from `5%` or `0.05`. Raises UsageError."""
    number, parts = _quantity(text, PARTS)
    if not 0 <= number / parts <= 1:
        raise UsageError(f"--errors takes a share, as in 5% or 0.05, not {text!r}")
    return number / parts


def parse_bytes(text: str) -> int:
    """Return bytes from `512MiB`, `512MB` or `1GiB`. Raises UsageError."""
    number, unit = _quantity(text.upper(), UNITS)
    if not 1 <= number * unit <= 2**50:
        raise UsageError(f"--limit takes memory, as in 512MiB, not {text!r}")
    return int(number * unit)


def _quantity(text: str, units: Mapping[str, float]) -> tuple[float, float]:
    """Return a number and the value of its unit, or NaN, which is in no range, if `text` is malformed."""
    match = re.fullmatch(r"\s*([\d.]+)\s*(\S*)\s*", text)
    try:
        return (float(match[1]), units[match[2]]) if match else (math.nan, 1.0)
    except (ValueError, KeyError):
        return math.nan, 1.0


def bytes_left(reading: SideReading, gc: str) -> tuple[float, float]:
    """Return an estimate of the bytes that one request leaves, and of how many a collection frees.

    Where the bytes that no collection frees were not counted, garbage has as large a share of all bytes as of
    all objects.
    """
    total = reading.bytes_each or 0.0
    garbage = reading.objects - max(0.0, reading.leaked)
    if gc != "off" or garbage <= 0:
        return total, 0.0
    kept = bytes_of(reading.kept)
    return total, total * garbage / reading.objects if kept is None else max(0.0, total - kept)


def _leaves(row: Row, ok_row: Row | None, side: SideName) -> Leaves:
    reading = _reading(row, side)
    ok = _reading(ok_row, side) if ok_row else None
    total, garbage = bytes_left(reading, row.gc)
    ok_total, ok_garbage = bytes_left(ok, row.gc) if ok else (0.0, 0.0)
    return Leaves(
        scenario=row.scenario,
        connection=row.connection,
        gc=row.gc,
        bytes_each=total,
        garbage_each=garbage,
        ok_bytes=ok_total,
        ok_garbage=ok_garbage,
    )


def _reading(row: Row, side: SideName) -> SideReading:
    return row.before if side == "before" else row.after


def _round(value: float) -> int:
    """Return a number of requests, at least 1, rounded down to two digits: more would be false precision."""
    if value < 1:
        return 1
    if value >= 1e15:
        return 10**15
    unit = 10 ** max(0, math.floor(math.log10(value)) - 1)
    return int(value // unit * unit)
