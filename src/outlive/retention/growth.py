"""From the readings of a cell's phases to slopes, intercept and the verdict on growth; and what to run next.

Pure. Objects are exact integers and their slopes exact fractions. Memory is not exact, so it has thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import accumulate
from math import ceil, isqrt

import msgspec

from outlive.records.measurement import Growth, Measurement, Phase

WARM_UP = 20
"""Requests before counting starts, after the one that verifies the answer: lazy imports, caches."""
SENSITIVITY = 105
"""A leak of one object for each so many requests is sure to be seen, unless another sensitivity is asked for:
the second phase is twice as long, so it has two of them, and the last one, which is shorter, at most one."""
TO_COMPARE = 50
"""The sensitivity of a comparison that somebody waits for."""
LEAST_SENSITIVITY, MOST_SENSITIVITY = 37, 5000
FIRST, LAST = 11, 37
"""Requests of the first and the last of three phases; all are primes, so that nothing that happens each
2nd, 10th or 100th request hides. The longest is not the last: what allocators and caches take once, they
have taken before the last one."""
SHOWN = (7, 61, 17)
"""Phases of a cell with a collector where gc off has shown, with phases of full length, that nothing stays:
of 4,661 such cells of the stored history none kept anything."""
SETS = 2
"""Times that these phases are run at most. Where the first set is not on a straight line, something happened
once (a cache filled, a thread pool grew), and the second is."""
MEMORY_PHASES = (307, 401)
"""Added one by one while only memory seems to be kept: mostly a cache has just not had its fill yet. These
and the following are longer, in proportion, where a finer sensitivity than the usual one is asked for."""
LONG_PHASES = (503, 1009)
"""Added where something seems to be kept: a cache of up to 1,750 entries has filled by the last one."""
STEADY = Fraction(99, 100)
"""Share of the other one's objects per request that each of them keeps if growth goes on. What differs by
less is a connection's own objects; growth that stopped in the last ten requests is not seen."""
LAST_PHASE = 1511
"""Added where one of them kept less than that of the other's, or where only memory was kept: tells whether
growth stopped, or was chance."""
EVEN = 0.5
"""Share of the most memory per request in a long phase that each long phase keeps if memory leaks; what comes
and goes with threads differs by more, and a leak of some bytes is as much in each."""
LEAST_LEAK = Fraction(1, 200)
"""Objects per request from which on the long phases show a leak. One object for each 200 requests is a
difference of 2.5 objects between them; one or two can be chance, such as a timer that fired."""
CHANCE = 2
"""Objects that a slope may be off a whole number over the long phases: a timer that is due."""
BOUNDED_OBJECTS = 32
"""Objects kept by growth that stopped from which on it is called bounded; fewer are first-time work."""
BLOCKS_SUSPECT = 0.6
"""Blocks kept per request of each of the last two phases from which on a cell is run longer. An object kept
for each request is one block at least; clean cells seldom come to 0.6, and then only take longer."""
BLOCKS_LEAK = 0.25
"""Blocks kept per request of each long phase from which on the cell leaks; clean cells stayed below 0.21."""
HEAP_SUSPECT = 128.0
"""Bytes of C heap kept per request, as BLOCKS_SUSPECT; 513 is the least that pymalloc leaves to malloc."""
HEAP_LEAK = 64.0
"""Bytes of C heap kept per request, as BLOCKS_LEAK."""
COUNT_LEAK = 1 / 50
"""Files, sockets, threads and tasks that each of two phases must hold more per request, and at least one, to
be a leak. What is opened or started once and stays (a log, a pool) is in one of them and not in the other."""
MAPPED_LEAK = 2048.0
"""The same for bytes of memory that neither malloc nor pymalloc maps: half a page."""
HELD_LEAK = {**dict.fromkeys(("files", "sockets", "threads", "tasks"), COUNT_LEAK), "mapped": MAPPED_LEAK}


class Lengths(msgspec.Struct, frozen=True):
    """Requests of the phases that a sensitivity asks for: those that are run first, and those that are added.

    `least` are the objects per request from which on the long ones show a leak.
    """

    short: tuple[int, int, int]
    memory: tuple[int, int]
    long: tuple[int, int]
    last: int
    least: Fraction


@cache
def lengths(sensitivity: int = SENSITIVITY) -> Lengths:
    """Return the phases that are sure to show a leak of one object for each `sensitivity` requests."""
    times = Fraction(max(sensitivity, SENSITIVITY), SENSITIVITY)
    return Lengths(
        short=(FIRST, _prime(2 * sensitivity), LAST),
        memory=(_prime(MEMORY_PHASES[0] * times), _prime(MEMORY_PHASES[1] * times)),
        long=(_prime(LONG_PHASES[0] * times), _prime(LONG_PHASES[1] * times)),
        last=_prime(LAST_PHASE * times),
        least=LEAST_LEAK / times,
    )


def _prime(least: Fraction | int) -> int:
    """Return the smallest prime from `least` on."""
    number = ceil(least)
    while any(number % factor == 0 for factor in range(2, isqrt(number) + 1)):
        number += 1
    return number


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
    held: dict[str, Fraction]


def slope(a: Phase, b: Phase, reading: str) -> Fraction:
    """Return the change of a reading per request between two phases of different length."""
    return Fraction(getattr(b, reading) - getattr(a, reading), b.requests - a.requests)


def shows(measurement: Measurement) -> bool:
    """Whether a cell with gc off has shown, beyond doubt, that nothing stays after a collection."""
    m = measurement
    certain = m.gc == "off" and len(m.phases) == len(lengths().short) and not m.held
    return certain and m.growth in ("none", "cyclic") and m.leaked_per_request == 0


def plan(
    done: Sequence[Phase], *, collecting: bool, sensitivity: int = SENSITIVITY, shown: bool = False
) -> tuple[int, ...]:
    """Return the lengths of the phases to run next; none where those that are done suffice.

    With the automatic collector (`collecting`) only leaked objects are exact, for it stops tracking some of
    the others while they live. `shown` says that the same cell with gc off has shown that nothing stays.
    """
    asked = lengths(sensitivity)
    if shown:
        if not done:
            return SHOWN
        if len(done) == len(SHOWN) and _clean(done, collecting=collecting):
            return ()
        done = done[len(SHOWN) :]
    short, memory, long = (_of(done, some) for some in (asked.short, asked.memory, asked.long))
    if not short:
        return asked.short
    if "threads" in _held(short[-2:]):
        return ()  # there are only so many that can be started
    exact = _exact(short[-3:], collecting=collecting)
    if not exact and len(short) < SETS * len(asked.short):
        return asked.short
    if long:
        a, b = long
        less, more = sorted((a.leaked * b.requests, b.leaked * a.requests))
        doubtful = less < STEADY * more or (not more and _leaks_memory(done, asked))
        return (asked.last,) if doubtful and done[-1].requests != asked.last else ()
    if not exact or slope(*_pair(short), "leaked") > 0 or _held(short[-2:]):
        return asked.long
    if _keeps_memory(done[-2:], BLOCKS_SUSPECT, HEAP_SUSPECT):
        return asked.memory[len(memory) : len(memory) + 1] or asked.long
    return ()


def analyse(
    tallies: Sequence[Tally], *, collecting: bool, sensitivity: int = SENSITIVITY, shown: bool = False
) -> Analysis:
    """Return what the phases say, those that `plan` asked for."""
    asked = lengths(sensitivity)
    if shown and len(tallies) > len(SHOWN):
        tallies = tallies[len(SHOWN) :]
    phases = [tally.phase for tally in tallies]
    a, b = _decisive(tallies, asked, collecting=collecting)
    leaked = slope(a.phase, b.phase, "leaked")
    cyclic = slope(a.phase, b.phase, "survivors") - leaked
    long = _of(phases, (*asked.long, asked.last))
    if long and (leaked < asked.least or _gave_back(phases, long)):
        leaked = Fraction(0)  # a full cache that makes room now and then
    survivors = cyclic + leaked
    last = _pair(phases)
    held = _held(last)
    countable = last[0].heap is not None
    return Analysis(
        growth=_growth(phases, Fraction(0) if collecting else cyclic, leaked, held, asked),
        survivors=survivors,
        cyclic=cyclic,
        leaked=leaked,
        intercept=b.phase.survivors - survivors * b.phase.requests,
        leaked_intercept=b.phase.leaked - leaked * b.phase.requests,
        blocks=slope(*last, "blocks"),
        blocks_kept=slope(*last, "blocks_kept"),
        heap=slope(*last, "heap") if countable else None,
        heap_kept=slope(*last, "heap_kept") if countable else None,
        types=_types(a, a.types, b, b.types, asked.least),
        types_kept=_types(a, a.types_kept, b, b.types_kept, asked.least),
        held=held,
    )


def _decisive(tallies: Sequence[Tally], asked: Lengths, *, collecting: bool) -> tuple[Tally, Tally]:
    """Return the two phases that the slopes of objects come from."""
    short = [tally for tally in tallies if tally.phase.requests in asked.short][-3:] or tallies
    exact = _exact([tally.phase for tally in short], collecting=collecting)
    if exact and slope(short[1].phase, short[2].phase, "leaked") <= 0:
        return short[1], short[2]
    return tallies[-2], tallies[-1]


def error(phases: Sequence[Phase], counts: Sequence[int], sensitivity: int = SENSITIVITY) -> Fraction:
    """Return how far the slope of counts, one for each phase, may be off; 0: they lie on a straight line.

    A slope that is a whole number over hundreds of requests is no chance: what was off the line before filled
    a cache. Counts off the line come of requests that do not all leave the same, and how many leave which is
    a matter of timing: the error is what single requests differ by, one object at least.
    """
    asked = lengths(sensitivity)
    long = (*asked.long, asked.last)
    if not _of(phases, long):
        return Fraction(0)  # the short phases were on a line, or the long ones would have been run
    a, b = phases[-2:]
    requests = abs(b.requests - a.requests)
    rise = Fraction(counts[-1] - counts[-2], b.requests - a.requests)
    if not (whole := abs(rise - round(rise))):
        return Fraction(0)
    off = [
        (abs(count - counts[-1] - rise * (phase.requests - b.requests)), phase.requests)
        for count, phase in zip(counts, phases, strict=True)
        if phase.requests not in (*long, *asked.memory)
    ][-len(asked.short) :]
    if whole * requests <= CHANCE or max(deviation for deviation, _ in off) <= CHANCE:
        return Fraction(CHANCE, requests)
    return Fraction(max(1.0, *(deviation / length**0.5 for deviation, length in off))).limit_denominator(1000)


def errors(measurement: Measurement) -> tuple[float, float]:
    """Return how far leaked and cyclic objects per request may be off; what does not grow has no error."""
    m = measurement
    if m.growth in ("none", "bounded"):
        return 0.0, 0.0
    leaked = [phase.leaked for phase in m.phases]
    cyclic = [phase.survivors - phase.leaked for phase in m.phases]
    return (
        float(error(m.phases, leaked, m.sensitivity)) if m.leaked_per_request else 0.0,
        float(error(m.phases, cyclic, m.sensitivity)) if m.gc == "off" else 0.0,
    )


def _growth(
    phases: Sequence[Phase], cyclic: Fraction, leaked: Fraction, held: Mapping[str, Fraction], asked: Lengths
) -> Growth:
    long = bool(_of(phases, (*asked.long, asked.last)))
    if held and (long or "threads" in held):
        return "leak"
    if long and (leaked > 0 or _leaks_memory(phases, asked)):
        return "leak"
    if cyclic > 0:
        return "cyclic"
    if sum(phase.leaked for phase in phases[:-1]) >= BOUNDED_OBJECTS:
        return "bounded"
    return "none"


def _clean(phases: Sequence[Phase], *, collecting: bool) -> bool:
    """Tell whether three phases show that nothing stays; that memory does not, others have shown."""
    grows = slope(*_pair(phases), "leaked") > 0 or _held(phases[-2:])
    return _exact(phases, collecting=collecting) and not grows


def _held(phases: Sequence[Phase]) -> dict[str, Fraction]:
    """Return what each of two phases held more, by `HELD_LEAK`: so much for each request of both."""
    requests = sum(phase.requests for phase in phases)
    return {
        name: Fraction(sum(phase.held[name] for phase in phases), requests)
        for name, least in HELD_LEAK.items()
        if all(phase.held.get(name, 0) >= max(1, least * phase.requests) for phase in phases)
    }


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


def _gave_back(phases: Sequence[Phase], long: Sequence[Phase]) -> bool:
    """Tell whether a long phase kept nothing, or the last one took no more than was ever given back."""
    held = tuple(accumulate(phase.leaked for phase in phases))
    most = tuple(accumulate(held, max))
    back = max(peak - now for peak, now in zip(most, held, strict=True))
    return min(phase.leaked for phase in long) <= 0 or held[-1] - most[-2] <= back


def _keeps_memory(phases: Sequence[Phase], blocks: float, heap: float) -> bool:
    """Tell whether each of the phases kept at least so many blocks, or bytes of C heap, per request."""
    return all(phase.blocks_kept >= blocks * phase.requests for phase in phases) or all(
        (phase.heap_kept or 0) >= heap * phase.requests for phase in phases
    )


def _leaks_memory(phases: Sequence[Phase], asked: Lengths) -> bool:
    """Tell whether all long phases keep memory: steadily, and more than short ones gave back by themselves.

    What a phase gives back is how far a reading goes up and down, as with threads that come and go.
    """
    long = _of(phases, (*asked.long, asked.last))
    short = [phase for phase in phases if phase not in long]
    for reading, least in (("blocks_kept", BLOCKS_LEAK), ("heap_kept", HEAP_LEAK)):
        kept = [(phase.requests, getattr(phase, reading) or 0) for phase in long]
        back = max([0, *(-(getattr(phase, reading) or 0) for phase in short[1:])])
        each = [count / requests for requests, count in kept]
        above = min(count - least * requests for requests, count in kept)
        if above >= back and min(each) >= EVEN * max(each):
            return True
    return False


def _of(phases: Sequence[Phase], lengths: Sequence[int]) -> list[Phase]:
    return [phase for phase in phases if phase.requests in lengths]


def _pair(phases: Sequence[Phase]) -> tuple[Phase, Phase]:
    return phases[-2], phases[-1]


def _types(
    a: Tally, types_a: dict[str, int], b: Tally, types_b: dict[str, int], least: Fraction
) -> dict[str, float]:
    """Return objects per request by type name, most first, without those of less than `least`.

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
    return {name: float(changes[name]) for name in most_first if abs(changes[name]) >= least}
