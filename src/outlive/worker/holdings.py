"""Reads the resources of a process other than Python objects: memory, files, threads, children and so on."""

from __future__ import annotations

import ctypes
import os
import re
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PAGE = os.sysconf("SC_PAGE_SIZE")
ARENAS = re.compile(rb"(\d+) arenas \* (\d+) bytes/arena")
OWN = "/proc/"
"""The files that the harness itself keeps open are under this path; they tell about threads."""


class _MallInfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in [
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        ]
    ]


def arenas() -> int:
    """Return the bytes of pymalloc's arenas, read from a report that Python only writes to standard error."""
    file, stderr = os.memfd_create("arenas"), os.dup(2)
    try:
        os.dup2(file, 2)
        sys._debugmallocstats()
        os.dup2(stderr, 2)
        report = ARENAS.search(os.pread(file, 1 << 16, 0))
    finally:
        os.close(stderr)
        os.close(file)
    return int(report[1]) * int(report[2]) if report else 0


class Holdings:
    """Reads the resources of this process; each is None if the system does not report it."""

    def __init__(self) -> None:
        self.mallinfo: Callable[[], _MallInfo2] | None = None
        self.sbrk: Callable[[int], int] | None = None
        self.size = self.arenas = 0
        try:
            # PyDLL, unlike CDLL, keeps the GIL: between a collection and a count no other thread may run.
            library: Any = ctypes.PyDLL(None)
            library.mallinfo2.restype = _MallInfo2  # glibc 2.33 and newer
            library.sbrk.restype = ctypes.c_void_p
            library.sbrk.argtypes = [ctypes.c_ssize_t]
            self.mallinfo, self.sbrk = library.mallinfo2, library.sbrk
        except (AttributeError, OSError, TypeError):
            pass

    def heap(self) -> int | None:
        """Return the bytes of C heap in use, including mmapped chunks."""
        if self.mallinfo is None:
            return None
        info = self.mallinfo()
        return int(info.uordblks + info.hblkhd)

    def mapped(self) -> int | None:
        """Return the bytes mapped by neither malloc nor pymalloc, less a constant.

        C code and `mmap` map such memory; greenlet and Python 3.11 and newer also keep frames there.
        """
        if self.mallinfo is None or self.sbrk is None:
            return None
        try:
            with open("/proc/self/statm", "rb") as status:
                size = int(status.read().split()[0]) * PAGE
        except OSError:
            return None
        if size != self.size:
            self.size, self.arenas = size, arenas()
        return size - self.arenas - int(self.sbrk(0)) - int(self.mallinfo().hblkhd)

    @staticmethod
    def resident() -> tuple[int | None, int | None]:
        """Return resident and peak resident bytes of this process."""
        rss = peak = None
        try:
            with open("/proc/self/status") as status:
                for line in status:
                    if line.startswith("VmRSS:"):
                        rss = int(line.split()[1]) * 1024
                    elif line.startswith("VmHWM:"):
                        peak = int(line.split()[1]) * 1024
        except OSError:
            pass
        return rss, peak

    @classmethod
    def files(cls) -> int | None:
        """Return the number of open file descriptors, without those by which we watch each thread."""
        files, sockets = cls.descriptors()
        return None if files is None or sockets is None else files + sockets

    @staticmethod
    def descriptors() -> tuple[int | None, int | None]:
        """Return the numbers of (files and pipes, sockets) that are open, without our own."""
        files = sockets = 0
        try:
            names = os.listdir("/proc/self/fd")
        except OSError:
            return None, None
        for name in names:
            try:
                target = os.readlink("/proc/self/fd/" + name)
            except OSError:  # the descriptor of the folder itself
                continue
            if target.startswith("socket:"):
                sockets += 1
            elif not target.startswith(OWN):
                files += 1
        return files, sockets

    @staticmethod
    def threads() -> int | None:
        """Return the number of threads as the system counts them."""
        try:
            return len(os.listdir("/proc/self/task"))
        except OSError:
            return None

    @staticmethod
    def processes() -> int | None:
        """Return the number of child processes; those that ended count until the process waits for them."""
        children = 0
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)  # only looks: nothing is reaped
            names = os.listdir("/proc")
        except ChildProcessError:  # without any, the search is spared
            return 0
        except OSError:
            return None
        for name in filter(str.isdigit, names):
            try:
                with open("/proc/" + name + "/stat", "rb") as status:
                    parent = status.read().rpartition(b")")[2].split()[1]
            except OSError:  # it has ended
                continue
            children += int(parent) == os.getpid()
        return children

    @staticmethod
    def tasks(loop: Any) -> int | None:
        """Return the number of unfinished tasks of an asyncio event loop, or None without a loop."""
        asyncio: Any = sys.modules.get("asyncio")
        return None if loop is None or asyncio is None else len(asyncio.all_tasks(loop))

    def read(self, loop: Any) -> dict[str, int | None]:
        """Return all resources but objects, blocks and C heap, by name; `mapped` is in bytes."""
        files, sockets = self.descriptors()
        return {
            "mapped": self.mapped(),
            "files": files,
            "sockets": sockets,
            "threads": self.threads(),
            "processes": self.processes(),
            "tasks": self.tasks(loop),
        }
