"""The proof that a gate sees leaks: a known leak and a known cycle, counted in the same server. Pure.

The `ok` scenario is measured twice, as it is and with both planted (`outlive.worker.plant`). The difference
must be what was planted, to the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec

from outlive.comparison.changes import MOST_REQUESTS
from outlive.leaks.growth import WARM_UP, slope
from outlive.records.measurement import Connection, Measurement, Phase
from outlive.service.app import App
from outlive.wording import number
from outlive.worker.plant import CYCLE_OBJECTS, LEAK_EVERY

MARK = "planted"
"""What the name of a worker ends in whose app has something planted."""
FIRST = 1 + WARM_UP
"""Requests that an app has served when counting starts."""
SURE_TO_SEE = LEAK_EVERY
"""A leak of one object for each so many requests is seen, wherever in a phase it falls; tests try all."""


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the planted leak and cycle over one kind of connection.

    In objects per request beyond what `ok` leaves, `leak_expected` is what was planted while it was counted.
    With a collector `cycle` is what it freed, which is not exact. `fault` says what is wrong, if anything is.
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
        """Whether both were seen as they must be."""
        return self.fault is None


def planted(app: App, *kinds: str) -> App:
    """Return `app` with workers that plant `kinds`, `leak` and `cycle`; their names end in `planted`."""
    workers = tuple(
        msgspec.structs.replace(
            worker,
            name=f"{worker.name}, {MARK}",
            arguments=(*worker.arguments, "--env", f"OUTLIVE_PLANT={','.join(kinds)}"),
        )
        for worker in app.workers
    )
    return msgspec.structs.replace(app, workers=workers)


def is_planted(measurement: Measurement) -> bool:
    """Tell whether it was measured with something planted."""
    return measurement.worker.endswith(MARK)


def control(plain: Measurement, with_plant: Measurement) -> Control:
    """Return what the two measurements of `ok` show: with the plant, and without."""
    for one in (plain, with_plant):
        if one.status != "measured":
            return _unseen(plain, f"{one.scenario} could not be measured: {one.reason}")
    a, b = with_plant.phases[-2:]
    leak = slope(a, b, "leaked") - _exact(plain.leaked_per_request)
    expected = Fraction(
        planted_in(with_plant.phases, -1) - planted_in(with_plant.phases, -2), b.requests - a.requests
    )
    cycle = _freed(with_plant) - _freed(plain)
    missed = (cycle if plain.gc == "off" else round(cycle)) != CYCLE_OBJECTS
    fault = None
    if leak != expected or with_plant.growth != "leak":
        fault = f"planted {number(float(expected))} leaked objects per request, saw {number(float(leak))}"
    elif missed:
        fault = f"planted {CYCLE_OBJECTS} cyclic objects per request, saw {number(float(cycle))}"
    return Control(
        connection=plain.connection,
        worker=plain.worker,
        leak=float(leak),
        leak_expected=float(expected),
        cycle=float(cycle),
        cycle_expected=CYCLE_OBJECTS,
        fault=fault,
    )


def planted_in(phases: Sequence[Phase], which: int) -> int:
    """Return how many objects the planted leak kept in one of `phases`."""
    end = FIRST + sum(phase.requests for phase in phases[: which % len(phases) + 1])
    return end // LEAK_EVERY - (end - phases[which].requests) // LEAK_EVERY


def _freed(measurement: Measurement) -> Fraction:
    """Return the objects per request that collections freed."""
    a, b = measurement.phases[-2:]
    return slope(a, b, "survivors") - slope(a, b, "leaked")


def _unseen(plain: Measurement, fault: str) -> Control:
    return Control(
        connection=plain.connection,
        worker=plain.worker,
        leak=0.0,
        leak_expected=1 / LEAK_EVERY,
        cycle=0.0,
        cycle_expected=CYCLE_OBJECTS,
        fault=fault,
    )


def _exact(value: float | None) -> Fraction:
    return Fraction(value or 0).limit_denominator(MOST_REQUESTS)
