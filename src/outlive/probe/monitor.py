"""The probe for a service of your own: what its processes keep, what the collector costs, memory.

    import outlive.probe
    outlive.probe.start("/run/shop")        # or start() with OUTLIVE_PROBE=/run/shop; without either: nothing

Each process then answers on a Unix socket of its own in that folder, `outlive-<pid>.sock`, that only its user
can open; `python -m outlive.probe /run/shop` asks them all. Importing this does nothing, and imports nothing
but the standard library. A thread sleeps until it is asked; nothing is in the way of a request. See
docs/monitoring.md.
"""

from __future__ import annotations

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
from pathlib import Path

from outlive.probe.readings import ASK, GREETING, Reading, reach, short_name, sockets
from outlive.worker.collector import CollectorLog
from outlive.worker.holdings import Holdings
from outlive.worker.probe import type_name

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
PART = ".outlive-{}.part"
"""Its name until it listens. Nobody looks for that, so nobody finds a socket that refuses connections."""
PART_AGE = 60.0
"""Seconds after which such a name was left by a process that was killed in that instant."""
PATIENCE = 1.0
"""Seconds that a client may take for anything."""


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
        _remove_dead(self.folder)
        self.path = self.folder / f"outlive-{os.getpid()}.sock"
        self.listener = _listen(self.path)
        thread = threading.Thread(target=self.serve, args=(self.listener,), name="outlive-probe", daemon=True)
        thread.start()

    def end(self) -> None:
        """Stop answering and remove the socket."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.listener.close()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            _remove_dead(self.folder)  # children that ended by `os._exit` left theirs

    def serve(self, listener: socket.socket) -> None:
        """Answer one client after the other until the socket is closed."""
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(Exception):  # whatever it is, the service goes on
                client.settimeout(PATIENCE)
                client.sendall(GREETING)
                if client.recv(len(ASK)) == ASK:
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
_registered = False


def start(folder: str | os.PathLike[str] | None = None) -> Path | None:
    """Start the probe of this process, once; return its socket, or None where no folder is named.

    Without `folder`, the variable OUTLIVE_PROBE names it; without that nothing happens. The folder is made,
    for this user only, if it does not exist. A process that is forked later has a probe of its own. Raises
    OSError where the socket cannot be made.
    """
    global _monitor, _registered  # noqa: PLW0603 - there is one process
    named = folder or os.environ.get(VARIABLE)
    if not named:
        return None
    with _lock:
        if _monitor is None:
            place = Path(named).absolute()
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            _monitor = _Monitor(place)
            gc.callbacks.append(_monitor.log)
        if not _registered:
            os.register_at_fork(after_in_child=_after_fork)
            atexit.register(stop)
            _registered = True
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


def _listen(path: Path) -> socket.socket:
    """Return a listening socket at `path`, which appears there only once it listens.

    Nobody else can connect to it at any instant.
    """
    part = path.with_name(PART.format(os.getpid()))
    listener = socket.socket(socket.AF_UNIX)
    try:
        part.unlink(missing_ok=True)
        with short_name(part) as name:
            listener.bind(name)
        part.chmod(0o600)
        listener.listen(8)
        part.replace(path)
    except BaseException:
        listener.close()
        part.unlink(missing_ok=True)
        raise
    return listener


def _remove_dead(folder: Path) -> None:
    """Remove the sockets of processes that were killed: nobody listens there."""
    for path in sockets(folder):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            reach(connection, path)
    for path in folder.glob(PART.format("*")):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > PART_AGE:
                path.unlink()
