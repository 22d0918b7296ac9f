"""Adds up what the workers of a load test counted, per request. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from outlive.loads.server import Counted

LEAST_TYPE = 0.005
"""Fewest objects per request for which a type is recorded."""


def per_request(counts: Sequence[Counted] | None, what: str, requests: int) -> float | None:
    """Return a count of all workers, `survivors` or `leaked`, per request; None if it is not known."""
    return sum(getattr(count, what) for count in counts) / requests if counts and requests else None


def types(counts: Sequence[Counted] | None, requests: int, *, collecting: bool) -> dict[str, float]:
    """Return objects per request by type name, most first; under a collector only leaked ones."""
    found: Counter[str] = Counter()
    for count in counts or ():
        found.update(count.types_kept if collecting else count.types)
    return {
        name: count / requests
        for name, count in found.most_common()
        if requests and abs(count) / requests >= LEAST_TYPE
    }
