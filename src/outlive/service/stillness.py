"""Seeing from outside when a worker rests, at no cost to it: every thread asleep, no processor time used."""

from __future__ import annotations

import errno
import os
import time

PAUSE = 0.0001
"""Seconds over which every thread must sleep; data that is on its way in the kernel arrives meanwhile."""
LIMIT = 5.0
"""Seconds after which a worker that never rests is not waited for any longer."""


class Stillness:
    """Watches one process. Raises OSError where /proc does not tell, or the process has gone."""

    def __init__(self, pid: int) -> None:
        self.folder = f"/proc/{pid}/task/"
        self.clock = (~pid << 3) | 2  # CLOCK_PROCESS_CPUTIME_ID of that process, see clock_getcpuclockid(3)
        self.files: dict[str, int] = {}

    def wait(self) -> None:
        """Return once the process rests, or after some seconds all the same."""
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            spent = time.clock_gettime_ns(self.clock)
            threads = os.listdir(self.folder)  # noqa: PTH208 - names are enough
            # A thread that waits for the GIL is asleep, too; but then another one has it, and is not.
            if self._asleep(threads):
                time.sleep(PAUSE)
                if self._asleep(threads) and time.clock_gettime_ns(self.clock) == spent:
                    return
            else:
                time.sleep(PAUSE)

    def close(self) -> None:
        """Close the files that tell of its threads."""
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
