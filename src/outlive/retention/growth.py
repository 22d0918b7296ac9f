"""Turns the readings of a cell's phases into slopes and a kind of growth, and plans the next phases.

Pure. Counts of objects are integers, and their slopes exact fractions. Memory is not exact, so it has
thresholds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate, pairwise
from math import ceil, isqrt

import msgspec

from outlive.records.measurement import Growth, Phase

WARM_UP = 20
"""Requests before counting starts, after the one that verifies the answer: lazy imports, caches."""
SENSITIVITY = 105
"""By default, a leak of one object in this many requests is sure to be seen: the second phase is twice as
long, so it has two of these objects; the last phase is shorter and has at most one."""
TO_COMPARE = 50
"""The sensitivity of a comparison that a user waits for."""
LEAST_SENSITIVITY, MOST_SENSITIVITY = 37, 5000
FIRST, LAST = 11, 37
"""Requests of the first and the last of three phases. All lengths are primes, so nothing that happens at
every 2nd, 10th or 100th request can hide. The longest phase is not the last: allocators and caches have taken
what they take once before the last phase begins."""
SETS = 2
"""Most runs of these phases. If the first set is not on a straight line, something happened once (a cache
filled, a thread pool grew), and the second set is."""
MEMORY_PHASES = (307, 401)
"""Added one by one while only memory seems to be kept: usually a cache is just not full yet. These and the
following phases are proportionally longer for a sensitivity finer than the default."""
LONG_PHASES = (503, 1009)
"""Added if something seems to be kept: a cache of up to 1,750 entries is full by the last one."""
STEADY = Fraction(99, 100)
"""If growth continues, each long phase keeps at least this fraction of the other's objects per request. A
smaller difference is due to a connection's own objects; growth that stopped in the last ten requests is not
seen."""
LAST_PHASE = 1511
"""Added if a long phase kept less than that fraction of the other's, or if only memory was kept: it shows
whether growth has stopped, or was chance."""
EVEN = 0.5
"""If memory leaks, each long phase keeps at least this fraction of the most bytes per request of a long
phase. Memory that comes and goes with threads varies more; a leak is the same in each."""
LEAST_LEAK = Fraction(1, 200)
"""Least objects per request that are a leak in the long phases. One object in 200 requests is a difference of
2.5 objects between them; one or two can be chance, such as a timer that fired."""
BOUNDED_OBJECTS = 32
"""Least objects that growth must keep to be called bounded once it has stopped. Fewer are first-time work."""
BLOCKS_SUSPECT = 0.6
"""Blocks kept per request in each of the last two phases that make a cell run longer. An object kept by every
request is at least one block. Clean cells rarely reach 0.6, and then they only take longer."""
BLOCKS_LEAK = 0.25
"""Blocks kept per request in each long phase that are a leak; clean cells stayed below 0.21."""
HEAP_SUSPECT = 24.0
"""The same as BLOCKS_SUSPECT for bytes of C heap: glibc's smallest chunk (32), with room for others that are
freed meanwhile. Clean cells reach 21."""
HEAP_LEAK = 16.0
"""The same as BLOCKS_LEAK for bytes of C heap; clean cells leave none in at least one of the long phases."""
CACHED = 4
"""Factor on the C heap that is suspect or a leak in a process that outlive did not start: glibc's caches of
freed chunks are on there, and it counts them as used."""
COUNT_LEAK = 1 / 50
"""Files, sockets, threads, child processes or tasks per request, and at least one, that each of two phases
must add to be a leak. A resource that is opened or started once and stays (a log, a pool) is added by one
phase only."""
MAPPED_LEAK = 2048.0
"""The same for bytes mapped by neither malloc nor pymalloc: half a page."""
COUNTS = ("files", "sockets", "threads", "processes", "tasks")
HELD_LEAK = {**dict.fromkeys(COUNTS, COUNT_LEAK), "mapped": MAPPED_LEAK}
SCARCE = ("threads", "processes")
"""Resources that a leak exhausts soon: if one of them leaks, no further phases run to be sure of it."""


class Lengths(msgspec.Struct, frozen=True):
    """The lengths of the phases for a sensitivity, in requests; `short` ones run first, others are added.

    `least` is the least number of objects per request that is a leak in the long phases.
    """

    short: tuple[int, int, int]
    memory: tuple[int, int]
    long: tuple[int, int]
    last: int
    least: Fraction


@cache
def lengths(sensitivity: int = SENSITIVITY) -> Lengths:
    """Return the lengths of phases that are sure to show a leak of one object in `sensitivity` requests."""
    times = Fraction(max(sensitivity, SENSITIVITY), SENSITIVITY)
    return Lengths(
        short=(FIRST, _prime(2 * sensitivity), LAST),
        memory=(_prime(MEMORY_PHASES[0] * times), _prime(MEMORY_PHASES[1] * times)),
        long=(_prime(LONG_PHASES[0] * times), _prime(LONG_PHASES[1] * times)),
        last=_prime(LAST_PHASE * times),
        least=LEAST_LEAK / times,
    )


def _prime(least: Fraction | int) -> int:
    """Return the smallest prime that is not less than `least`."""
    number = ceil(least)
    while any(number % factor == 0 for factor in range(2, isqrt(number) + 1)):
        number += 1
    return number


class PhaseTally(msgspec.Struct, frozen=True):
    """A phase with the objects that it left, by type name, before and after the full collection."""

    phase: Phase
    types: dict[str, int]
    types_kept: dict[str, int]


class GrowthAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What the phases of a cell show. Slopes are per request; see `Measurement`."""

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
    held: dict[str, Fraction]


def slope(a: Phase, b: Phase, reading: str) -> Fraction:
    """Return the change of a reading per request between two phases of different length."""
    return Fraction(getattr(b, reading) - getattr(a, reading), b.requests - a.requests)


def per_request(a: Phase, b: Phase, reading: str) -> float:
    """Return `slope` as the nearest float; dividing integers gives that without a Fraction."""
    change: int = getattr(b, reading) - getattr(a, reading)
    return change / (b.requests - a.requests)


def plan(
    done: Sequence[Phase],
    *,
    collecting: bool,
    asked: Lengths | None = None,
    cached: bool = False,
) -> tuple[int, ...]:
    """Return the lengths of the phases to run next, none if the phases that are `done` suffice.

    With the automatic collector (`collecting`) only leaked objects are exact, because it stops tracking some
    of the others while they live. `asked` are the lengths, by default those of SENSITIVITY. `cached`: see
    `CACHED`.
    """
    asked = asked or lengths()
    short, memory, long = (of(done, group) for group in (asked.short, asked.memory, asked.long))
    if not short:
        return asked.short
    if any(name in held_leaks(short[-2:]) for name in SCARCE):
        return ()
    exact = _exact(short[-3:], collecting=collecting)
    if not exact and len(short) < SETS * len(asked.short):
        return asked.short
    if long:
        a, b = long
        less, more = sorted((a.leaked * b.requests, b.leaked * a.requests))
        doubtful = less < STEADY * more or (not more and _leaks_memory(done, asked, cached=cached))
        return (asked.last,) if doubtful and done[-1].requests != asked.last else ()
    if not exact or slope(*_pair(short), "leaked") > 0 or held_leaks(short[-2:]):
        return asked.long
    if _keeps_memory(done[-2:], BLOCKS_SUSPECT, HEAP_SUSPECT * (CACHED if cached else 1)):
        return asked.memory[len(memory) : len(memory) + 1] or asked.long
    return ()


def analyse(
    tallies: Sequence[PhaseTally],
    *,
    collecting: bool,
    asked: Lengths | None = None,
    cached: bool = False,
) -> GrowthAnalysis:
    """Return what the phases show that `plan` asked for; the arguments are those of `plan`."""
    asked = asked or lengths()
    phases = [tally.phase for tally in tallies]
    a, b = _decisive(tallies, asked, collecting=collecting)
    leaked = slope(a.phase, b.phase, "leaked")
    cyclic = slope(a.phase, b.phase, "survivors") - leaked
    long = of(phases, (*asked.long, asked.last))
    if long and (
        leaked < asked.least
        or _gave_back(phases, long)
        or not _rises((phase.requests, phase.leaked) for phase in long)
    ):
        leaked = Fraction(0)  # a full cache that makes room from time to time
    survivors = cyclic + leaked
    last = _pair(phases)
    held = held_leaks(last)
    if long:  # resources that live for a few seconds do not rise; mapped memory comes in arenas
        held = {
            name: amount
            for name, amount in held.items()
            if name == "mapped" or _rises((phase.requests, phase.held.get(name, 0)) for phase in long)
        }
    leaks = any(name in held for name in SCARCE) or (
        bool(long) and (bool(held) or leaked > 0 or _leaks_memory(phases, asked, cached=cached))
    )
    countable = last[0].heap is not None
    requests = b.phase.requests - a.phase.requests
    return GrowthAnalysis(
        growth="leak" if leaks else _growth(phases, Fraction(0) if collecting else cyclic),
        survivors=survivors,
        cyclic=cyclic,
        leaked=leaked,
        intercept=b.phase.survivors - survivors * b.phase.requests,
        leaked_intercept=b.phase.leaked - leaked * b.phase.requests,
        blocks=slope(*last, "blocks"),
        blocks_kept=slope(*last, "blocks_kept"),
        heap=slope(*last, "heap") if countable else None,
        heap_kept=slope(*last, "heap_kept") if countable else None,
        types=_types(requests, a.types, b.types, asked.least),
        types_kept=_types(requests, a.types_kept, b.types_kept, asked.least),
        held=held,
    )


def _decisive(
    tallies: Sequence[PhaseTally], asked: Lengths, *, collecting: bool
) -> tuple[PhaseTally, PhaseTally]:
    """Return the two phases from which the slopes of objects are computed."""
    short = [tally for tally in tallies if tally.phase.requests in asked.short][-3:] or tallies
    exact = _exact([tally.phase for tally in short], collecting=collecting)
    if exact and slope(short[1].phase, short[2].phase, "leaked") <= 0:
        return short[1], short[2]
    return tallies[-2], tallies[-1]


def _growth(phases: Sequence[Phase], cyclic: Fraction) -> Growth:
    """Return the kind of growth of a cell that does not leak."""
    if cyclic > 0:
        return "cyclic"
    if sum(phase.leaked for phase in phases[:-1]) >= BOUNDED_OBJECTS:
        return "bounded"
    return "none"


def held_leaks(phases: Sequence[Phase]) -> dict[str, Fraction]:
    """Return how much of each resource leaks per request, if each of two phases adds at least `HELD_LEAK`."""
    requests = sum(phase.requests for phase in phases)
    return {
        name: Fraction(sum(phase.held[name] for phase in phases), requests)
        for name, least in HELD_LEAK.items()
        if all(phase.held.get(name, 0) >= max(1, least * phase.requests) for phase in phases)
    }


def _exact(phases: Sequence[Phase], *, collecting: bool) -> bool:
    """Return whether the object counts of three phases lie exactly on a straight line.

    Leaked objects can also appear in the first phase only: the other two prove that no more follow.
    """
    leaked = [phase.leaked for phase in phases]
    cyclic = [phase.survivors - phase.leaked for phase in phases]
    return (_straight(phases, leaked) or not any(leaked[1:])) and (collecting or _straight(phases, cyclic))


def _straight(phases: Sequence[Phase], counts: Sequence[int]) -> bool:
    """Return whether the counts of three phases lie exactly on a straight line."""
    (a, b, c), (x, y, z) = (phase.requests for phase in phases), counts
    return (y - x) * (c - b) == (z - y) * (b - a)


def _gave_back(phases: Sequence[Phase], long: Sequence[Phase]) -> bool:
    """Return whether a long phase kept nothing, or the last one took no more than was ever given back."""
    held = tuple(accumulate(phase.leaked for phase in phases))
    most = tuple(accumulate(held, max))
    back = max(peak - now for peak, now in zip(most, held, strict=True))
    return min(phase.leaked for phase in long) <= 0 or held[-1] - most[-2] <= back


def _rises(amounts: Iterable[tuple[int, int]]) -> bool:
    """Return whether each longer phase kept more, as only a leak per request does.

    `amounts` are (requests, amount kept) of each phase.
    """
    return all(less < more for (_, less), (_, more) in pairwise(sorted(amounts)))


def _keeps_memory(phases: Sequence[Phase], blocks: float, heap: float) -> bool:
    """Return whether each phase kept `blocks` blocks or more per request, or each `heap` bytes of C heap."""
    return all(phase.blocks_kept >= blocks * phase.requests for phase in phases) or all(
        (phase.heap_kept or 0) >= heap * phase.requests for phase in phases
    )


def _leaks_memory(phases: Sequence[Phase], asked: Lengths, *, cached: bool) -> bool:
    """Return whether all long phases keep memory: steadily, and more than short phases gave back.

    The amount given back shows how far a reading varies by itself, as with threads that come and go.
    """
    long = of(phases, (*asked.long, asked.last))
    short = [phase for phase in phases if phase not in long]
    for reading, least in (
        ("blocks_kept", BLOCKS_LEAK),
        ("heap_kept", HEAP_LEAK * (CACHED if cached else 1)),
    ):
        amounts = [(phase.requests, getattr(phase, reading) or 0) for phase in long]
        back = max([0, *(-(getattr(phase, reading) or 0) for phase in short[1:])])
        slopes = [amount / requests for requests, amount in amounts]
        above = min(amount - least * requests for requests, amount in amounts)
        if above >= back and min(slopes) >= EVEN * max(slopes):
            return True
    return False


def of(phases: Sequence[Phase], lengths: Sequence[int]) -> list[Phase]:
    """Return the phases of these lengths."""
    return [phase for phase in phases if phase.requests in lengths]


def _pair(phases: Sequence[Phase]) -> tuple[Phase, Phase]:
    return phases[-2], phases[-1]


def _types(requests: int, a: dict[str, int], b: dict[str, int], least: Fraction) -> dict[str, float]:
    """Return objects per request by type name, most first, without numbers below `least`.

    Phase b has `requests` more than a. A count that is one object off a whole number per request is rounded
    to it: the server's timer was replaced. In the number of all objects the old timer cancels out, but by
    type it is missing.
    """
    changes: dict[str, Fraction] = {}
    for name in {*a, *b}:
        change = Fraction(b.get(name, 0) - a.get(name, 0), requests)
        whole = Fraction(round(change))
        changes[name] = whole if abs(change - whole) * abs(requests) <= 1 else change
    most_first = sorted(changes, key=lambda name: (-changes[name], name))
    return {name: float(changes[name]) for name in most_first if abs(changes[name]) >= least}
