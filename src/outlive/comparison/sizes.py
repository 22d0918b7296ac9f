"""Estimates the bytes that requests leave, also per hour at the reader's traffic, with a word for it. Pure.

The bytes are the C heap that each request leaves plus its memory blocks.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from outlive.wording import ARROW, decimal, number, step

Word = Literal["negligible", "some", "large"]

MIB = 1024 * 1024
BYTES_PER_BLOCK = 86
"""Bytes of a pymalloc block with its share of the pool: the median of (growth of RSS - growth of C heap) per
block over 682 cells that leave 5 objects or more. Nine out of ten are between 71 and 109, so an estimate is
right to about a quarter."""
NEGLIGIBLE = 8.0
"""A change of fewer MiB per hour is `negligible`: less than 192 MiB a day, which is the room that 8 workers
have in 512 MiB. A service that is deployed or restarted once a day never notices."""
LARGE = 64.0
"""A change of at least this many MiB per hour is `large`: it fills the same room within three hours, and
decides how often workers must restart. Everything between is `some`."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The reader's traffic: requests per second for all workers, the fraction that fails, the memory limit.

    `limit` is the limit of the whole service in bytes, as for a container with all `workers` in it.
    """

    rate: float = 200.0
    errors: float = 0.05
    workers: int = 8
    limit: int = 512 * MIB

    def __str__(self) -> str:
        return f"{number(self.rate)} requests/s, {number(self.errors * 100)} % failing"

    @property
    def words(self) -> tuple[str, ...]:
        """The command-line options that ask for this traffic, without those that are the defaults."""
        usual = Rates()
        limit = f"{self.limit // MIB}MiB" if self.limit % MIB == 0 else f"{self.limit}B"
        options = (
            ("--rate", f"{decimal(self.rate)}/s", self.rate != usual.rate),
            ("--errors", f"{decimal(self.errors * 100)}%", self.errors != usual.errors),
            ("--workers", str(self.workers), self.workers != usual.workers),
            ("--limit", limit, self.limit != usual.limit),
        )
        return tuple(word for name, value, told in options if told for word in (name, value))


class Size(msgspec.Struct, frozen=True):
    """What stays on both sides, in MiB per hour; the sides differ by the change that is certain."""

    before: float
    after: float

    @classmethod
    def of(cls, before: float, after: float, change: float) -> Size:
        """Return the size of two amounts in MiB per hour; `change` is the difference that is certain.

        A side that leaves nothing is 0: then all that is not certain is missing from the other.
        """
        if change and not (before and after):
            return cls(max(0.0, -change), max(0.0, change))
        middle = max((before + after) / 2, abs(change) / 2)
        return cls(middle - change / 2, middle + change / 2)

    @property
    def change(self) -> float:
        """The change in MiB per hour, negative if less stays."""
        return self.after - self.before

    @property
    def word(self) -> Word:
        """The word for the change."""
        most = abs(self.change)
        return "negligible" if most < NEGLIGIBLE else "some" if most < LARGE else "large"

    @property
    def amounts(self) -> str:
        """What stays on both sides, in MiB per hour, once where it is written alike."""
        return step(mib(self.before), mib(self.after))

    def __str__(self) -> str:
        unit = "MiB per hour"
        return (
            f"{self.amounts} {unit}: {self.word}"
            if ARROW in self.amounts
            else f"{self.amounts} {unit} as before"
        )


def hourly(bytes_each: float, rates: Rates, *, fails: bool) -> float:
    """Return MiB per hour if each failing request (else each other one) leaves `bytes_each` bytes."""
    share = rates.errors if fails else 1 - rates.errors
    return bytes_each * rates.rate * share * 3600 / MIB


def mib(value: float) -> str:
    """Return MiB per hour with significant digits only: an estimate is good to about a quarter."""
    if abs(value) < 0.05:
        return "0"
    return f"{value:.1f}" if abs(value) < 10 else f"{value:,.0f}"
