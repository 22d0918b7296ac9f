"""Why a verdict is given: the rule that gave it in words, with cells and MiB per hour. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from outlive.comparison.cells import Row
from outlive.comparison.sizes import mib
from outlive.wording import counted, does, listed, number

STILL_THERE = 0.5
"""A verdict says how much remains if that is more than this fraction of what cells left before."""


def graver(
    rows: Sequence[Row],
    *,
    turned: Sequence[Row],
    leaking: Sequence[Row],
    heavy: Sequence[Row],
    others: Sequence[Row],
    better: Sequence[Row],
) -> str:
    """Return how many of `rows` start to leak, leak more and leave much more, and what changes beside them.

    The two parts together name every row that changes.
    """
    kinds = ((turned, "start", "to leak"), (leaking, "leak", "more"), (heavy, "leave", "more"))
    told = [kind for kind in kinds if kind[0]]
    gravest = [
        f"{len(part) if at else of(part, rows)} {does(len(part), verb)} {more}"
        + (by(part, leaks=part is leaking) if more == "more" else "")
        for at, (part, verb, more) in enumerate(told)
    ]
    beside = [f"{counted(len(others), 'other')} got worse{by(others)}"] if others else []
    beside += [f"{len(better)} got better{by(better)}"] if better else []
    return "; ".join(filter(None, [listed(gravest), listed(beside)]))


def little(rows: Sequence[Row], better: Sequence[Row], worse: Sequence[Row], least: float) -> str:
    """Return what changes by too little: no row got better by the fraction `least` of what it left."""
    leaking = sum(row.still_leaks for row in rows)
    verb = does(leaking, "leak")
    still = f"; {counted(leaking, 'cell')} {verb} before and after" if leaking else ""
    changed = [(name, part) for name, part in (("better", better), ("worse", worse)) if part]
    parts = [
        f"{len(part) if at else of(part, rows)} got {name}{by(part, least=least)}"
        for at, (name, part) in enumerate(changed)
    ]
    nothing = f"nothing changes in {counted(len(rows), 'cell')}"
    return f"{listed(parts) or nothing}{still}"


def by(rows: Sequence[Row], *, leaks: bool = False, least: float = 0.0) -> str:
    """Return by how much rows that all got better, or all got worse, changed at most, or "" if unknown.

    If it `leaks`, what a collection frees does not count. A gain that is a smaller fraction than `least` of
    what was left is said to be.
    """
    sizes = [size for row in rows if (size := row.leak if leaks else row.size) is not None]
    if not sizes:
        return ""
    way = 1 if rows[0].direction == "worse" else -1
    top = max(sizes, key=lambda size: way * size.change)
    if way * top.change <= 0:
        return " by too little to state in MiB per hour"
    most = "up to " if len(rows) > 1 else ""
    small = top.word != "negligible" and 0 < -top.change < least * top.before
    share = f", but less than {number(least * 100)} % of what was left there" if small else ""
    return f" by {most}{mib(abs(top.change))} MiB per hour ({top.word}{share})"


def rest(rows: Sequence[Row]) -> str:
    """Return how much of what rows left remains, or "" if it is at most STILL_THERE."""
    sizes = [row.size for row in rows if row.size is not None]
    before = sum(size.before for size in sizes)
    share = sum(size.after for size in sizes) / before if before else 0.0
    if share <= STILL_THERE:
        return ""
    return f", with {10 * min(9, round(share * 10))} % still left"


def of(part: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return how many of `rows` a part of them are, as in `3 of 68 cells`."""
    return "the only cell" if len(rows) == 1 else f"{len(part)} of {counted(len(rows), 'cell')}"
