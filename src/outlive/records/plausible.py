"""Whether the numbers of a stored record can have been measured: what is not would break a page. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isclose
from typing import Any

import msgspec

from outlive.records.measurement import Measurement, Phase
from outlive.wording import one_line

LARGEST = 1e15
"""No number that is measured is larger: a petabyte, or as many requests."""
EXACT = 1e-9
"""By which floats of one fraction may differ."""
HUGE = 1e300  # in place of integers that no float can hold
SUSPECT = re.compile(rb"[:,[]-?(?:\d{16}|\d+(?:\.\d+)?[eE]\+?\d)")
"""What a larger number looks like in JSON: where nothing does, each number need not be looked at."""


def faults(record: msgspec.Struct) -> Iterator[str]:
    """Yield, for each number of `record` that is too large, the field that holds it and why it cannot be."""
    if _is_small(record):
        return
    for name, value in _numbers(msgspec.to_builtins(record), "a number"):
        if abs(value) > LARGEST:
            yield f"{name} is {value:.3g}: nothing that was measured is so large"


def _is_small(record: msgspec.Struct) -> bool:
    """Return whether no number of `record` can be too large, in a fraction of the time that a look takes."""
    try:
        return not SUSPECT.search(msgspec.json.encode(record))
    except OverflowError:  # an integer of more than 64 bits
        return False


def contradictions(m: Measurement) -> Iterator[str]:
    """Yield what the counts of a measurement say that its own phases contradict.

    Each count per request is a slope between two of its phases, or no leak. Exact: it holds for all that was
    ever stored, and a digit that was changed on one side shows.
    """
    if not m.phases:
        return
    if m.requests != sum(phase.requests for phase in m.phases):
        yield f"{m.scenario}: its phases do not have {m.requests} requests"
    leaked = [phase.leaked for phase in m.phases]
    cyclic = [phase.survivors - phase.leaked for phase in m.phases]
    if m.leaked_per_request and not _is_slope(m.leaked_per_request, m.phases, leaked):
        yield f"{m.scenario}: {m.leaked_per_request:g} leaked per request is no slope of its phases"
    if m.cyclic_per_request is None or m.survivors_per_request is None:
        return
    if not _is_slope(m.cyclic_per_request, m.phases, cyclic):
        yield f"{m.scenario}: {m.cyclic_per_request:g} cyclic per request is no slope of its phases"
    if not isclose(
        m.survivors_per_request, m.cyclic_per_request + (m.leaked_per_request or 0), abs_tol=EXACT
    ):
        yield f"{m.scenario}: its survivors are not the cyclic and the leaked ones"


def _is_slope(value: float, phases: Sequence[Phase], counts: Sequence[int]) -> bool:
    """Tell whether `value` is the change of a count per request between two of the phases."""
    return any(
        isclose(value, (y - x) / (b.requests - a.requests), abs_tol=EXACT)
        for (a, x), (b, y) in combinations(zip(phases, counts, strict=True), 2)
        if a.requests != b.requests
    )


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yield all numbers in plain values, each with the name of the field that holds it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield one_line(name), min(max(value, -HUGE), HUGE)
