"""The probe of a worker under load: while requests are served it runs only during collections.

It needs a system thread even under gevent, which replaces the functions for threads, sleeping and sockets:
the master imports them here first. Unlike the exact probe, it does not change
the process (how long a thread keeps the GIL, when asyncio drops timers).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from _socket import AF_UNIX
from _socket import socket as plain_socket
from _thread import start_new_thread
from abc import ABCMeta
from collections import Counter
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from outlive.worker.collector import Pauses
    from outlive.worker.probe import Probe

OLDEST = 2
"""Oldest generation of the collector."""
SETTLES = 10
"""Most collections at the beginning, which repeat until the number of objects stays the same: each one
untracks one more level of nested tuples that hold only numbers and strings."""
REST_POLL = 0.02
"""Seconds between two checks whether the worker rests."""
REST_POLLS = 5
"""Checks in a row at which no thread may have used CPU time."""
REST_LIMIT = 10.0
"""Seconds after which a worker that never comes to rest is counted anyway, and reported as busy."""


class LoadProbe:
    """Answers the harness over one connection; `probe` counts and collects, `pauses` logs collections.

    It stands in for the probe's watch of idle threads; `drop_timers` is that watch's.
    """

    def __init__(
        self,
        probe: Probe,
        pauses: Pauses,
        policy: str,
        preloaded: bool,
        *,
        drop_timers: Callable[[Any], None],
    ) -> None:
        self.probe = probe
        self.drop_cancelled_timers = drop_timers
        self.kind, _, self.numbers = policy.partition(":")
        self.preloaded = preloaded
        probe.kind = self.kind
        probe.frozen = self.kind in ("off", "freeze")
        self.pauses = pauses
        probe.idle = self  # type: ignore[assignment]
        self.aborted = False

    def apply(self) -> None:
        """Apply the gc policy exactly as a deployment would once the app is loaded.

        A worker forked from a master that has loaded the app does not collect: that would copy the memory
        which they share.
        """
        if self.kind in ("off", "periodic"):
            gc.disable()
        if self.kind == "thresholds":
            gc.set_threshold(*map(int, self.numbers.split(",")))
        if self.kind == "periodic":
            assert self.probe.periodic is not None
            self.probe.periodic(int(self.numbers))
        if self.kind == "freeze" and not self.preloaded:
            gc.collect()
        if self.kind in ("off", "freeze"):
            gc.freeze()  # harmless with gc off, and separates new objects from old ones
        gc.callbacks.append(self.pauses)

    def run(self, path: str) -> None:
        """Serve commands until the harness closes the connection, then end this worker."""
        try:
            self.own = threading.get_native_id()
            self.connection = plain_socket(AF_UNIX)
            self.connection.connect(path)
            self.send({"type": "hello", **self.probe.hello()})
            buffer = b""
            while True:
                data = self.connection.recv(4096)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    word = line.decode()
                    self.send({"type": word, **getattr(self, "do_" + word)()})
        finally:
            os._exit(0)

    def send(self, answer: dict[str, Any]) -> None:
        """Send an answer as one line."""
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[self.connection.send(data) :]

    def farewell(self) -> None:
        """Report that this worker exits: in good order, or because the master found it hanging."""
        if hasattr(self, "connection"):
            self.send({"type": "farewell", "aborted": self.aborted, **self.pauses.sums()})

    def do_collector(self) -> dict[str, Any]:
        """Return what the collector has done since `begin`, or since this worker started."""
        return self.pauses.sums()

    def do_begin(self) -> dict[str, Any]:
        """Record the state that survivors are counted against, once the worker rests."""
        self.probe.find_loop()
        idle = self.probe.settle()
        enabled = gc.isenabled()
        gc.disable()
        clear_abc_caches()
        before = None
        for _ in range(SETTLES):
            self.probe.begin(OLDEST)
            assert self.probe.last is not None
            if self.probe.last.alive == before:
                break
            before = self.probe.last.alive
        self.pauses.clear()
        if enabled:
            gc.enable()
        return {"idle": idle}

    def do_count(self) -> dict[str, Any]:
        """Return the objects that requests left since `begin`, once the worker rests; gc stays off."""
        idle = self.probe.settle()
        gc.disable()
        sums = self.pauses.sums()
        clear_abc_caches()
        before, freed, after = self.probe.phase()
        return {
            "idle": idle,
            "survivors": sums["freed"] + freed + after.alive,
            "leaked": after.alive,
            "types": before.named(),
            "types_kept": after.named(),
        }

    def wait(self, polls: int = REST_POLLS) -> bool:
        """Return whether every other thread of the process was idle for `polls` checks in a row."""
        deadline = monotonic() + REST_LIMIT
        before, same = self.spent(), 0
        while monotonic() < deadline:
            sleep(REST_POLL)
            now = self.spent()
            same = same + 1 if now is not None and now == before else 0
            if same >= polls:
                return True
            before = now
        return False

    def spent(self) -> object:
        """Return the CPU nanoseconds of each other thread, including those that Python does not know.

        None if one is not asleep: on a busy machine a thread that has work can wait long for a core.
        """
        if not os.path.isdir("/proc/self/task"):
            return sys.getallocatedblocks()
        spent = {}
        try:
            for tid in os.listdir("/proc/self/task"):
                if int(tid) != self.own:
                    with open(f"/proc/self/task/{tid}/schedstat", "rb") as file:
                        spent[tid] = file.read().split()[0]
                    with open(f"/proc/self/task/{tid}/stat", "rb") as file:
                        if file.read().rpartition(b")")[2].split()[0] != b"S":
                            return None
        except (FileNotFoundError, ProcessLookupError):  # a thread has just ended
            return None
        return spent


def clear_abc_caches() -> None:
    """Make all abstract base classes forget the types that were compared with them.

    A type costs two objects in each. Load decides when it comes first: a single log of a client that left
    early fills 77 caches of aiohttp. CPython's search for leaks does the same (test.libregrtest.refleak).
    """
    seen: set[type] = set()
    left: list[type] = [object]
    while left:
        cls = left.pop()
        if cls not in seen:
            seen.add(cls)
            left += type.__subclasses__(cls)
            if isinstance(cls, ABCMeta):
                cls._abc_caches_clear()  # type: ignore[attr-defined]
    Counter(map(type, ()))  # compared in the middle of each count: so they remember it before, too


def prepare_fork(policy: str) -> None:
    """Apply the gc policy in a master that has loaded the app: its workers share its memory."""
    if policy == "off" or policy.startswith("periodic"):
        gc.disable()
    if policy == "freeze":
        gc.collect()
        gc.freeze()


def start(
    path: str,
    probe: Probe,
    pauses: Pauses,
    policy: str,
    preloaded: bool,
    *,
    drop_timers: Callable[[Any], None],
) -> LoadProbe:
    """Apply the gc policy and start the probe's thread in this process; `path` is the harness's socket."""
    load_probe = LoadProbe(probe, pauses, policy, preloaded, drop_timers=drop_timers)
    load_probe.apply()
    start_new_thread(load_probe.run, (path,))
    return load_probe
