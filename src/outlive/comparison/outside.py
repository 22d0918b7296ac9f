"""Says what requests leak that is no object: memory, files, threads, child processes and so on. Pure."""

from __future__ import annotations

from outlive.comparison.changes import HELD, LEAKED_BLOCKS, LEAKED_HEAP, OPEN_FILES, Quantity
from outlive.records.measurement import Measurement
from outlive.retention.growth import COUNT_LEAK, LEAST_LEAK


def outside(measurement: Measurement) -> list[str]:
    """Return texts that say what leaks outside of objects: memory only if it is a leak, or all there is."""
    memory = (LEAKED_BLOCKS, LEAKED_HEAP) if abs(measurement.leaked_per_request or 0) < LEAST_LEAK else ()
    amounts = [(quantity, amount.value) for quantity in memory if (amount := quantity.of(measurement))]
    leaks = [_counted(quantity, value) for quantity, value in amounts if value >= (quantity.leaks or 0)]
    others = [*held(measurement), *open_files(measurement)]
    return [*leaks, *others] or [_counted(quantity, value) for quantity, value in amounts if value > 0]


def open_files(measurement: Measurement) -> list[str]:
    """Return a text where files stay open until a collection, which with gc off never comes."""
    amount = OPEN_FILES.of(measurement)
    if amount is None or measurement.held or amount.value - amount.error < COUNT_LEAK:
        return []
    return [_counted(OPEN_FILES, amount.value)]


def held(measurement: Measurement) -> list[str]:
    """Return texts that say which resources leak, such as files, threads and mapped memory."""
    amounts = [(quantity, quantity.of(measurement)) for quantity in HELD]
    return [_counted(quantity, amount.value) for quantity, amount in amounts if amount and amount.value]


def _counted(quantity: Quantity, value: float) -> str:
    return quantity.short(quantity.write(value))
