"""What one side of a row of a comparison says, read from its measurement. Pure."""

from __future__ import annotations

import msgspec

from outlive.comparison.changes import QUANTITIES, Amount, bytes_of, exact, kept, kind
from outlive.records.measurement import Collector, Growth, Measurement
from outlive.retention.growth import per_request

LEAST_COLLECTIONS = 20
"""Fewest automatic collections of a cell whose time is told. The harness itself collects after each phase, so
up to one automatic collection a phase is missing; full ones are rarer than most cells are long."""


class SideReading(msgspec.Struct, frozen=True, kw_only=True):
    """What one side of a row says, per request.

    `growth` is the measured growth, `kind` the growth under this gc policy. `amounts` are the amounts of
    `changes.QUANTITIES`, by name, that stay: with gc off everything that a request leaves, else what no
    collection frees. `kept` are the objects and memory that no collection frees, whatever the policy.
    `once` is how many objects were kept before growth stopped, `ok` how many objects the scenario `ok` leaves
    as well (None: unknown), `ok_python` how many of these the standard library keeps.
    `freed` is the garbage that collections free, in the long run, in whole objects. It, `peak_rss_bytes` and
    the pauses are noisy and decide nothing; of fewer than LEAST_COLLECTIONS, pauses are None. `requests` is
    how many were sent: the longer a cell runs, the higher its peak, and the longer its pauses.
    """

    growth: Growth
    kind: Growth
    amounts: dict[str, Amount]
    kept: dict[str, Amount]
    once: int | None
    ok: float | None
    ok_python: float
    peak_rss_bytes: int | None
    freed: float | None
    pause_ms_per_1000_requests: float | None
    requests: int = 0

    def value(self, name: str) -> float | None:
        """Return an amount, or None if it is unknown."""
        amount = self.amounts.get(name)
        return None if amount is None else amount.value

    @property
    def objects(self) -> float:
        """Objects that stay: survivors with gc off, else leaked ones."""
        return self.value("objects") or 0.0

    @property
    def leaked(self) -> float:
        """Objects that no collection frees."""
        return self.value("leaked") or 0.0

    @property
    def bytes_each(self) -> float | None:
        """Bytes of each request that stay; None if they cannot be counted."""
        return bytes_of(self.amounts)

    @property
    def above_ok(self) -> float:
        """Objects that stay in addition to those that `ok` leaves; all of them if that is unknown."""
        return float(exact(self.objects) - exact(self.ok or 0.0))


def readings(before: Measurement, after: Measurement) -> tuple[SideReading, SideReading]:
    """Return what both sides say. What is noisy is compared on one machine only, pauses at equal length."""
    first, second = _reading(before), _reading(after)
    noisy = {}
    if before.host != after.host:
        noisy = {"peak_rss_bytes": None, "freed": None, "pause_ms_per_1000_requests": None}
    elif before.requests != after.requests:
        noisy = {"pause_ms_per_1000_requests": None}
    return msgspec.structs.replace(first, **noisy), msgspec.structs.replace(second, **noisy)


def python_own(measurement: Measurement) -> float:
    """Return how many objects of each request the standard library keeps."""
    return sum(leak.objects_per_request for leak in measurement.leaks if leak.python and not leak.further)


def _reading(measurement: Measurement) -> SideReading:
    return SideReading(
        growth=measurement.growth or "none",
        kind=kind(measurement),
        amounts={
            quantity.name: amount
            for quantity in QUANTITIES
            if (amount := quantity.of(measurement)) is not None
        },
        kept=kept(measurement),
        once=sum(phase.leaked for phase in measurement.phases[:-1]) if measurement.phases else None,
        ok=None,
        ok_python=python_own(measurement),
        peak_rss_bytes=measurement.peak_rss_bytes,
        freed=_garbage(measurement, measurement.collector) if measurement.collector else None,
        pause_ms_per_1000_requests=_pause(measurement, measurement.collector)
        if measurement.collector
        else None,
        requests=measurement.requests,
    )


def _garbage(measurement: Measurement, collector: Collector) -> float:
    """Return the whole objects of each request that are garbage.

    The last of them no collection may have freed yet, so what the collector has freed lacks these, and in few
    requests they are many. gc does not count objects of an older generation that hang on garbage and go with
    it: a few are missing in each phase, so a slope over phases is not exact.
    """
    if len({phase.requests for phase in measurement.phases[-2:]}) < 2:
        garbage = collector.freed_per_request
    else:
        a, b = measurement.phases[-2:]
        garbage = per_request(a, b, "survivors") - per_request(a, b, "leaked")
    return float(max(0, round(garbage)))


def _pause(measurement: Measurement, collector: Collector) -> float | None:
    """Return the collector's time in ms per 1000 requests, or None if too few collections were seen."""
    seen = collector.collections_per_1000_requests * measurement.requests / 1000
    return collector.pause_ms_per_1000_requests if round(seen) >= LEAST_COLLECTIONS else None
