"""From the readings of a cell's phases to slopes, intercept and the verdict on growth. Pure, exact integers."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from outlive.measurement import Growth, Phase

WARM_UP = 20
"""Requests before counting starts, after the one that verifies the answer: lazy imports, caches, code paths."""
PHASES = (53, 211, 101)
"""Requests of the phases, primes, so that nothing that happens each 2nd, 10th or 100th request hides. The
longest is not the last: what allocators and caches take once, they have taken before the last one."""
MEMORY_PHASES = (307, 401)
"""Added one by one while only memory seems to be kept: mostly a cache has just not had its fill yet."""
LONG_PHASES = (503, 1009)
"""Phases added where something seems to be kept: a cache of up to 1,800 entries has filled by the last one."""
LAST_PHASE = 757
"""Added where growth stopped in a long phase, so that two phases tell what comes after."""
BLOCKS_SUSPECT = 0.6
"""Blocks kept per request of the last phase from which on a cell is run longer. An object kept for each request
is one block at least; clean cells seldom come to 0.6, and then only take longer."""
BLOCKS_LEAK = 0.25
"""Blocks kept per request of each long phase from which on the cell leaks; clean cells stayed below 0.21."""
HEAP_SUSPECT = 128.0
"""Bytes of C heap kept per request, as BLOCKS_SUSPECT; 513 is the least that pymalloc leaves to malloc."""
HEAP_LEAK = 64.0
"""Bytes of C heap kept per request, as BLOCKS_LEAK."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """What the phases of a cell say. Slopes are per request; see `Measurement`."""

    growth: Growth
    survivors: Fraction
    cyclic: Fraction
    leaked: Fraction
    intercept: Fraction
    leaked_intercept: Fraction
    blocks: Fraction
    blocks_kept: Fraction
    heap: Fraction | None
    heap_kept: Fraction | None
    types: dict[str, float]
    types_kept: dict[str, float]


def slope(a: Phase, b: Phase, reading: str) -> Fraction:
    """Return the change of a reading per request between two phases of different length."""
    return Fraction(getattr(b, reading) - getattr(a, reading), b.requests - a.requests)


def doubtful(phases: Sequence[Phase], *, collecting: bool) -> bool:
    """Tell whether long phases must show how this goes on: objects are kept, or no straight line fits.

    With the automatic collector (`collecting`) survivors never lie on one, for it untracks some of them
    while they live.
    """
    a, b, c = phases[-3:]
    readings = ("leaked",) if collecting else ("leaked", "survivors")
    return slope(b, c, "leaked") > 0 or any(slope(a, b, one) != slope(b, c, one) for one in readings)


def keeps_memory(phases: Sequence[Phase]) -> bool:
    """Tell whether the last phase kept memory for each request, so that more phases must show if that ends."""
    return _memory_kept(phases[-1:], BLOCKS_SUSPECT, HEAP_SUSPECT)


def analyse(phases: Sequence[Phase]) -> Analysis:
    """Return what the phases say; the last two, which differ in length, give the slopes."""
    a, b = phases[-2:]
    survivors = slope(a, b, "survivors")
    leaked = slope(a, b, "leaked")
    countable = a.heap is not None
    return Analysis(
        growth=_growth(phases),
        survivors=survivors,
        cyclic=survivors - leaked,
        leaked=leaked,
        intercept=b.survivors - survivors * b.requests,
        leaked_intercept=b.leaked - leaked * b.requests,
        blocks=slope(a, b, "blocks"),
        blocks_kept=slope(a, b, "blocks_kept"),
        heap=slope(a, b, "heap") if countable else None,
        heap_kept=slope(a, b, "heap_kept") if countable else None,
        types=_types(a, a.types, b, b.types),
        types_kept=_types(a, a.types_kept, b, b.types_kept),
    )


def settled(phases: Sequence[Phase]) -> bool:
    """Tell whether the last two phases kept no less than those before: a cache that filled in one did."""
    a, b = phases[-2:]
    return slope(a, b, "leaked") >= 0


def _growth(phases: Sequence[Phase]) -> Growth:
    a, b = phases[-2:]
    long = phases[-1].requests >= LONG_PHASES[0]
    if long and (slope(a, b, "leaked") > 0 or _memory_kept((a, b), BLOCKS_LEAK, HEAP_LEAK)):
        return "leak"
    if slope(a, b, "survivors") > slope(a, b, "leaked"):
        return "cyclic"
    if long and slope(phases[1], phases[2], "leaked") > 0:
        return "bounded"
    return "none"


def _memory_kept(phases: Sequence[Phase], blocks: float, heap: float) -> bool:
    """Tell whether each of the phases kept at least so many blocks, or bytes of C heap, per request."""
    return all(phase.blocks_kept >= blocks * phase.requests for phase in phases) or all(
        (phase.heap_kept or 0) >= heap * phase.requests for phase in phases
    )


def _types(a: Phase, types_a: dict[str, int], b: Phase, types_b: dict[str, int]) -> dict[str, float]:
    """Return objects per request by type name, most first."""
    requests = b.requests - a.requests
    changes = {name: types_b.get(name, 0) - types_a.get(name, 0) for name in {*types_a, *types_b}}
    most_first = sorted(changes, key=lambda name: (-changes[name], name))
    return {name: changes[name] / requests for name in most_first if changes[name]}
