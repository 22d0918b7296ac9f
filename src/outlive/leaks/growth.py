"""From the readings of a cell's phases to slopes, intercept and the verdict on growth; and what to run next.

Pure. Objects are exact integers and their slopes exact fractions. Memory is not exact, so it has thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

import msgspec

from outlive.records.measurement import Growth, Phase

WARM_UP = 20
"""Requests before counting starts, after the one that verifies the answer: lazy imports, caches."""
PHASES = (23, 211, 79)
"""Requests of the phases, primes, so that nothing that happens each 2nd, 10th or 100th request hides. The
longest is not the last: what allocators and caches take once, they have taken before the last one."""
SETS = 2
"""Times that these phases are run at most. Where the first set is not on a straight line, something happened
once (a cache filled, a thread pool grew), and the second is."""
MEMORY_PHASES = (307, 401)
"""Added one by one while only memory seems to be kept: mostly a cache has just not had its fill yet."""
LONG_PHASES = (503, 1009)
"""Added where something seems to be kept: a cache of up to 1,800 entries has filled by the last one."""
STEADY = Fraction(99, 100)
"""Share of the other one's objects per request that each of them keeps if growth goes on. What differs by
less is a connection's own objects; growth that stopped in the last ten requests is not seen."""
LAST_PHASE = 1511
"""Added where one of them kept less than that of the other's: tells whether growth stopped."""
LEAST_LEAK = Fraction(1, 200)
"""Objects per request from which on the long phases show a leak. One object for each 200 requests is a
difference of 2.5 objects between them; one or two can be chance, such as a timer that fired."""
BOUNDED_OBJECTS = 32
"""Objects kept by growth that stopped from which on it is called bounded; fewer are first-time work."""
BLOCKS_SUSPECT = 0.6
"""Blocks kept per request of the last phase from which on a cell is run longer. An object kept for each
request is one block at least; clean cells seldom come to 0.6, and then only take longer."""
BLOCKS_LEAK = 0.25
"""Blocks kept per request of each long phase from which on the cell leaks; clean cells stayed below 0.21."""
HEAP_SUSPECT = 128.0
"""Bytes of C heap kept per request, as BLOCKS_SUSPECT; 513 is the least that pymalloc leaves to malloc."""
HEAP_LEAK = 64.0
"""Bytes of C heap kept per request, as BLOCKS_LEAK."""


class Tally(msgspec.Struct, frozen=True):
    """A phase with the objects by type name that it left before and after the full collection."""

    phase: Phase
    types: dict[str, int]
    types_kept: dict[str, int]


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


def plan(done: Sequence[Phase], *, collecting: bool) -> tuple[int, ...]:
    """Return the lengths of the phases to run next; none where those that are done suffice.

    With the automatic collector (`collecting`) only leaked objects are exact, for it stops tracking some of
    the others while they live.
    """
    short, memory, long = (_of(done, lengths) for lengths in (PHASES, MEMORY_PHASES, LONG_PHASES))
    if not short:
        return PHASES
    exact = _exact(short[-3:], collecting=collecting)
    if not exact and len(short) < SETS * len(PHASES):
        return PHASES
    if long:
        a, b = long
        less, more = sorted((a.leaked * b.requests, b.leaked * a.requests))
        return (LAST_PHASE,) if less < STEADY * more and done[-1].requests != LAST_PHASE else ()
    if not exact or slope(*_pair(short), "leaked") > 0:
        return LONG_PHASES
    if _keeps_memory(done[-1:], BLOCKS_SUSPECT, HEAP_SUSPECT):
        return MEMORY_PHASES[len(memory) : len(memory) + 1] or LONG_PHASES
    return ()


def analyse(tallies: Sequence[Tally], *, collecting: bool) -> Analysis:
    """Return what the phases say, those that `plan` asked for."""
    phases = [tally.phase for tally in tallies]
    a, b = _decisive(tallies, collecting=collecting)
    leaked = slope(a.phase, b.phase, "leaked")
    cyclic = slope(a.phase, b.phase, "survivors") - leaked
    if _of(phases, LONG_PHASES) and (leaked < LEAST_LEAK or _gave_back(phases)):
        leaked = Fraction(0)  # a full cache that makes room now and then
    survivors = cyclic + leaked
    last = _pair(phases)
    countable = last[0].heap is not None
    return Analysis(
        growth=_growth(phases, Fraction(0) if collecting else cyclic, leaked),
        survivors=survivors,
        cyclic=cyclic,
        leaked=leaked,
        intercept=b.phase.survivors - survivors * b.phase.requests,
        leaked_intercept=b.phase.leaked - leaked * b.phase.requests,
        blocks=slope(*last, "blocks"),
        blocks_kept=slope(*last, "blocks_kept"),
        heap=slope(*last, "heap") if countable else None,
        heap_kept=slope(*last, "heap_kept") if countable else None,
        types=_types(a, a.types, b, b.types),
        types_kept=_types(a, a.types_kept, b, b.types_kept),
    )


def _decisive(tallies: Sequence[Tally], *, collecting: bool) -> tuple[Tally, Tally]:
    """Return the two phases that the slopes of objects come from."""
    short = [tally for tally in tallies if tally.phase.requests in PHASES][-3:]
    exact = _exact([tally.phase for tally in short], collecting=collecting)
    if exact and slope(short[1].phase, short[2].phase, "leaked") <= 0:
        return short[1], short[2]
    return tallies[-2], tallies[-1]


def _growth(phases: Sequence[Phase], cyclic: Fraction, leaked: Fraction) -> Growth:
    long = bool(_of(phases, LONG_PHASES))
    if long and (leaked > 0 or _keeps_memory(phases[-2:], BLOCKS_LEAK, HEAP_LEAK)):
        return "leak"
    if cyclic > 0:
        return "cyclic"
    if sum(phase.leaked for phase in phases[:-1]) >= BOUNDED_OBJECTS:
        return "bounded"
    return "none"


def _exact(phases: Sequence[Phase], *, collecting: bool) -> bool:
    """Tell whether the object counts of three phases lie on a straight line exactly.

    Leaked objects may also have come in the first one alone: the other two prove that no more come.
    """
    leaked = [phase.leaked for phase in phases]
    cyclic = [phase.survivors - phase.leaked for phase in phases]
    return (_straight(phases, leaked) or not any(leaked[1:])) and (collecting or _straight(phases, cyclic))


def _straight(phases: Sequence[Phase], counts: Sequence[int]) -> bool:
    """Tell whether the counts of three phases lie on a straight line exactly."""
    (a, b, c), (x, y, z) = (phase.requests for phase in phases), counts
    return (y - x) * (c - b) == (z - y) * (b - a)


def _gave_back(phases: Sequence[Phase]) -> bool:
    """Tell whether a long phase kept nothing, or the last one took no more than was ever given back."""
    long = _of(phases, (*LONG_PHASES, LAST_PHASE))
    held = tuple(accumulate(phase.leaked for phase in phases))
    most = tuple(accumulate(held, max))
    back = max(peak - now for peak, now in zip(most, held, strict=True))
    return min(phase.leaked for phase in long) <= 0 or held[-1] - most[-2] <= back


def _keeps_memory(phases: Sequence[Phase], blocks: float, heap: float) -> bool:
    """Tell whether each of the phases kept at least so many blocks, or bytes of C heap, per request."""
    return all(phase.blocks_kept >= blocks * phase.requests for phase in phases) or all(
        (phase.heap_kept or 0) >= heap * phase.requests for phase in phases
    )


def _of(phases: Sequence[Phase], lengths: Sequence[int]) -> list[Phase]:
    return [phase for phase in phases if phase.requests in lengths]


def _pair(phases: Sequence[Phase]) -> tuple[Phase, Phase]:
    return phases[-2], phases[-1]


def _types(a: Tally, types_a: dict[str, int], b: Tally, types_b: dict[str, int]) -> dict[str, float]:
    """Return objects per request by type name, most first.

    What is one object off a whole number for each request is that number: the server's timer that was
    replaced. Its predecessor cancels out in the number of all objects, but has no type any more.
    """
    requests = b.phase.requests - a.phase.requests
    changes: dict[str, Fraction] = {}
    for name in {*types_a, *types_b}:
        change = Fraction(types_b.get(name, 0) - types_a.get(name, 0), requests)
        whole = Fraction(round(change))
        changes[name] = whole if abs(change - whole) * abs(requests) <= 1 else change
    most_first = sorted(changes, key=lambda name: (-changes[name], name))
    return {name: float(changes[name]) for name in most_first if abs(changes[name]) >= LEAST_LEAK}
