"""What an upgrade costs, as the page of a report shows it, and what the page needs to compute it anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from outlive.comparison.sizes import BYTES_PER_BLOCK, MIB
from outlive.records.measurement import CONNECTIONS, GC_POLICIES
from outlive.reports import costs
from outlive.reports.costs import Bill, Charge
from outlive.wording import about, number, requests, span, step

NOTE = (
    "Bytes are the C heap that each request leaves plus its memory blocks, at "
    f"{BYTES_PER_BLOCK} bytes a block; estimates, good to about a quarter. The limit is of all workers "
    "together, and what they take when they start counts. “Restart” is max_requests so that a worker "
    f"uses {costs.RESTART_SHARE:.0%} of its room, “collect” how often to collect so that garbage takes "
    f"{costs.GARBAGE_SHARE:.0%} of it, both in requests per worker."
)

COMPUTED = ("bytes_each", "garbage_each", "ok_bytes", "ok_garbage", "pause_each", "ok_pause")
"""Fields of `Leaves` from which the page computes."""


class BillCell(msgspec.Struct, frozen=True):
    """A number of the bill; `key` says which one, so that the page can compute it anew."""

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
    """Return the reader's numbers as the page shows them."""
    given = bill.rates
    return {
        "rate": number(given.rate),
        "errors": number(given.errors * 100),
        "workers": str(given.workers),
        "limit": number(given.limit / MIB),
    }


def tables(bill: Bill) -> Iterator[BillTable]:
    """Yield the bill, a table for each kind of connection, what costs most first."""
    policies = dict.fromkeys([*reversed(GC_POLICIES), *(charge.gc for charge in bill.charges)])
    kept = [charge for charge in bill.charges if charge.gc != "off"]
    leaks = any(charge.before.hours or charge.after.hours for charge in kept)
    for connection in CONNECTIONS:
        own: dict[str, dict[str, tuple[int, Charge]]] = defaultdict(dict)
        for at, charge in enumerate(bill.charges):
            if charge.connection == connection:
                own[charge.scenario][charge.gc] = at, charge
        shown = [gc for gc in policies if any(gc in charges for charges in own.values())]
        if own:
            yield BillTable(
                f"{connection} connections",
                tuple(head for gc in shown for head in _heads(gc, leaks)),
                tuple(
                    BillLine(
                        name,
                        tuple(cell for gc in shown for cell in _bill_cells(charges.get(gc), gc, leaks)),
                    )
                    for name, charges in sorted(own.items(), key=_costliest)
                ),
            )


def _costliest(own: tuple[str, dict[str, tuple[int, Charge]]]) -> tuple[float, str]:
    name, charges = own
    return -max(charge.after.mib_per_hour for _, charge in charges.values()), name


def _heads(gc: str, leaks: bool) -> tuple[str, ...]:
    """Return the columns of a policy; with the collector on, hours only matter where something leaks."""
    if gc == "off":
        return "gc off: MiB per hour", "until the limit", "collect every", "restart every"
    hours = ("until the limit",) if leaks else ()
    return f"gc {gc}: MiB per hour", *hours, "collector, ms per s"


def _bill_cells(one: tuple[int, Charge] | None, gc: str, leaks: bool) -> Iterator[BillCell]:
    if one is None:
        yield from [BillCell("not compared")] * len(_heads(gc, leaks))
        return
    at, charge = one
    before, after = charge.before, charge.after
    yield BillCell(step(about(before.mib_per_hour), about(after.mib_per_hour)), f"{at} mib")
    if gc == "off" or leaks:
        yield BillCell(step(span(before.hours), span(after.hours)), f"{at} hours")
    if gc == "off":
        yield BillCell(step(requests(before.periodic), requests(after.periodic)), f"{at} collect")
        yield BillCell(step(requests(before.max_requests), requests(after.max_requests)), f"{at} restart")
    else:
        pauses = step(about(before.pause_ms_per_second), about(after.pause_ms_per_second))
        yield BillCell(pauses, f"{at} pause")


def data(bill: Bill) -> Any:
    """Return what the page's script needs to compute the bill anew."""

    def leaves(side: Sequence[costs.Leaves]) -> list[dict[str, float | None]]:
        return [{field: getattr(one, field) for field in COMPUTED} for one in side]

    return {
        "before": leaves(bill.leaves_before),
        "after": leaves(bill.leaves_after),
        "base_before": bill.base_before,
        "base_after": bill.base_after,
        "restart_share": costs.RESTART_SHARE,
        "garbage_share": costs.GARBAGE_SHARE,
    }
