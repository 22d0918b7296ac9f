"""Tools of the trade, attached in the worker: what reports of leaks were written with.

Standard library only but objgraph, which is installed for it; Python 3.8 and newer, imports nothing of ours.
Each is used as the reports use it, between two looks. A look returns what the tool says has grown since the
first one: objects by type name, or blocks and bytes by line.
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
"""Frames that tracemalloc keeps of each allocation; guides on leaks have 10 to 25."""


def type_name(kind: type) -> str:
    """Return the dotted name of a type, without `builtins`."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    return name[len("builtins.") :] if name.startswith("builtins.") else name


class GcDebug:
    """gc.set_debug(gc.DEBUG_LEAK): what a collection would free goes to gc.garbage instead."""

    def begin(self) -> None:
        """Start to look."""
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_LEAK)
        gc.garbage.clear()

    def look(self) -> dict[str, Any]:
        """Return the garbage by type."""
        gc.collect()
        kinds = Counter(type_name(type(one)) for one in gc.garbage)
        return {"objects": len(gc.garbage), "grown": dict(kinds)}


class Objgraph:
    """objgraph.growth(), which is what show_growth() prints."""

    def begin(self) -> None:
        """Start to look."""
        objgraph = importlib.import_module("objgraph")  # installed for this run
        gc.disable()
        self.peaks: dict[str, int] = {}
        self.growth = objgraph.growth
        self.growth(limit=None, peak_stats=self.peaks, shortnames=False)
        self.growth(limit=None, peak_stats=self.peaks, shortnames=False)  # what it makes itself is in, too

    def look(self) -> dict[str, Any]:
        """Return the growth by type."""
        found = self.growth(limit=None, peak_stats=self.peaks, shortnames=False)
        grown = {name.partition("builtins.")[2] or name: more for name, _, more in found}
        return {"objects": sum(grown.values()), "grown": grown}


class Tracemalloc:
    """Two snapshots of tracemalloc, compared by line."""

    def begin(self) -> None:
        """Start to look."""
        tracemalloc = importlib.import_module("tracemalloc")
        gc.disable()
        tracemalloc.start(FRAMES)
        self.module = tracemalloc
        self.filters = [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__)]
        self.before = self.snapshot()

    def snapshot(self) -> Any:
        """Return a snapshot without what the tool itself has allocated."""
        return self.module.take_snapshot().filter_traces(self.filters)

    def look(self) -> dict[str, Any]:
        """Return the blocks and bytes that were allocated since and still are, by line."""
        found = self.snapshot().compare_to(self.before, "lineno")
        return {
            "blocks": sum(one.count_diff for one in found),
            "bytes": sum(one.size_diff for one in found),
            "grown": {_line(one.traceback[0]): one.size_diff for one in found[:100] if one.size_diff > 0},
        }


def _line(frame: Any) -> str:
    """Return where a frame is: its file from the library's folder on, and the line."""
    return "{}:{}".format(LIBRARY.sub("", frame.filename, count=1), frame.lineno)


TOOLS: dict[str, type] = {"gc-debug": GcDebug, "objgraph": Objgraph, "tracemalloc": Tracemalloc}
