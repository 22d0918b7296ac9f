"""The probe for a service of your own: what its processes keep, what the collector costs, memory.

    import outlive.probe
    outlive.probe.start("/run/shop")        # or start() with OUTLIVE_PROBE=/run/shop; without either: nothing

Each process then answers on a Unix socket of its own in that folder, `<pid>.sock`, that only its user can
open; `python -m outlive.probe /run/shop` asks them all. Importing this does nothing, and imports nothing but
the standard library. A thread sleeps until it is asked; nothing is in the way of a request. See
docs/monitoring.md.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import json
import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

from outlive.worker.holdings import Holdings
from outlive.worker.probe import CollectorLog, type_name

__all__ = ["Reading", "ask", "prometheus", "read", "start", "stop"]

VARIABLE = "OUTLIVE_PROBE"
"""The environment variable that names the folder where `start()` does not."""
TYPES = 100
"""Most types that are named, those that grew most: monitoring systems pay for each one."""
LEAST_INTERVAL = 1.0
"""Seconds between two counts at least; who asks sooner is told the last one."""
REST = 200
"""Times as long as a count took that the next one waits: counting takes half a percent of the time."""
CHUNK = 50_000
"""Objects that are sorted by type before other threads have their turn."""
PATIENCE = 1.0
"""Seconds that a client may take for anything."""
ANSWER = 30.0
"""Seconds that whoever asks waits: a process that is busy answers late."""


class Reading(TypedDict):
    """What one process says of itself, at `time` in seconds since the epoch.

    `objects` are the gc-tracked objects alive, with the `frozen` ones. `growth` is how many more of a type
    are alive than at the first count, by type name: what has outlived its request is in there, and so are
    requests that are being served and, with a collector that is on, garbage that it has not come to. The
    counts are `age` seconds old and took `took` seconds. Pauses are in seconds, memory in bytes; None is what
    the system does not tell.
    """

    pid: int
    time: float
    uptime: float
    age: float
    took: float
    objects: int
    frozen: int
    growth: dict[str, int]
    gc_enabled: bool
    collections: int
    freed: int
    pause: float
    longest_pause: float
    resident: int | None
    peak: int | None
    heap: int | None
    blocks: int
    open_files: int | None
    threads: int


class _Monitor:
    """The probe of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = CollectorLog()
        self.holdings = Holdings()
        self.begin()

    def begin(self) -> None:
        """Start to answer; in a forked child, anew."""
        self.log.clear()
        self.started = time.monotonic()
        self.first: Counter[str] | None = None
        self.counted = 0.0
        self.took = 0.0
        self.objects = 0
        self.growth: dict[str, int] = {}
        self.path = self.folder / f"{os.getpid()}.sock"
        self.listener = _listen(self.path)
        thread = threading.Thread(target=self.serve, args=(self.listener,), name="outlive-probe", daemon=True)
        thread.start()

    def end(self) -> None:
        """Stop answering and remove the socket."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.listener.close()
        self.path.unlink(missing_ok=True)

    def serve(self, listener: socket.socket) -> None:
        """Answer one client after the other until the socket is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(Exception):  # whatever it is, the service goes on
                client.settimeout(PATIENCE)
                client.sendall(json.dumps(self.reading()).encode() + b"\n")

    def reading(self) -> Reading:
        """Return the present state; objects are counted again where the last count is old enough."""
        now = time.monotonic()
        if self.first is None or now - self.counted >= max(LEAST_INTERVAL, REST * self.took):
            self.count()
        resident, peak = self.holdings.resident()
        return Reading(
            pid=os.getpid(),
            time=time.time(),
            uptime=now - self.started,
            age=time.monotonic() - self.counted,
            took=self.took,
            objects=self.objects,
            frozen=gc.get_freeze_count(),
            growth=self.growth,
            gc_enabled=gc.isenabled(),
            collections=self.log.collections,
            freed=self.log.freed,
            pause=self.log.pause,
            longest_pause=self.log.longest,
            resident=resident,
            peak=peak,
            heap=self.holdings.heap(),
            blocks=sys.getallocatedblocks(),
            open_files=self.holdings.files(),
            threads=threading.active_count(),
        )

    def count(self) -> None:
        """Count objects by type; other threads stand still for the first line only."""
        started = time.monotonic()
        kinds = list(map(type, gc.get_objects()))  # no reference to an object is kept while others run
        self.objects = len(kinds) + gc.get_freeze_count()
        found: Counter[type] = Counter()
        for at in range(0, len(kinds), CHUNK):
            found.update(kinds[at : at + CHUNK])
            time.sleep(0)
        named: Counter[str] = Counter()
        for kind, number in found.items():
            named[type_name(kind)] += number
        if self.first is None:
            self.first = named
        grown = Counter({name: number - self.first[name] for name, number in named.items()})
        self.growth = {name: number for name, number in grown.most_common(TYPES) if number > 0}
        self.counted = time.monotonic()
        self.took = self.counted - started


_monitor: _Monitor | None = None
_lock = threading.Lock()


def start(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Start the probe of this process, once; return its socket, or None where no folder is named.

    Without `folder`, the variable OUTLIVE_PROBE names it; without that nothing happens. The folder is made,
    for this user only, if it does not exist. A process that is forked later has a probe of its own. Raises
    OSError where the socket cannot be made.
    """
    global _monitor  # noqa: PLW0603 - there is one process
    named = folder or os.environ.get(VARIABLE)
    if not named:
        return None
    with _lock:
        if _monitor is None:
            place = Path(named).absolute()
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove_dead(place)
            _monitor = _Monitor(place)
            gc.callbacks.append(_monitor.log)
        return _monitor.path


def stop() -> None:
    """Stop the probe of this process and remove its socket; nothing happens where there is none."""
    global _monitor  # noqa: PLW0603
    with _lock:
        if _monitor is not None:
            gc.callbacks.remove(_monitor.log)
            _monitor.end()
            _monitor = None


def _after_fork() -> None:
    """Have a probe of its own in a child: threads and the parent's socket are none of its business."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()  # the parent may have held it
    if _monitor is not None:
        _monitor.listener.close()
        with contextlib.suppress(OSError):  # a full disk is no reason for a worker not to start
            _monitor.begin()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(stop)


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`; nobody else can connect to it at any instant."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(8)
    except BaseException:
        listener.close()
        raise
    return listener


def _remove_dead(folder: Path) -> None:
    """Remove the sockets of processes that were killed: nobody listens there."""
    for path in folder.glob("[0-9]*.sock"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            try:
                connection.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()


# Asking


def read(path: str | os.PathLike[str]) -> Reading:
    """Return what the process with this socket says. Raises OSError where it does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        _connect(connection, os.fspath(path))
        connection.settimeout(ANSWER)
        with connection.makefile("rb") as stream:
            line = stream.readline()
    if not line.endswith(b"\n"):
        raise OSError(f"{os.fspath(path)}: no whole answer")
    reading: Reading = json.loads(line)
    return reading


def _connect(connection: socket.socket, path: str) -> None:
    """Connect, waiting for a turn where many ask at once."""
    deadline = time.monotonic() + ANSWER
    connection.setblocking(False)
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:  # the queue is full
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def ask(folder: str | os.PathLike[str]) -> list[Reading]:
    """Return what each process with a socket in `folder` says, those that live, by process id."""
    found = []
    for path in Path(folder).glob("*.sock"):
        with contextlib.suppress(OSError):
            found.append(read(path))
    return sorted(found, key=lambda reading: reading["pid"])


METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("objects", "objects", "gauge", "gc-tracked objects alive"),
    ("frozen_objects", "frozen", "gauge", "objects in the permanent generation (gc.freeze)"),
    ("gc_enabled", "gc_enabled", "gauge", "whether automatic collection is on"),
    ("gc_collections_total", "collections", "counter", "collections since the probe was started"),
    ("gc_freed_objects_total", "freed", "counter", "objects that collections freed"),
    ("gc_pause_seconds_total", "pause", "counter", "seconds paused by collections"),
    ("gc_longest_pause_seconds", "longest_pause", "gauge", "longest pause by a collection"),
    ("resident_bytes", "resident", "gauge", "resident memory"),
    ("peak_resident_bytes", "peak", "gauge", "peak resident memory"),
    ("heap_bytes", "heap", "gauge", "C heap in use"),
    ("memory_blocks", "blocks", "gauge", "blocks allocated by Python's allocator"),
    ("open_files", "open_files", "gauge", "open file descriptors"),
    ("threads", "threads", "gauge", "threads"),
    ("count_seconds", "took", "gauge", "seconds that the last count of objects took"),
)
"""Name, field of a `Reading`, type and help of each metric that has one value for a process."""


def prometheus(readings: Sequence[Reading]) -> str:
    """Return the readings in Prometheus' text form, a sample for each process with its id as `worker`."""
    return "".join(f"{line}\n" for line in _lines(readings))


def _lines(readings: Sequence[Reading]) -> Iterator[str]:
    values: Iterable[dict[str, Any]] = [dict(reading) for reading in readings]
    for name, field, kind, text in METRICS:
        samples = [(one["pid"], one[field]) for one in values if one[field] is not None]
        if samples:
            yield f"# HELP outlive_{name} {text}"
            yield f"# TYPE outlive_{name} {kind}"
            yield from (f'outlive_{name}{{worker="{pid}"}} {value + 0}' for pid, value in samples)
    if readings:
        yield "# HELP outlive_object_growth objects alive more than at the first count, by type"
        yield "# TYPE outlive_object_growth gauge"
    for reading in readings:
        for name, number in reading["growth"].items():
            label = name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
            yield f'outlive_object_growth{{worker="{reading["pid"]}",type="{label}"}} {number}'


def main() -> int:
    """Print what the processes with a socket in a folder say; return 4 where none answers."""
    parser = argparse.ArgumentParser(prog="python -m outlive.probe", description=main.__doc__)
    parser.add_argument("folder", help="the folder that the service's probes were started with")
    parser.add_argument("--prometheus", action="store_true", help="in Prometheus' text form instead of JSON")
    arguments = parser.parse_args()
    readings = ask(arguments.folder)
    if not readings:
        print(f"{arguments.folder}: no process answers", file=sys.stderr)
        return 4
    if arguments.prometheus:
        sys.stdout.write(prometheus(readings))
    else:
        json.dump(readings, sys.stdout, indent=1)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
