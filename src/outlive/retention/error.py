"""Returns how far a slope may be from that of another run of the same cell. Pure.

Most counts are on a straight line and have no error. Others depend on timing.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from outlive.records.measurement import Measurement, Phase
from outlive.retention.growth import SENSITIVITY, lengths, of

CHANCE = 2
"""Most objects by which a slope over the long phases may miss a whole number by chance: a timer that is
due."""
SPREAD = 3
"""Standard deviations of what one request leaves that are taken for the difference between two requests: if
half of them leave more it is two, and a phase can show less by chance."""


def error(phases: Sequence[Phase], counts: Sequence[int], sensitivity: int = SENSITIVITY) -> Fraction:
    """Return the error of the slope of `counts`, one count for each phase; 0 if they are on a straight line.

    A slope that is a whole number over hundreds of requests is not chance: earlier counts off the line filled
    a cache. Otherwise counts are off the line because requests leave different numbers of objects, depending
    on timing, and how many of them leave more differs from run to run. So the error is the difference between
    single requests, at least one object, or what the slope to an earlier phase differs by, if that is more.
    """
    if len(phases) < 2:
        return Fraction(0)
    a, b = phases[-2:]
    if not (requests := abs(b.requests - a.requests)) or not (counts[-1] - counts[-2]) % requests:
        return Fraction(0)  # most cells
    asked = lengths(sensitivity)
    long = (*asked.long, asked.last)
    if not of(phases, long):
        return Fraction(0)  # the short phases were on a line, or the long ones would have been run
    rise = Fraction(counts[-1] - counts[-2], b.requests - a.requests)
    whole = abs(rise - round(rise))
    short = [
        (phase.requests, count)
        for phase, count in zip(phases, counts, strict=True)
        if phase.requests not in (*long, *asked.memory, b.requests)
    ]
    sets = [short[end - 3 : end] for end in range(len(short), 2, -3)]
    off = {n: abs(count - counts[-1] - rise * (n - b.requests)) for n, count in short[-3:]}
    if whole * requests <= CHANCE or max(off.values(), default=0) <= CHANCE:
        return Fraction(CHANCE, requests)
    drift = max(deviation / abs(b.requests - n) for n, deviation in off.items())
    return max(
        Fraction(1), drift, SPREAD * max(map(_deviation, sets), default=Fraction(0))
    ).limit_denominator(1000)


def _deviation(phases: Sequence[tuple[int, int]]) -> Fraction:
    """Return the standard deviation of what one request leaves, from (requests, count) of three phases.

    That of a phase is the square root of its requests times as large. The line through the shortest and the
    longest phase tells what the third one should have: what shifts whole phases alike does not count.
    """
    (n, count), (middle, between), (most, last) = sorted(phases)
    if n == most:
        return Fraction(0)
    expected = count + Fraction(last - count, most - n) * (middle - n)
    return Fraction(float(abs(between - expected)) / middle**0.5)


def errors(measurement: Measurement) -> tuple[float, float]:
    """Return the errors of (leaked, cyclic) objects per request; they are 0 for a cell that does not grow."""
    if measurement.growth in ("none", "bounded"):
        return 0.0, 0.0
    phases, sensitivity = measurement.phases, measurement.sensitivity
    leaked = [phase.leaked for phase in phases]
    cyclic = [phase.survivors - phase.leaked for phase in phases]
    return (
        float(error(phases, leaked, sensitivity)) if measurement.leaked_per_request else 0.0,
        float(error(phases, cyclic, sensitivity)) if measurement.gc == "off" else 0.0,
    )
