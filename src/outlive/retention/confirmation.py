"""Brief phases for a cell with a collector: they confirm what the same cell with gc off has shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.records.measurement import Measurement, Phase
from outlive.retention.growth import held_leaks, lengths

SHOWN = (7, 61, 17)
"""Phases of a cell with a collector if the same cell with gc off has shown, with phases of full length, that
nothing stays. None of 4,661 such cells in the stored history kept anything."""
SHOWN_LONG = (229, 419)
"""Added if that cell has shown a leak of a whole number of objects per request. Of 707 such cells, 704 leaked
exactly as many, and the others one object more in 1,009 requests."""
LENGTHS = msgspec.structs.replace(lengths(), short=SHOWN, long=SHOWN_LONG)
"""The lengths of the phases, as `growth.analyse` takes them."""


def shows(measurement: Measurement) -> int | None:
    """Return the objects per request that stay after a collection, as shown by a cell with gc off.

    None if in doubt: the number is not whole, or not the same from the second phase on.
    """
    leaked, phases = measurement.leaked_per_request, measurement.phases
    if measurement.gc != "off" or measurement.held or leaked is None:
        return None
    if measurement.growth == "leak":
        whole = int(leaked)
        return whole if whole and whole == leaked and _is_steady(phases, whole) else None
    briefest = len(phases) == len(LENGTHS.short)
    return 0 if briefest and measurement.growth in ("none", "cyclic") and not leaked else None


def plan(done: Sequence[Phase], shown: int) -> tuple[int, ...]:
    """Return the lengths of the phases to run next, none if the phases that are `done` suffice."""
    if not done:
        return SHOWN
    return SHOWN_LONG if shown and len(done) == len(SHOWN) and confirms(done, shown) else ()


def confirms(done: Sequence[Phase], shown: int) -> bool:
    """Return whether the phases keep exactly the objects that were shown; memory was shown with gc off."""
    return _is_steady(done, shown) and not held_leaks(done[-2:])


def _is_steady(phases: Sequence[Phase], leaked: int) -> bool:
    """Return whether all phases but the first keep `leaked` objects per request, and the same number more."""
    return len({phase.leaked - leaked * phase.requests for phase in phases[1:]}) == 1
