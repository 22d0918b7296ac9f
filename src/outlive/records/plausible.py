"""Whether the numbers of a stored record can have been measured: what is not would break a page. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from outlive.wording import one_line

LARGEST = 1e15
"""No number that is measured is larger: a petabyte, or as many requests."""
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
