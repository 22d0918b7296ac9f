"""Allocations: where memory was taken that a full collection does not free, gc-tracked or not.

Tracing changes the counts, so it has a separate run in a fresh worker. tracemalloc sees what goes through
Python's allocators. memray, which is installed in addition to the lock, also sees what extensions allocate
themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from outlive.errors import FaultError
from outlive.records.measurement import Cell
from outlive.replay.explanation import sample
from outlive.replay.subject import Subject
from outlive.retention.explanation import INDENT, WIDTH
from outlive.retention.growth import BLOCKS_LEAK, HEAP_LEAK
from outlive.service.probe_line import AllocationSite, TracedFrame
from outlive.service.scenarios import Scenario
from outlive.stacks import environments, locks
from outlive.stacks.prepare import Prepared
from outlive.tables import fold
from outlive.wording import counted, number, size

WARM_UP = 101
"""Requests that are traced before the phases, so that the tracer's own first allocations are over."""
PHASES = (101, 53)
"""Requests of each phase. What every request keeps shows in both."""
MEMRAY = "memray==1.19.3"
"""The last version that runs on Python 3.8."""

Tracer = Literal["tracemalloc", "memray"]


class GrowingSite(msgspec.Struct, frozen=True, kw_only=True):
    """A site whose memory grows with requests: what each request adds, and the callers, outermost first.

    `frame` is the innermost caller outside the standard library, or the innermost one if there is none.
    """

    blocks_per_request: float
    bytes_per_request: float
    frame: TracedFrame
    frames: tuple[TracedFrame, ...]


class Allocations(msgspec.Struct, frozen=True, kw_only=True):
    """The growing sites, those with most bytes first, and the number of requests that `tracer` watched."""

    tracer: Tracer
    requests: int
    sites: tuple[GrowingSite, ...]


def with_memray(subject: Subject, stack: Prepared) -> Subject:
    """Return the subject in an environment that also has memray and is otherwise the same.

    Raises as `locks.era` and `environments.ensure` do, and FaultError if memray does not run there.
    """
    lock = locks.with_packages(subject.environment.lock, stack.release, (MEMRAY,))
    environment = environments.ensure(lock, stack.interpreter)
    error = environments.import_error(environment, "memray")
    if error:
        raise FaultError(f"{MEMRAY} does not run on Python {lock.python} here: {error}")
    return msgspec.structs.replace(subject, environment=environment)


def trace(subject: Subject, scenario: Scenario, cell: Cell, tracer: Tracer = "tracemalloc") -> Allocations:
    """Return where requests of `cell` allocate memory that stays.

    The tracer `memray` must be in the subject's environment. Raises FaultError as `sample.sample` does.
    """
    with sample.warm(subject, scenario, cell, OUTLIVE_TRACER=tracer) as driver:
        driver.line.trace()
        driver.send(WARM_UP)
        driver.line.trace()
        phases = []
        for requests in PHASES:
            driver.send(requests)
            traced = driver.line.trace()
            driver.check_rest(idle=traced.idle, so="traced")
            phases.append(traced.sites)
        return Allocations(tracer=tracer, requests=sum(PHASES), sites=growing(phases, PHASES))


def growing(phases: Sequence[Sequence[AllocationSite]], requests: Sequence[int]) -> tuple[GrowingSite, ...]:
    """Return the sites that keep enough to be a leak in every phase; `requests` is the number in each."""
    by_frames = [{site.frames: site for site in sites} for sites in phases]
    leaking = []
    for frames in by_frames[0]:
        sites = [phase[frames] for phase in by_frames if frames in phase]
        if len(sites) == len(phases) and (
            all(site.blocks >= BLOCKS_LEAK * sent for site, sent in zip(sites, requests, strict=True))
            or all(site.bytes >= HEAP_LEAK * sent for site, sent in zip(sites, requests, strict=True))
        ):
            total = sum(requests)
            leaking.append(
                GrowingSite(
                    blocks_per_request=sum(site.blocks for site in sites) / total,
                    bytes_per_request=sum(site.bytes for site in sites) / total,
                    frame=next((frame for frame in reversed(frames) if not frame.python), frames[-1]),
                    frames=frames,
                )
            )
    return tuple(sorted(leaking, key=lambda site: -site.bytes_per_request))


SITES = 5
"""Most places of allocation that the text shows."""


def allocation_lines(allocations: Allocations, width: int = WIDTH) -> str:
    """Return where memory that stays was allocated, with the callers from `frame` inwards.

    Sites that differ only in callers further out are shown as one place.
    """
    if not allocations.sites:
        text = f"No line allocates memory that stays ({allocations.tracer}, {allocations.requests} requests)."
        return f"\n{fold(text, width)}\n"
    places: dict[tuple[TracedFrame, ...], list[GrowingSite]] = {}
    for site in allocations.sites:
        places.setdefault(site.frames[site.frames.index(site.frame) :], []).append(site)
    largest = sorted(places.items(), key=lambda item: -sum(site.bytes_per_request for site in item[1]))
    count, run = counted(len(largest), "place"), f"{allocations.tracer}, {allocations.requests} requests"
    lines = ["", fold(f"Memory that stays is allocated in {count} ({run}):", width)]
    for place, (frames, sites) in enumerate(largest[:SITES], 1):
        amount = number(round(sum(site.blocks_per_request for site in sites), 1))
        blocks = counted(amount, "block")
        memory = size(sum(site.bytes_per_request for site in sites))
        lines += ["", f"{place}. {memory} in {blocks} per request"]
        for frame in frames:
            lines += [
                f"{INDENT}{frame.place}",
                *([_cut(f"{INDENT}    {frame.source}", width)] if frame.source else []),
            ]
    if len(largest) > SITES:
        lines += ["", f"{counted(len(largest) - SITES, 'place')} with less not shown: --json has them."]
    return "\n".join(lines) + "\n"


def _cut(line: str, width: int) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
