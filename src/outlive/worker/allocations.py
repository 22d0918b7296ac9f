"""Where memory that is kept was allocated, by tracemalloc; in a run of its own, for it changes the counts.

Runs in the worker beside the probe: standard library only, Python 3.8 and newer, imports nothing of ours.
"""

from __future__ import annotations

import linecache
import os
import tracemalloc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

FRAMES = 12
"""Callers that are recorded of each allocation; a handler's own line is seldom further away."""
MOST_SITES = 200
"""Sites that are told, those that keep most bytes; what comes with requests is among them."""
HERE = os.path.dirname(os.path.abspath(__file__))
STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__))
FILTERS = (
    tracemalloc.Filter(False, os.path.join(HERE, "*")),
    tracemalloc.Filter(False, tracemalloc.__file__),
    tracemalloc.Filter(False, linecache.__file__),
)


class Tracer:
    """Tells, call by call, what was allocated since the last call and is still there."""

    def __init__(self, short: Callable[[str], str]) -> None:
        self.short = short
        self.last: tracemalloc.Snapshot | None = None

    def __call__(self) -> list[dict[str, Any]]:
        """Return the sites that keep more than at the last call; nothing at the first one, which starts."""
        if not tracemalloc.is_tracing():
            tracemalloc.start(FRAMES)
        last = self.last
        self.last = tracemalloc.take_snapshot().filter_traces(FILTERS)
        if last is None:
            return []
        found = [one for one in self.last.compare_to(last, "traceback") if one.size_diff > 0]
        found.sort(key=lambda one: -one.size_diff)
        return [
            {
                "frames": [self.frame(frame.filename, frame.lineno) for frame in one.traceback],
                "blocks": one.count_diff,
                "bytes": one.size_diff,
            }
            for one in found[:MOST_SITES]
        ]

    def frame(self, filename: str, line: int) -> dict[str, Any]:
        """Return what is told of one caller."""
        own = filename.startswith((STANDARD_LIBRARY, "<frozen ")) and "-packages" not in filename
        return {
            "place": f"{self.short(filename)}:{line}",
            "source": linecache.getline(filename, line).strip(),
            "python": own,
        }
