"""The probe for your own service: what its processes keep, what the collector costs, memory.

    import outlive.probe
    outlive.probe.start("/run/shop")        # or start() with OUTLIVE_PROBE=/run/shop; without either: nothing

Each process then answers on its own Unix socket in that folder, `outlive-<pid>.sock`, which only its user can
open; `python -m outlive.probe /run/shop` asks them all. Importing this module does nothing and imports only
the standard library. The probe's thread sleeps until it is asked and never takes part in a request. See
docs/monitoring.md.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import json
import os
import socket
import sys
import threading
import time
from _socket import socket as plain_socket
from collections import Counter
from pathlib import Path
from typing import Any

from outlive.probe.readings import ASK, GREETING, Reading, reach, short_name, sockets
from outlive.worker.collector import CollectorLog
from outlive.worker.holdings import Holdings
from outlive.worker.probe import by_name

VARIABLE = "OUTLIVE_PROBE"
"""The environment variable that names the folder if `start()` gets none."""
TYPES = 100
"""Most types in a reading, those that grew most: monitoring systems pay for each of them."""
LEAST_INTERVAL = 1.0
"""Seconds between two counts, at least; whoever asks sooner gets the last one."""
REST = 200
"""The next count waits this many times as long as the last one took: counting takes 0.5 % of the time."""
CHUNK = 50_000
"""Objects that are counted by type before other threads get their turn."""
PART = ".outlive-{}.part"
"""The name of a socket until it listens. Nobody looks for it, so nobody finds a socket that refuses."""
PART_AGE = 60.0
"""Seconds after which such a file can only be a leftover of a process that was killed."""
PATIENCE = 1.0
"""Seconds that a client may take for each step, and after which the probe tries again if it lacks a file."""
LACKING = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Errors of a process that has no file or memory left, perhaps only for now: just then the probe is asked."""


class _Monitor:
    """The probe of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = CollectorLog()
        self.holdings = Holdings()
        self.begin()

    def begin(self) -> None:
        """Start answering; a forked child calls this again."""
        self.path = self.folder / f"outlive-{os.getpid()}.sock"  # first: a child must not remove its parent's
        self.log.clear()
        self.started = time.monotonic()
        self.first: Counter[str] | None = None
        self.counted = 0.0
        self.took = 0.0
        self.objects = 0
        self.growth: dict[str, int] = {}
        _remove_dead(self.folder)
        self.listener = _listen(self.path)
        # A greenlet would wait for the requests that are served, and live on in a forked child.
        _original("_thread", "start_new_thread")(self.serve, (self.listener,))

    def end(self) -> None:
        """Stop answering and remove the socket."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
            self.listener.close()
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            _remove_dead(self.folder)  # children that ended with `os._exit` left their sockets

    def serve(self, listener: Any) -> None:
        """Answer one client after another until the socket is closed."""
        sleep = _original("time", "sleep")
        while True:
            try:
                number, _ = listener._accept()
            except OSError as error:
                if error.errno not in LACKING:
                    return
                sleep(PATIENCE)
                continue
            client = plain_socket(fileno=number)
            # No error of ours may disturb the service.
            with contextlib.closing(client), contextlib.suppress(Exception):
                client.settimeout(PATIENCE)
                client.sendall(GREETING)
                if client.recv(len(ASK)) == ASK:
                    client.sendall(json.dumps(self.reading()).encode() + b"\n")

    def reading(self) -> Reading:
        """Return the present state; objects are counted again if the last count is old enough."""
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
        """Count objects by type; other threads are stopped only while the list of types is made."""
        started = time.monotonic()
        kinds = list(map(type, gc.get_objects()))  # keep no reference to an object while other threads run
        self.objects = len(kinds) + gc.get_freeze_count()
        counts: Counter[type] = Counter()
        sleep = _original("time", "sleep")
        for at in range(0, len(kinds), CHUNK):
            counts.update(kinds[at : at + CHUNK])
            sleep(0)
        named = by_name(counts)
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
    """Start this process's probe, once; return the path of its socket, or None if no folder is named.

    Without `folder`, the environment variable OUTLIVE_PROBE names it; without either nothing happens. The
    folder is created, for this user only, if it does not exist. A process forked later gets its own probe.
    Raises OSError if the socket cannot be made.
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
    """Stop this process's probe and remove its socket; without a probe, do nothing."""
    global _monitor  # noqa: PLW0603
    with _lock:
        if _monitor is not None:
            with contextlib.suppress(ValueError):  # the service may have cleared the list
                gc.callbacks.remove(_monitor.log)
            _monitor.end()
            _monitor = None


def _after_fork() -> None:
    """Start a child's own probe: it has neither the parent's thread nor any use for its socket."""
    global _lock  # noqa: PLW0603
    _lock = threading.Lock()  # the parent may have held it
    if _monitor is not None:
        with contextlib.suppress(OSError):
            _monitor.listener.close()
        with contextlib.suppress(OSError):  # a full disk must not keep a worker from starting
            _monitor.begin()


def _original(module: str, name: str) -> Any:
    """Return a function of a module as it was before gevent replaced it, if gevent did."""
    monkey: Any = sys.modules.get("gevent.monkey")
    return monkey.get_original(module, name) if monkey else getattr(sys.modules[module], name)


def _listen(path: Path) -> plain_socket:
    """Return a listening socket at `path`, where it appears only once it listens.

    At no instant can another user connect to it.
    """
    part = path.with_name(PART.format(os.getpid()))
    listener = plain_socket(socket.AF_UNIX)
    listener.settimeout(None)  # the service may have set another default
    try:
        part.unlink(missing_ok=True)
        with short_name(part) as name:
            listener.bind(name)
        part.chmod(0o600)
        listener.listen(8)
        part.replace(path)
    except BaseException as error:
        listener.close()
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # which the system does not say
        raise
    return listener


def _remove_dead(folder: Path) -> None:
    """Remove the sockets of processes that were killed, at which nobody listens."""
    for path in sockets(folder):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            reach(connection, path)
    for path in folder.glob(PART.format("*")):
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > PART_AGE:
                path.unlink()
