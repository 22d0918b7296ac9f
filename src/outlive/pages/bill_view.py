"""The bill of an upgrade as a report's page shows it, and the data from which the page recomputes it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from outlive.comparison.sizes import BYTES_PER_BLOCK, MIB
from outlive.records.measurement import CONNECTIONS, GC_POLICIES
from outlive.reports import costs
from outlive.reports.costs import Bill, Charge, Cost
from outlive.wording import about, number, span, step

NOTE = (
    f"Bytes are the C heap that each request leaves plus its memory blocks, at {BYTES_PER_BLOCK} "
    "bytes a block; these estimates are accurate to about a quarter. The limit applies to all "
    "workers together and includes what they use when they start. “Restart” is max_requests so that "
    "a worker "
    f"uses {costs.RESTART_SHARE:.0%} of its room, “collect” how often to collect so that garbage takes "
    f"{costs.GARBAGE_SHARE:.0%} of it, both in requests per worker."
)

COMPUTED = ("bytes_each", "garbage_each", "ok_bytes", "ok_garbage")
"""Fields of `Leaves` that the page's script uses."""
COLUMNS: dict[str, tuple[str, Callable[[Cost], str]]] = {
    "mib": ("gc {}: MiB per hour", lambda cost: about(cost.mib_per_hour)),
    "hours": ("until the limit", lambda cost: span(cost.hours)),
    "collect": ("collect every", lambda cost: about(cost.periodic)),
    "restart": ("restart every", lambda cost: about(cost.max_requests)),
}
"""The columns of the bill by their name in the page's script: heading, and the text of a value."""


class BillCell(msgspec.Struct, frozen=True):
    """A number of the bill; `key` identifies it for the page's script."""

    text: str
    key: str = ""


class BillLine(msgspec.Struct, frozen=True):
    """One scenario of the bill."""

    name: str
    cells: tuple[BillCell, ...]


class BillTable(msgspec.Struct, frozen=True):
    """The bill for one kind of connection."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[BillLine, ...]


def rates(bill: Bill) -> dict[str, str]:
    """Return the rates behind the bill as the page shows them."""
    given = bill.rates
    return {
        "rate": number(given.rate),
        "errors": number(given.errors * 100),
        "workers": str(given.workers),
        "limit": number(given.limit / MIB),
    }


def tables(bill: Bill) -> Iterator[BillTable]:
    """Yield the bill as a table for each kind of connection, most expensive scenarios first."""
    policies = dict.fromkeys([*reversed(GC_POLICIES), *(charge.gc for charge in bill.charges)])
    collected = [charge for charge in bill.charges if charge.gc != "off"]
    leaks = any(charge.before.hours or charge.after.hours for charge in collected)
    for connection in CONNECTIONS:
        scenarios: dict[str, dict[str, tuple[int, Charge]]] = defaultdict(dict)
        for at, charge in enumerate(bill.charges):
            if charge.connection == connection:
                scenarios[charge.scenario][charge.gc] = at, charge
        shown = [gc for gc in policies if any(gc in charges for charges in scenarios.values())]
        columns = [(gc, column) for gc in shown for column in _columns(gc, leaks)]
        if scenarios:
            yield BillTable(
                f"{connection} connections",
                tuple(COLUMNS[column][0].format(gc) for gc, column in columns),
                tuple(
                    BillLine(name, tuple(_cell(column, charges.get(gc)) for gc, column in columns))
                    for name, charges in sorted(scenarios.items(), key=_costliest)
                ),
            )


def _costliest(scenario: tuple[str, dict[str, tuple[int, Charge]]]) -> tuple[float, str]:
    name, charges = scenario
    return -max(charge.after.mib_per_hour for _, charge in charges.values()), name


def _columns(gc: str, leaks: bool) -> tuple[str, ...]:
    """Return the columns of a policy; with the collector on, hours matter only if something leaks."""
    if gc == "off":
        return "mib", "hours", "collect", "restart"
    return ("mib", "hours") if leaks else ("mib",)


def _cell(column: str, placed: tuple[int, Charge] | None) -> BillCell:
    if placed is None:
        return BillCell("not compared")
    at, charge = placed
    tell = COLUMNS[column][1]
    return BillCell(step(tell(charge.before), tell(charge.after)), f"{at} {column}")


def data(bill: Bill) -> Any:
    """Return the data from which the page's script recomputes the bill."""

    def leaves(side: Sequence[costs.Leaves]) -> list[dict[str, float | None]]:
        return [{field: getattr(scenario, field) for field in COMPUTED} for scenario in side]

    return {
        "before": leaves(bill.leaves_before),
        "after": leaves(bill.leaves_after),
        "base_before": bill.base_before,
        "base_after": bill.base_after,
        "restart_share": costs.RESTART_SHARE,
        "garbage_share": costs.GARBAGE_SHARE,
    }
