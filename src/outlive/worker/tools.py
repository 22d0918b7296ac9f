"""The usual tools for finding leaks, run inside the worker, as published reports of leaks use them.

objgraph is installed for it. Each tool takes two looks. The second returns what has grown since the first,
according to the tool: objects by type name, or blocks and bytes by line.
"""

from __future__ import annotations

import gc
import importlib
import re
from collections import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIBRARY = re.compile(r".*/(?:site-packages|lib/python3\.\d+)/|.*/(?=[^/]+$)")
FRAMES = 25
"""Frames that tracemalloc keeps of each allocation; guides to finding leaks recommend 10 to 25."""


def type_name(kind: type) -> str:
    """Return the dotted name of a type, without `builtins`."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name[len("builtins.") :] if name.startswith("builtins.") else name


class GcDebug:
    """gc.set_debug(gc.DEBUG_LEAK): what a collection would free goes to gc.garbage instead."""

    def begin(self) -> None:
        """Take the first look."""
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_LEAK)
        gc.garbage.clear()

    def look(self) -> dict[str, Any]:
        """Return the garbage by type."""
        gc.collect()
        kinds = Counter(type_name(type(obj)) for obj in gc.garbage)
        return {"objects": len(gc.garbage), "grown": dict(kinds)}


class Objgraph:
    """objgraph.growth(), which is what show_growth() prints."""

    def begin(self) -> None:
        """Take the first look."""
        objgraph = importlib.import_module("objgraph")  # installed for this run
        gc.disable()
        self.peaks: dict[str, int] = {}
        self.growth = objgraph.growth
        self.growth(limit=None, peak_stats=self.peaks, shortnames=False)
        self.growth(limit=None, peak_stats=self.peaks, shortnames=False)  # now with what it made itself

    def look(self) -> dict[str, Any]:
        """Return the growth by type."""
        growth = self.growth(limit=None, peak_stats=self.peaks, shortnames=False)
        grown = {name.partition("builtins.")[2] or name: more for name, _, more in growth}
        return {"objects": sum(grown.values()), "grown": grown}


class TracemallocDiff:
    """Two snapshots of tracemalloc, compared by line."""

    def begin(self) -> None:
        """Take the first look."""
        tracemalloc = importlib.import_module("tracemalloc")
        gc.disable()
        tracemalloc.start(FRAMES)
        self.module = tracemalloc
        self.filters = [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__)]
        self.before = self.snapshot()

    def snapshot(self) -> Any:
        """Return a snapshot without the tool's own allocations."""
        return self.module.take_snapshot().filter_traces(self.filters)

    def look(self) -> dict[str, Any]:
        """Return the blocks and bytes allocated since the first look and still in use, bytes also by line."""
        changes = self.snapshot().compare_to(self.before, "lineno")
        return {
            "blocks": sum(change.count_diff for change in changes),
            "bytes": sum(change.size_diff for change in changes),
            "grown": {_line(c.traceback[0]): c.size_diff for c in changes[:100] if c.size_diff > 0},
        }


def _line(frame: Any) -> str:
    """Return a frame's file, relative to the library's folder, and its line."""
    return "{}:{}".format(LIBRARY.sub("", frame.filename, count=1), frame.lineno)


TOOLS: dict[str, type] = {"gc-debug": GcDebug, "objgraph": Objgraph, "tracemalloc": TracemallocDiff}
