"""Detects from outside, at no cost to a process, when it rests: its threads sleep and use no CPU time."""

from __future__ import annotations

import errno
import os
import time

PAUSE = 0.0001
"""Seconds for which every thread must sleep; data on its way through the kernel arrives meanwhile."""
LIMIT = 5.0
"""Seconds after which waiting for a process that never rests ends."""


class Stillness:
    """Watches one process. Raises OSError if there is no /proc or the process has ended."""

    def __init__(self, pid: int) -> None:
        self.folder = f"/proc/{pid}/task/"
        self.clock = (~pid << 3) | 2  # CLOCK_PROCESS_CPUTIME_ID of that process, see clock_getcpuclockid(3)
        self.files: dict[str, int] = {}

    def wait(self) -> bool:
        """Return True once the process rests, or False after LIMIT seconds."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            spent = time.clock_gettime_ns(self.clock)
            threads = os.listdir(self.folder)  # noqa: PTH208 - names are enough
            # A thread that waits for the GIL also sleeps, but then another thread holds it and is awake.
            if self._asleep(threads):
                time.sleep(PAUSE)
                if self._asleep(threads) and time.clock_gettime_ns(self.clock) == spent:
                    return True
            else:
                time.sleep(PAUSE)
        return False

    def close(self) -> None:
        """Close the files that describe its threads."""
        for file in self.files.values():
            os.close(file)
        self.files.clear()

    def _asleep(self, threads: list[str]) -> bool:
        try:
            return all(self._state(thread) == b"S" for thread in threads)
        except (ProcessLookupError, FileNotFoundError):  # a thread has ended
            self.close()
            return False

    def _state(self, thread: str) -> bytes:
        if thread not in self.files:
            self.files[thread] = os.open(f"{self.folder}{thread}/stat", os.O_RDONLY | os.O_CLOEXEC)
        state = os.pread(self.files[thread], 128, 0).rpartition(b") ")[2][:1]
        if state == b"Z":
            raise ChildProcessError(errno.ECHILD, "the process has ended")
        return state
