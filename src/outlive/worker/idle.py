"""Detects when a worker is at rest: every thread but the probe's is asleep and uses no CPU time."""

from __future__ import annotations

import _thread
import fcntl
import gc
import heapq
import os
import resource
import sys
import threading
from _thread import start_new_thread
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

IDLE_POLL = 0.0001
"""Seconds between two checks of the worker's threads; the GIL is free meanwhile."""
IDLE_POLLS = 2
"""Checks in a row at which every other thread must be asleep before we count."""
IDLE_LIMIT = 5.0
"""Seconds after which a worker that never comes to rest is counted anyway, and reported as busy."""
OWN_FILES_FROM = 900
"""Lowest number of the probe's own file descriptors; the usual soft limit is 1,024."""
OWN_PART = 8
"""Under a lower limit the probe takes the last 1/OWN_PART of the numbers for its own descriptors."""


def patched() -> bool:
    """Return whether Python's threads are greenlets, as under gevent, which replaces what starts one.

    It replaces sleeping, too: what this module needs was imported before.
    """
    return _thread.start_new_thread is not start_new_thread


def waker() -> Callable[[Callable[[], object]], int] | None:
    """Return what wakes the main thread, which has called this, if greenlets run in it.

    A collection in another thread only marks the suspended greenlets that it frees: they end where they ran.
    The function takes one that waits until the threads rest, and returns how many objects ended.
    """
    if not patched():
        return None
    loop, run = sys.modules["gevent"].get_hub().loop, sys.modules["greenlet"].getcurrent

    def wake(wait: Callable[[], object]) -> int:
        before = len(gc.get_objects()) + gc.get_freeze_count()
        loop.run_callback_threadsafe(run)
        wait()
        return before - len(gc.get_objects()) - gc.get_freeze_count()

    return wake


class IdleWatch:
    """Knows when every thread but the probe's, whose id is `own`, has nothing to do."""

    def __init__(self, own: int) -> None:
        self.own = own
        self.files: dict[int | None, tuple[int, ...]] = {}
        self.system: tuple[int, list[int | None]] = (-1, [])
        """The number of threads, and their ids as the system had them when it last changed."""

    def wait(self, polls: int = IDLE_POLLS) -> bool:
        """Return True once the other threads rest, or False if they never did: see IDLE_LIMIT.

        They rest if they are asleep and used no CPU time while the GIL was free. (A thread that waits for the
        GIL is asleep too, but would have run meanwhile.) Without /proc, the number of allocated blocks must
        stay the same instead.
        """
        look: Callable[[], object] = self.look if os.path.isdir("/proc/self/task") else sys.getallocatedblocks
        deadline = monotonic() + IDLE_LIMIT
        before, same = look(), 0
        while monotonic() < deadline:
            sleep(IDLE_POLL)
            now = look()
            same = same + 1 if now is not None and now == before else 0
            if same >= polls:
                return True
            before = now
        return False

    @staticmethod
    def keep_cancelled_timers() -> None:
        """Keep asyncio from dropping cancelled timers by itself: `drop_cancelled_timers` does so.

        Else it copies the others when the clock says, and a traceback of the loop keeps the old list.
        """
        base_events: Any = sys.modules.get("asyncio.base_events")
        if base_events is not None:
            base_events._MIN_SCHEDULED_TIMER_HANDLES = sys.maxsize

    @staticmethod
    def drop_cancelled_timers(loop: Any) -> None:
        """Drop the cancelled timers of a loop at rest, or counts would depend on when asyncio last did so."""
        timers = getattr(loop, "_scheduled", None)
        if timers is None:
            return
        for timer in timers:
            timer._scheduled = not timer._cancelled
        timers[:] = [timer for timer in timers if timer._scheduled]
        heapq.heapify(timers)
        loop._timer_cancelled_count = 0

    def look(self) -> list[bytes] | None:
        """Return the CPU nanoseconds of each other thread, or None if one is not asleep."""
        tids = [tid for tid in self.every() if tid != self.own]
        if len(self.files) > len(tids):  # else an app that starts many threads would run out of files
            for gone in self.files.keys() - tids:
                self.forget(gone)
        spent = []
        for tid in tids:
            time_used = self.used(tid)
            if time_used is None:
                return None
            spent.append(time_used)
        return spent

    def every(self) -> list[int | None]:
        """Return the ids of all threads."""
        if patched():
            count = _thread._count()
            if count != self.system[0]:
                self.system = count, [int(tid) for tid in os.listdir("/proc/self/task")]
            return self.system[1]
        # After a fork the main thread still has the id that it had in the parent.
        main = threading.main_thread()
        return [os.getpid() if thread is main else thread.native_id for thread in threading.enumerate()]

    def threads(self) -> int:
        """Return the number of threads."""
        return len(self.every()) if patched() else threading.active_count()

    def used(self, tid: int | None) -> bytes | None:
        """Return the CPU nanoseconds of a thread, or None if it is not asleep."""
        try:
            stat, schedstat = self.files.get(tid) or self.open(tid)
            if os.pread(stat, 512, 0).rpartition(b")")[2].split()[0] != b"S":
                return None
            return os.pread(schedstat, 64, 0).split()[0]
        except OSError:
            self.forget(tid)
            return None

    def open(self, tid: int | None) -> tuple[int, ...]:
        """Open the files that describe a thread, and keep them open at numbers that no app reaches.

        Opened anew at each check, they would take low numbers for an instant, and the app's files and sockets
        would get different numbers from run to run.
        """
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        lowest = min(OWN_FILES_FROM, limit - limit // OWN_PART) if limit > 0 else OWN_FILES_FROM
        files = []
        for name in ("stat", "schedstat"):
            low = os.open(f"/proc/self/task/{tid}/{name}", os.O_RDONLY)
            files.append(fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, lowest))
            os.close(low)
        self.files[tid] = tuple(files)
        return self.files[tid]

    def forget(self, tid: int | None) -> None:
        """Close the files of a thread that has ended."""
        for file in self.files.pop(tid, ()):
            os.close(file)
