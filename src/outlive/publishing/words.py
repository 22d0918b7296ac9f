"""How estimates are written for readers: three digits, and times in the unit that suits them.

`templates/costs.js` writes them the same way.
"""

from __future__ import annotations

NEVER = "never"
NONE = "–"  # noqa: RUF001 - a dash in a table, for what there is not


def about(value: float | None) -> str:
    """Return a number with about three digits, as in `1,240`, `98.1`, `0.52`; a dash for None."""
    if value is None:
        return NONE
    if abs(value) >= 1e9:
        return f"{value:.2e}"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return "0" if abs(value) < 0.005 else f"{value:.2f}"


def span(hours: float | None) -> str:
    """Return a time, as in `13 min`, `5.9 h`, `12 days`; None is never."""
    if hours is None:
        return NEVER
    if hours * 60 < 1:
        return "under 1 min"
    if hours < 2:
        return f"{hours * 60:.0f} min"
    if hours < 72:
        return f"{hours:.1f} h"
    days = hours / 24
    return f"{days:,.0f} days" if days < 3650 else "over 10 years"


def requests(count: int | None) -> str:
    """Return a number of requests, as in `1,900`; a dash for None."""
    return NONE if count is None else about(float(count))
