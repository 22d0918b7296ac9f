"""Proves that a gate sees leaks: it must count a known leak and a known cycle in the same server. Pure.

The scenario `ok` is measured twice, without and with both planted (`outlive.worker.plant`). The difference
must be exactly the planted objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from outlive.comparison.changes import exact
from outlive.records.measurement import Connection, Measurement, Phase
from outlive.retention.growth import WARM_UP, slope
from outlive.service.app import App
from outlive.wording import number
from outlive.worker.plant import CYCLE_OBJECTS, LEAK_EVERY

MARK = "planted"
"""The name of a worker ends with this if something is planted in its app."""
FIRST = 1 + WARM_UP
"""Number of requests that an app has served when counting starts."""
SURE_TO_SEE = LEAK_EVERY
"""A leak of one object per this many requests is seen wherever it falls in a phase; tests try them all."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The planted leak and cycle as counted over one kind of connection.

    Numbers are objects per request in addition to those of plain `ok`; `leak_expected` is what was planted in
    the phases that were counted. With a collector, `cycle` is what it freed, which is not exact. `fault` says
    what is wrong, if anything.
    """

    connection: Connection
    worker: str
    leak: float
    leak_expected: float
    cycle: float
    cycle_expected: float
    fault: str | None

    @property
    def seen(self) -> bool:
        """Whether both were counted as planted."""
        return self.fault is None


def planted(app: App, *kinds: str) -> App:
    """Return `app` with workers that plant `kinds` (`leak`, `cycle`); their names end with `planted`."""
    plant = ",".join(kinds)
    workers = tuple(
        msgspec.structs.replace(worker.told(OUTLIVE_PLANT=plant), name=marked(worker.name))
        for worker in app.workers
    )
    return msgspec.structs.replace(app, workers=workers)


def marked(worker: str) -> str:
    """Return the name of a worker that plants something."""
    return f"{worker}, {MARK}"


def is_planted(measurement: Measurement) -> bool:
    """Return whether it was measured with something planted."""
    return measurement.worker.endswith(MARK)


def control(plain: Measurement, with_plant: Measurement) -> Control:
    """Return what two measurements of `ok`, without and with the plant, show of it."""
    for measurement in (plain, with_plant):
        if measurement.status != "measured":
            fault = f"{measurement.scenario} could not be measured: {measurement.reason}"
            return counted(plain.connection, plain.worker, fault=fault)
    a, b = with_plant.phases[-2:]
    leak = slope(a, b, "leaked") - exact(plain.leaked_per_request or 0.0)
    expected = Fraction(
        planted_in(with_plant.phases, -1) - planted_in(with_plant.phases, -2), b.requests - a.requests
    )
    cycle = _freed(with_plant) - _freed(plain)
    return counted(
        plain.connection,
        plain.worker,
        float(leak),
        float(cycle),
        expected=float(expected),
        leak_seen=leak == expected and with_plant.growth == "leak",
        cycle_seen=(cycle if plain.gc == "off" else round(cycle)) == CYCLE_OBJECTS,
    )


def counted(
    connection: Connection,
    worker: str,
    leak: float = 0.0,
    cycle: float = 0.0,
    *,
    expected: float = 1 / LEAK_EVERY,
    leak_seen: bool = False,
    cycle_seen: bool = False,
    fault: str | None = None,
) -> Control:
    """Return the control with these counts; without another fault, its fault is the plant that was missed."""
    if not fault and not leak_seen:
        fault = f"planted {number(expected)} leaked objects per request, found {number(leak)}"
    elif not fault and not cycle_seen:
        fault = f"planted {CYCLE_OBJECTS} cyclic objects per request, found {number(cycle)}"
    return Control(
        connection=connection,
        worker=worker,
        leak=leak,
        leak_expected=expected,
        cycle=cycle,
        cycle_expected=CYCLE_OBJECTS,
        fault=fault,
    )


def planted_in(phases: Sequence[Phase], which: int) -> int:
    """Return the number of objects that the planted leak kept in one of `phases`."""
    end = FIRST + sum(phase.requests for phase in phases[: which % len(phases) + 1])
    return end // LEAK_EVERY - (end - phases[which].requests) // LEAK_EVERY


def _freed(measurement: Measurement) -> Fraction:
    """Return the objects per request that collections freed."""
    a, b = measurement.phases[-2:]
    return slope(a, b, "survivors") - slope(a, b, "leaked")
