"""Traces where memory that stays in use was allocated, in a separate run, because tracing changes the counts.

memray is installed for it.
"""

from __future__ import annotations

import importlib
import linecache
import os
import tempfile
import tracemalloc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    Frames = tuple[tuple[str, int], ...]
    Site = tuple[Frames, int, int]

FRAMES = 12
"""Callers recorded for each allocation; the handler's own line is rarely further up."""
MOST_SITES = 200
"""Most sites reported, largest first; that is enough to include those of requests."""
HERE = os.path.dirname(os.path.abspath(__file__))
STANDARD_LIBRARY = os.path.dirname(os.path.abspath(os.__file__))


class Tracemalloc:
    """Traces the memory that Python's allocators hand out."""

    own = (os.path.join(HERE, ""), tracemalloc.__file__, linecache.__file__)

    def start(self) -> None:
        """Start tracing."""
        tracemalloc.start(FRAMES)
        self.last = tracemalloc.take_snapshot()

    def kept(self) -> Iterator[Site]:
        """Yield (callers, outermost first; blocks; bytes) of memory taken since the last call and kept.

        What tracing itself uses is left out here: filters of tracemalloc's would compare each single block.
        """
        last, self.last = self.last, tracemalloc.take_snapshot()
        for change in self.last.compare_to(last, "traceback"):
            callers = tuple((frame.filename, frame.lineno) for frame in change.traceback)
            if not callers[-1][0].startswith(self.own):
                yield callers, change.count_diff, change.size_diff


class Memray:
    """Also traces malloc and mmap; calls from C code are reported by the calling Python line."""

    def start(self) -> None:
        """Start tracing."""
        self.memray = importlib.import_module("memray")  # installed for this run
        self.own = (HERE, os.path.dirname(str(self.memray.__file__)), linecache.__file__)
        self.folder = tempfile.mkdtemp()  # in the server's own folder, and removed with it
        self.begin()

    def begin(self) -> None:
        """Record from now on into a new file."""
        self.path = os.path.join(self.folder, "allocations.bin")
        self.tracker = self.memray.Tracker(self.path, trace_python_allocators=True)
        self.tracker.__enter__()

    def kept(self) -> Iterator[Site]:
        """Yield (callers, outermost first; blocks; bytes) of what was allocated since and not freed."""
        self.tracker.__exit__(None, None, None)
        with self.memray.FileReader(self.path) as reader:
            for record in reader.get_leaked_allocation_records(merge_threads=True):
                inner = record.stack_trace(FRAMES)
                if inner and not inner[0][1].startswith(self.own):
                    frames = tuple((name, line) for _, name, line in reversed(inner))
                    yield frames, record.n_allocations, record.size
        os.remove(self.path)
        self.begin()


TRACERS: dict[str, type[Tracemalloc | Memray]] = {"tracemalloc": Tracemalloc, "memray": Memray}


class Tracer:
    """Returns on each call the memory allocated since the last call and still in use."""

    def __init__(self, name: str, short: Callable[[str], str]) -> None:
        self.short = short
        self.started = False
        self.tool = TRACERS[name]()

    def __call__(self) -> list[dict[str, Any]]:
        """Return the sites that keep more than at the last call; the first call starts the tracing."""
        if not self.started:
            self.started = True
            self.tool.start()
            return []
        largest = sorted(_together(self.tool.kept()), key=lambda site: -site[2])
        return [
            {"frames": [self.frame(*frame) for frame in frames], "blocks": blocks, "bytes": size}
            for frames, blocks, size in largest[:MOST_SITES]
            if size > 0
        ]

    def frame(self, filename: str, line: int) -> dict[str, Any]:
        """Return one caller as JSON."""
        own = filename.startswith((STANDARD_LIBRARY, "<frozen ")) and "-packages" not in filename
        return {
            "place": f"{self.short(filename)}:{line}",
            "source": linecache.getline(filename, line).strip(),
            "python": own,
        }


def _together(sites: Iterable[Site]) -> list[Site]:
    """Return the sites; sites with the same callers are added up."""
    sums: dict[Frames, list[int]] = {}
    for frames, blocks, size in sites:
        both = sums.setdefault(frames, [0, 0])
        both[0] += blocks
        both[1] += size
    return [(frames, blocks, size) for frames, (blocks, size) in sums.items()]
