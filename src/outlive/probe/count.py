"""Counting in this process what requests leave, by the rules of the probe: for tests of a user's own app.

What happens to the garbage collector, the timers of asyncio and the handlers of pytest's log capture while it
counts is undone afterwards.
"""

from __future__ import annotations

import asyncio.base_events
import gc
import logging
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from outlive.errors import FaultError
from outlive.leaks.growth import WARM_UP, Tally, analyse, plan
from outlive.records.measurement import Growth, Phase
from outlive.worker.holdings import Holdings
from outlive.worker.idle import IdleWatch
from outlive.worker.probe import Probe


class Survivors(msgspec.Struct, frozen=True, kw_only=True):
    """What requests leave, in gc-tracked objects per request, counted with automatic collection off.

    `cyclic` of them a full collection frees, `leaked` it does not. `types` is objects per request by type
    name, `requests` how many were counted.
    """

    per_request: float
    cyclic: float
    leaked: float
    growth: Growth
    types: dict[str, float]
    requests: int


def count(send: Callable[[], object], loop: asyncio.AbstractEventLoop | None = None) -> Survivors:
    """Return what one call of `send`, one request, leaves; `loop` is the event loop that serves it, if any.

    Raises FaultError where other threads never rest, and whatever `send` raises.
    """
    tallies: list[Tally] = []
    _rehearse()
    with _quiet():
        for _ in range(1 + WARM_UP):
            send()
        with _counting(loop) as probe:
            # Each phase finds the tally of the one before it: so that the first one does, too.
            spare = _tally(0, probe)
            while lengths := plan([tally.phase for tally in tallies], collecting=False):
                for requests in lengths:
                    for _ in range(requests):
                        send()
                    tallies.append(_tally(requests, probe))
    del spare
    found = analyse(tallies, collecting=False)
    return Survivors(
        per_request=float(found.survivors),
        cyclic=float(found.cyclic),
        leaked=float(found.leaked),
        growth=found.growth,
        types=found.types,
        requests=sum(tally.phase.requests for tally in tallies),
    )


def _rehearse() -> None:
    """Judge a leak that is made up: what our own code keeps the first time must not come between phases."""
    tallies: list[Tally] = []
    while lengths := plan([tally.phase for tally in tallies], collecting=False):
        for kept in lengths:
            own = dict.fromkeys(Phase.__struct_fields__, 0)
            phase = msgspec.convert(own | {"requests": kept, "survivors": kept, "leaked": kept}, Phase)
            tallies.append(Tally(phase, {}, {}))
    analyse(tallies, collecting=False)


@contextmanager
def _counting(loop: asyncio.AbstractEventLoop | None) -> Iterator[Probe]:
    enabled, frozen = gc.isenabled(), gc.get_freeze_count()
    base_events: Any = asyncio.base_events
    handles = base_events._MIN_SCHEDULED_TIMER_HANDLES  # the probe changes it
    probe = Probe(Holdings(), loop)
    probe.idle = IdleWatch(threading.get_native_id())
    try:
        probe.do_begin("off")
        yield probe
    finally:
        base_events._MIN_SCHEDULED_TIMER_HANDLES = handles
        for thread in tuple(probe.idle.files):
            probe.idle.forget(thread)
        if not frozen:  # what somebody froze before stays frozen, and nothing tells the two apart
            gc.unfreeze()
        if enabled:
            gc.enable()
        else:
            gc.disable()


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pytest from keeping log records, with their tracebacks, and warnings: they would be survivors."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    root.handlers[:] = [one for one in handlers if type(one).__module__ != "_pytest.logging"]
    root.handlers.append(logging.NullHandler())  # without any, logging would print
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda *_args, **_kwargs: None
            yield
    finally:
        root.handlers[:] = handlers


def _tally(requests: int, probe: Probe) -> Tally:
    found: dict[str, Any] = probe.do_count()
    if not found["idle"]:
        raise FaultError(
            "other threads of this process never rest, so nothing can be counted: end them first"
        )
    phase = msgspec.convert(found | {"requests": requests}, Phase)
    return Tally(phase, found["types"], found["types_kept"])
