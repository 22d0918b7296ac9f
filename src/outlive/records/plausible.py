"""Whether the numbers of a stored record can have been measured: what is not would break a page. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from outlive.wording import one_line

LARGEST = 1e15
"""No number that is measured is larger: a petabyte, or as many requests."""
HUGE = 1e300  # in place of integers that no float can hold


def faults(record: msgspec.Struct) -> Iterator[str]:
    """Yield, for each number of `record` that is too large, the field that holds it and why it cannot be."""
    for name, value in _numbers(msgspec.to_builtins(record), "a number"):
        if abs(value) > LARGEST:
            yield f"{name} is {value:.3g}: nothing that was measured is so large"


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
