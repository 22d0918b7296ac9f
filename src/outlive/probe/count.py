"""Counts in this process what requests leave, by the rules of the probe: for tests of a user's own app.

While it counts, it changes the garbage collector, asyncio's timers and the handlers of pytest's log capture;
it restores them afterwards.
"""

from __future__ import annotations

import asyncio.base_events
import functools
import gc
import logging
import tempfile
import threading
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from outlive.errors import FaultError
from outlive.probe import clients
from outlive.records.measurement import Growth, Phase
from outlive.replay.explanation.allocations import PHASES as TRACED
from outlive.replay.explanation.allocations import Allocations
from outlive.replay.explanation.allocations import growing as growing_in_each
from outlive.retention import structures
from outlive.retention.graph import read
from outlive.retention.growth import WARM_UP, PhaseTally, analyse, plan
from outlive.service.probe_line import AllocationSite, tally
from outlive.worker.collector import CollectorLog
from outlive.worker.holdings import Holdings
from outlive.worker.idle import IdleWatch
from outlive.worker.probe import Probe
from outlive.worker.survivors import objects, references
from outlive.worker.survivors.allocations import Tracer
from outlive.worker.survivors.capture import capture
from outlive.worker.survivors.objects import short

LEAST_BLOCK = 16
"""Bytes of the smallest block that Python's allocator hands out."""
SAMPLE = 15
"""Requests of a sample, as many as in a server."""


class Survivors(msgspec.Struct, frozen=True, kw_only=True):
    """What a request leaves, in gc-tracked objects, counted with automatic collection off.

    A full collection frees `cyclic` of the `per_request` objects, and does not free `leaked`. `types` is
    objects per request by type name, `requests` the number of requests counted. `held` is how many files,
    sockets, threads, child processes, tasks and mapped bytes each request adds, without zeros. If something
    leaks, `blocks` is how many blocks and `memory` is at least how many bytes each request keeps, and
    `allocations` says where they were allocated; otherwise these are 0 and None.
    """

    per_request: float
    cyclic: float
    leaked: float
    blocks: float
    memory: float
    growth: Growth
    types: dict[str, float]
    held: dict[str, float]
    requests: int
    allocations: Allocations | None = None


def count(send: Callable[[], object], loop: asyncio.AbstractEventLoop | None = None) -> Survivors:
    """Return what one call of `send` leaves, which sends one request; `loop` serves it, if given.

    Raises FaultError if other threads never rest, and whatever `send` raises.
    """
    tallies: list[PhaseTally] = []
    _rehearse()
    with _quiet():
        for _ in range(1 + WARM_UP):
            send()
        with _counting(loop) as probe:
            # Each phase starts with the tally of the phase before it in memory; this is the first one's.
            spare = _tally(0, probe)
            while lengths := plan([tally.phase for tally in tallies], collecting=False, cached=True):
                for requests in lengths:
                    for _ in range(requests):
                        send()
                    tallies.append(_tally(requests, probe))
    del spare
    analysis = analyse(tallies, collecting=False, cached=True)
    allocations = _trace(send, loop) if analysis.growth == "leak" else None
    blocks = memory = 0.0
    if allocations:
        blocks = float(analysis.blocks_kept)
        traced = sum(site.bytes_per_request for site in allocations.sites)
        malloced = float((analysis.heap_kept or 0) + analysis.held.get("mapped", 0))
        memory = max(traced, malloced, blocks * LEAST_BLOCK)
    return Survivors(
        per_request=float(analysis.survivors),
        cyclic=float(analysis.cyclic),
        leaked=float(analysis.leaked),
        blocks=blocks,
        memory=memory,
        growth=analysis.growth,
        types=analysis.types,
        held={name: float(more) for name, more in analysis.held.items()},
        requests=sum(tally.phase.requests for tally in tallies),
        allocations=allocations,
    )


def explain(
    send: Callable[[], object], survivors: Survivors, loop: asyncio.AbstractEventLoop | None = None
) -> structures.Analysis:
    """Return why what `count` found outlives its request, from a few more of them. Raises as `count` does."""
    with _quiet(), _counting(loop) as probe, tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "graph.json")
        probe.do_begin("off")  # the sample must not contain what came before, such as the folder
        for _ in range(SAMPLE):
            send()
        _rested(probe.do_snapshot(str(SAMPLE), str(path)))
        graph = read(path.read_bytes())
    return structures.analyse(graph, bounded=survivors.growth != "leak")


def _trace(send: Callable[[], object], loop: asyncio.AbstractEventLoop | None) -> Allocations:
    """Return where requests allocate memory that stays."""
    tracing = tracemalloc.is_tracing()
    tracer = Tracer("tracemalloc", short)
    phases = []
    with _quiet(), _counting(loop, tracer) as probe:
        try:
            probe.do_trace()
            for requests in (WARM_UP, *TRACED):
                for _ in range(requests):
                    send()
                phases.append(_sites(_rested(probe.do_trace())["sites"]))
        finally:
            if not tracing:
                tracemalloc.stop()
    return Allocations(tracer="tracemalloc", requests=sum(TRACED), sites=growing_in_each(phases[1:], TRACED))


def _rehearse() -> None:
    """Analyse an invented leak: what our own code allocates the first time must not fall between phases."""
    tallies: list[PhaseTally] = []
    while lengths := plan([tally.phase for tally in tallies], collecting=False, cached=True):
        for requests in lengths:
            own = dict.fromkeys(Phase.__struct_fields__, 0)
            invented = {"requests": requests, "survivors": requests, "leaked": requests, "held": {}}
            phase = msgspec.convert(own | invented, Phase)
            tallies.append(PhaseTally(phase, {}, {}))
    analyse(tallies, collecting=False, cached=True)


def _sites(traced: object) -> list[AllocationSite]:
    """Return the sites without our own, and their callers from the request inwards."""
    own = (f"{short(__file__)}:", f"{short(clients.__file__)}:")
    sites = []
    for site in msgspec.convert(traced, list[AllocationSite]):
        ours = [at for at, frame in enumerate(site.frames) if frame.place.startswith(own)]
        frames = site.frames[ours[-1] + 1 :] if ours else site.frames
        if frames:
            sites.append(msgspec.structs.replace(site, frames=frames))
    return sites


@contextmanager
def _counting(
    loop: asyncio.AbstractEventLoop | None, tracer: Callable[[], Any] | None = None
) -> Iterator[Probe]:
    enabled, frozen, flags = gc.isenabled(), gc.get_freeze_count(), gc.get_debug()
    base_events: Any = asyncio.base_events
    handles = base_events._MIN_SCHEDULED_TIMER_HANDLES  # the probe changes it
    graph = functools.partial(capture, objects, references)
    probe = Probe(Holdings(), loop, CollectorLog(), capture=graph, tracer=tracer)
    probe.idle = IdleWatch(threading.get_native_id())
    try:
        gc.set_debug(0)
        probe.do_begin("off")
        yield probe
    finally:
        base_events._MIN_SCHEDULED_TIMER_HANDLES = handles
        for thread in tuple(probe.idle.files):
            probe.idle.forget(thread)
        gc.set_debug(flags)
        if frozen:  # what was frozen before must stay frozen, and cannot be told from the rest
            gc.freeze()
        else:
            gc.unfreeze()
        if enabled:
            gc.enable()
        else:
            gc.disable()


@contextmanager
def _quiet() -> Iterator[None]:
    """Stop pytest from keeping log records, with their tracebacks, and warnings: they would be survivors."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers[:] = [handler for handler in handlers if type(handler).__module__ != "_pytest.logging"]
    root.handlers.append(logging.NullHandler())  # without any, logging would print
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda *_args, **_kwargs: None
            yield
    finally:
        root.handlers[:] = handlers


def _tally(requests: int, probe: Probe) -> PhaseTally:
    return tally(_rested(probe.do_count()), requests)


def _rested(count: dict[str, Any]) -> dict[str, Any]:
    """Return the probe's answer. Raises FaultError if the other threads did not rest."""
    if not count["idle"]:
        raise FaultError(
            "other threads of this process never rest, so nothing can be counted: stop them first"
        )
    return count
