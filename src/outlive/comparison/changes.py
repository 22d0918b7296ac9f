"""Decides in which direction a cell changes between two measurements; nothing else decides that. Pure.

A direction comes from what is there before and after, never from a difference of differences:

1. How it grows: `leak` is worse than `cyclic`, then `bounded`, then `none`. Where a collector runs, cyclic
   garbage does not grow: the collector frees it.
2. Else how much of it there is: the first of QUANTITIES that differs decides, the others are told. Only
   if the objects that a collection frees are fewer and the memory is more, or the reverse, memory decides.

Each number has an error. Counts that lie on a straight line over the phases are exact; where they do not, how
far they are off it is their error. Nothing finer than the errors of both sides is a change. Memory is never
exact: its error is by how much its slopes differ, and it has a `least` and a `share` beside that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Literal, TypeVar

import msgspec

from outlive.comparison.sizes import BYTES_PER_BLOCK
from outlive.errors import FaultError
from outlive.records.measurement import Growth, Measurement, Phase
from outlive.retention.error import errors
from outlive.retention.growth import (
    BLOCKS_LEAK,
    BOUNDED_OBJECTS,
    COUNTS,
    HEAP_LEAK,
    HELD_LEAK,
    LEAST_LEAK,
    lengths,
    per_request,
)
from outlive.retention.residue import LEAST as RESIDUE
from outlive.wording import counted, number, size

T = TypeVar("T")
Direction = Literal["better", "worse", "same"]

RANK: dict[Growth, int] = {"none": 0, "bounded": 1, "cyclic": 2, "leak": 3}
MOST_REQUESTS = 1_000_000
"""A count per request is a fraction whose denominator is a number of requests, at most this: so the fraction
can be had back from its float, and differences are exact."""
HEAP_TOLD = 512.0
"""Least difference in bytes of C heap per request that is a change if objects are the same: pymalloc
serves up to 512 bytes, and in two measurements of one stack that leaks the bytes are up to 150 apart."""
HEAP_ERROR = 2304.0
"""Bytes of C heap per request by which what objects hold is uncertain: the C heap grows by pages, and
two measurements of one stack are up to a page (4,096) apart."""
BLOCKS_TOLD = 1.0
"""The same for blocks of memory: each request leaves one more that is no object. Lists and dicts that grow
stay below it."""
MEMORY_SHARE = 0.05
"""Least difference in memory that is a change, as a fraction of the larger side, however many bytes it is."""
FILES_TOLD = 0.5
"""Least difference in open files per request that is a change; a thread pool that opens a few stays below."""


class Amount(msgspec.Struct, frozen=True):
    """An amount per request, and its error."""

    value: float
    error: float = 0.0


@dataclass(frozen=True)
class Quantity:
    """Something that requests leave, and what tells two amounts of it apart.

    `of` reads it from a measurement, None: not countable there. `write` and the nouns are how it is said.
    From `leaks` per request on it is what makes a leak one; None where it is not what leaks.
    """

    name: str
    of: Callable[[Measurement], Amount | None]
    noun: str
    plural: str
    write: Callable[[float], str] = number
    least: float = 0.0
    share: float = 0.0
    leaks: float | None = None
    per: str = "request"

    def text(self, amounts: str) -> str:
        """Return written amounts with the noun, as in `2 → 1 block of memory`."""
        return counted(amounts, self.noun, self.plural)

    def short(self, amounts: str) -> str:
        """Return the same for a cell of a table, as in `2 → 1 block`."""
        return self.text(amounts).removesuffix(" of memory")

    def change(self, before: Amount | None, after: Amount | None) -> int:
        """Return 1 if there is more after, -1 if there is less, 0 if no difference is certain."""
        if before is None or after is None or before.value == after.value:
            return 0
        change = exact(after.value) - exact(before.value)
        error = exact(before.error) + exact(after.error)
        least = max(self.least, self.share * max(abs(before.value), abs(after.value)))
        return sign(change) if abs(change) > error and abs(change) > least else 0


@functools.cache
def exact(value: float) -> Fraction:
    """Return the fraction of requests that a float stands for."""
    return Fraction(value).limit_denominator(MOST_REQUESTS)


def sign(value: Fraction | float) -> int:
    """Return 1, 0 or -1."""
    return (value > 0) - (value < 0)


def kind(measurement: Measurement) -> Growth:
    """Return the growth under the cell's gc policy: a collector that runs frees cyclic garbage."""
    growth: Growth = _counted(measurement, measurement.growth)
    return "none" if growth == "cyclic" and measurement.gc != "off" else growth


def _counted(measurement: Measurement, reading: T | None) -> T:
    """Return a reading that each measured cell has. Raises FaultError for one that does not."""
    if reading is None:
        where = f"{measurement.scenario}, {measurement.connection}, {measurement.gc}"
        raise FaultError(f"{where} is measured but has no counts: measure it again")
    return reading


def _objects(measurement: Measurement) -> Amount:
    count = measurement.survivors_per_request if measurement.gc == "off" else measurement.leaked_per_request
    return Amount(_counted(measurement, count), sum(errors(measurement)))


def _leaked(measurement: Measurement) -> Amount:
    return Amount(_counted(measurement, measurement.leaked_per_request), errors(measurement)[0])


def _stays(field: str, *, kept: bool = False) -> Callable[[Measurement], Amount | None]:
    """Return a reader of the blocks or bytes of C heap that stay: with gc off all of them, unless `kept`."""
    stored = {"blocks": "blocks_per_request", "heap": "heap_bytes_per_request"}[field]

    def read(measurement: Measurement) -> Amount | None:
        growth = kind(measurement)
        if growth in ("none", "bounded") or (kept and growth == "cyclic"):
            return Amount(0.0)
        everything = measurement.gc == "off" and not kept
        reading = field if everything else f"{field}_kept"
        alike = everything or measurement.gc != "off" or not measurement.cyclic_per_request
        value = getattr(measurement, stored) if alike else None
        amount = _off_the_line(measurement, reading) or _slope(measurement.phases, reading)
        amount = amount or (None if value is None else Amount(value))
        if amount is None:
            return None
        error = max(amount.error, _short_apart(measurement, reading, amount.value))
        return Amount(amount.value, error + (0.0 if field == "blocks" else HEAP_ERROR))

    return read


def _leaks(field: str) -> Callable[[Measurement], Amount | None]:
    """Return a reader of the blocks or bytes of C heap that leak outside of objects."""

    def read(measurement: Measurement) -> Amount | None:
        if measurement.growth != "leak" or abs(measurement.leaked_per_request or 0.0) >= LEAST_LEAK:
            return Amount(0.0)
        return _slope(measurement.phases, f"{field}_kept") or _stays(field)(measurement)

    return read


def _held(name: str) -> Callable[[Measurement], Amount | None]:
    """Return a reader of how many files, threads, mapped bytes and so on each request leaks."""

    def read(measurement: Measurement) -> Amount | None:
        if measurement.held is None:
            return None
        return Amount(measurement.held.get(name, 0.0) if measurement.growth == "leak" else 0.0)

    return read


def _connection(field: str) -> Callable[[Measurement], Amount | None]:
    """Return a reader of how many objects each connection leaves apart from its requests'."""

    def read(measurement: Measurement) -> Amount | None:
        # with a collector, only what is leaked is counted
        count = getattr(measurement, f"{field}_per_connection")
        leaked, cyclic = errors(measurement)
        return None if count is None else Amount(count, leaked + (0.0 if field == "leaked" else cyclic))

    return read


def _open_files(measurement: Measurement) -> Amount | None:
    """Return how many files each request leaves open until a collection: those that it leaks stay open."""
    phases: list[Phase] = []
    leaked = 0
    for phase in measurement.phases:
        leaked += sum(phase.held.get(name, 0) for name in ("files", "sockets"))
        fds = None if phase.fds is None else phase.fds - leaked
        phases.append(msgspec.structs.replace(phase, fds=fds))
    return _slope(tuple(phases), "fds") if measurement.gc == "off" else None


def _slope(phases: tuple[Phase, ...], reading: str) -> Amount | None:
    """Return the slope of a reading that is not exact; its error comes from another phase."""
    if len(phases) < 2 or getattr(phases[-1], reading) is None:
        return None
    slope = per_request(phases[-2], phases[-1], reading)
    others = [phase for phase in phases[-3:-2] if phase.requests != phases[-1].requests]
    return Amount(
        slope, max((abs(slope - per_request(phase, phases[-1], reading)) for phase in others), default=0.0)
    )


def _short_apart(measurement: Measurement, reading: str, value: float) -> float:
    """Return twice how far a slope of memory over long phases is from that over the short ones before them.

    Twice, for the other side may have short ones only, and be as far off: a thread that started has long ones
    run on one of two sides.
    """
    asked = lengths(measurement.sensitivity)
    long = (*asked.memory, *asked.long, asked.last)
    *_, a, b = (None, None, *(phase for phase in measurement.phases if phase.requests not in long))
    if a is None or b is None or b is measurement.phases[-1] or a.requests == b.requests:
        return 0.0
    return 0.0 if getattr(b, reading) is None else 2 * abs(value - per_request(a, b, reading))


def _off_the_line(measurement: Measurement, reading: str) -> Amount | None:
    """Return the memory of objects whose counts are off the line, None where they are on it.

    It is as far off as these are, and by how much its slopes between the longest phases differ.
    """
    off, count = sum(errors(measurement)), measurement.survivors_per_request or measurement.leaked_per_request
    phases = {
        phase.requests: phase for phase in measurement.phases[-3:] if getattr(phase, reading) is not None
    }
    if not off or not count or len(phases) < 3:
        return None
    slopes = sorted(per_request(a, b, reading) for a, b in combinations(phases.values(), 2))
    middle = slopes[1]
    return Amount(middle, max(middle - slopes[0], slopes[-1] - middle) + abs(middle) * off / abs(count))


_BLOCKS = ("block of memory", "blocks of memory", number, BLOCKS_TOLD, MEMORY_SHARE)
_HEAP = ("of C heap", "of C heap", size, HEAP_TOLD, MEMORY_SHARE)
_OBJECTS = ("object", "objects")
_LEAKED = ("leaked object", "leaked objects")
_COUNTED = ("file", "socket", "thread", "process", "task")
LEAKED = Quantity("leaked", _leaked, *_LEAKED, leaks=float(LEAST_LEAK))
LEAKED_BLOCKS = Quantity("leaked_blocks", _leaks("blocks"), *_BLOCKS, leaks=BLOCKS_LEAK)
LEAKED_HEAP = Quantity("leaked_heap", _leaks("heap"), *_HEAP, leaks=HEAP_LEAK)
OBJECTS = Quantity("objects", _objects, *_OBJECTS)
BLOCKS = Quantity("blocks", _stays("blocks"), *_BLOCKS)
HEAP = Quantity("heap", _stays("heap"), *_HEAP)
PER_CONNECTION = (
    Quantity("leaked_connection", _connection("leaked"), *_LEAKED, least=float(RESIDUE), per="connection"),
    Quantity("connection", _connection("survivors"), *_OBJECTS, least=float(RESIDUE), per="connection"),
)
HELD = tuple(
    Quantity(name, _held(name), noun, plural, write, least=least, leaks=HELD_LEAK[name])
    for name, noun, plural, write, least in (
        *((name, noun, name, number, FILES_TOLD) for name, noun in zip(COUNTS, _COUNTED, strict=True)),
        ("mapped", "of mapped memory", "of mapped memory", size, HELD_LEAK["mapped"]),
    )
)
OPEN_FILES = Quantity(
    "open_files",
    _open_files,
    "file open until a collection",
    "files open until a collection",
    least=FILES_TOLD,
)
QUANTITIES = (
    *(LEAKED, LEAKED_BLOCKS, LEAKED_HEAP, *HELD, PER_CONNECTION[0]),
    *(OBJECTS, PER_CONNECTION[1], BLOCKS, HEAP, OPEN_FILES),
)
"""Everything that is counted, in the order in which it decides: what no collection frees comes first."""
NAMED = {quantity.name: quantity for quantity in QUANTITIES}
_KEPT: dict[str, Callable[[Measurement], Amount | None]] = {
    LEAKED.name: _leaked,
    OBJECTS.name: _leaked,
    BLOCKS.name: _stays("blocks", kept=True),
    HEAP.name: _stays("heap", kept=True),
}


def class_change(kinds: tuple[Growth, Growth], once: tuple[int | None, int | None]) -> int:
    """Return 1 if the growth is worse after, -1 if it is better, else 0.

    Growth that stopped is called bounded from BOUNDED_OBJECTS objects on, so that two measurements may differ
    in the word by one object: `once`, what was kept on each side, must be as far apart.
    """
    before, after = once
    if set(kinds) == {"none", "bounded"} and before is not None and after is not None:
        return sign(after - before) if abs(after - before) >= BOUNDED_OBJECTS else 0
    return sign(RANK[kinds[1]] - RANK[kinds[0]])


def kept(measurement: Measurement) -> dict[str, Amount]:
    """Return the objects and the memory that no collection frees, by the names of their quantities."""
    readings = {name: read(measurement) for name, read in _KEPT.items()}
    return {name: amount for name, amount in readings.items() if amount is not None}


def bytes_of(amounts: Mapping[str, Amount]) -> float | None:
    """Return an estimate of the bytes of each request that stay, blocks and C heap; None if not countable."""
    if "blocks" not in amounts and "heap" not in amounts:
        return None
    blocks, heap = (amounts.get(name, Amount(0.0)).value for name in ("blocks", "heap"))
    return max(0.0, blocks * BYTES_PER_BLOCK + max(0.0, heap))


def bytes_changed(before: Mapping[str, Amount], after: Mapping[str, Amount]) -> float:
    """Return how many more bytes of each request stay, as far as that is certain.

    A difference is not certain if the other kind of memory, which may be rough, makes up for it. Where a leak
    has other objects and no difference in memory is certain, each more or less is at least a block.
    """

    def apart(quantity: Quantity) -> float:
        sides = before.get(quantity.name), after.get(quantity.name)
        return 0.0 if None in sides else after[quantity.name].value - before[quantity.name].value

    def certain(quantity: Quantity) -> float:
        differs = quantity.change(before.get(quantity.name), after.get(quantity.name))
        return apart(quantity) if differs else 0.0

    memory, about = (BYTES_PER_BLOCK * of(BLOCKS) + of(HEAP) for of in (certain, apart))
    if memory * about > 0:
        return memory
    return BYTES_PER_BLOCK * certain(OBJECTS) if certain(OBJECTS) * certain(LEAKED) > 0 else 0.0
