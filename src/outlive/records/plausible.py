"""Finds numbers in stored records that cannot have been measured, because they would break a page. Pure."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import combinations
from math import isclose
from typing import Annotated, Any

import msgspec

from outlive.records.measurement import Measurement, Phase
from outlive.wording import counted, one_line

LARGEST = 1e15
"""No measured number is larger than this: a petabyte, or as many requests."""
EXACT = 1e-9
"""The most by which two floats of the same fraction differ."""
HUGE = 1e300  # in place of integers that no float can hold


def faults(record: msgspec.Struct) -> tuple[str, ...]:
    """Return a line for each number of `record` that is too large: its field, and why it is not plausible."""
    try:
        return plain(msgspec.json.encode(record))[1]
    except OverflowError:  # an integer of more than 64 bits
        return _too_large(msgspec.to_builtins(record))


def plain(source: bytes) -> tuple[Any, tuple[str, ...]]:
    """Return the plain values of JSON, and a line for each number that is too large, as `faults` does.

    Raises msgspec.DecodeError if it is not JSON.
    """
    try:
        return _bounded().decode(source), ()  # a quick check before the slow one
    except msgspec.ValidationError:
        values = msgspec.json.decode(source)
        return values, _too_large(values)


def _too_large(values: Any) -> tuple[str, ...]:
    return tuple(
        f"{name} is {value:.3g}: no measured number is so large"
        for name, value in _numbers(values, "a number")
        if abs(value) > LARGEST
    )


@functools.cache
def _bounded() -> msgspec.json.Decoder[Any]:
    """Return a decoder that refuses larger numbers, and what is nested more than eight levels deep."""
    whole = Annotated[int, msgspec.Meta(ge=-int(LARGEST), le=int(LARGEST))]
    plain: Any = whole | Annotated[float, msgspec.Meta(ge=-LARGEST, le=LARGEST)] | str | bool | None
    level: Any = plain
    for _ in range(8):
        level = plain | list[level] | dict[str, level]
    return msgspec.json.Decoder(level)


def contradictions(measurement: Measurement) -> Iterator[str]:
    """Yield a line for each count of a measurement that its own phases contradict.

    Each count per request is zero or an exact slope between two of its phases, so a digit that was changed on
    either side shows. This holds for everything that was ever stored.
    """
    scenario, phases, survivors = measurement.scenario, measurement.phases, measurement.survivors_per_request
    leaked, cyclic = measurement.leaked_per_request, measurement.cyclic_per_request
    if not phases:
        return
    if any(phase.requests < 1 for phase in phases):
        yield f"{scenario}: a phase has no requests"
    if measurement.requests != sum(phase.requests for phase in phases):
        yield f"{scenario}: its phases do not add up to {counted(measurement.requests, 'request')}"
    if leaked and not _is_slope(leaked, phases, [phase.leaked for phase in phases]):
        yield f"{scenario}: {leaked:g} leaked per request is not a slope of its phases"
    if cyclic is None or survivors is None:
        return
    if not _is_slope(cyclic, phases, [phase.survivors - phase.leaked for phase in phases]):
        yield f"{scenario}: {cyclic:g} cyclic per request is not a slope of its phases"
    if not isclose(survivors, cyclic + (leaked or 0), abs_tol=EXACT):
        yield f"{scenario}: its survivors are not the sum of cyclic and leaked objects"


def _is_slope(value: float, phases: Sequence[Phase], counts: Sequence[int]) -> bool:
    """Return whether `value` is the change of a count per request between two of the phases."""
    return any(
        isclose(value, (y - x) / (b.requests - a.requests), abs_tol=EXACT)
        for (a, x), (b, y) in combinations(zip(phases, counts, strict=True), 2)
        if a.requests != b.requests
    )


def _numbers(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yield (name of the field, number) for all numbers in plain values."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield one_line(name), min(max(value, -HUGE), HUGE)
