"""Puts a server into its own control group, which knows the peak memory of all its processes.

Linux counts anonymous memory, the page cache that the group filled, and kernel memory such as socket buffers.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path
from typing import Self

import psutil

EMPTIED = 2.0
"""Seconds that killed processes may take to leave their group."""
ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
NAME = re.compile(r"outlive-(\d+)-\d+")
PEAKS = {"memory.peak": "cgroup v2 memory.peak", "memory.max_usage_in_bytes": "cgroup v1 max_usage_in_bytes"}


class MemoryGroup:
    """A control group for memory; `source` names the origin of its peak, or is None if there is no group.

    It is made below this process's group or beside it, wherever that is permitted. Groups that a killed
    harness left behind are removed.
    """

    made = 0

    def __init__(self, root: Path = ROOT, own: Path = OWN) -> None:
        self.path: Path | None = None
        self.source: str | None = None
        for parent in parents(root, own):
            _remove_left(parent)
            MemoryGroup.made += 1
            path = parent / f"outlive-{os.getpid()}-{MemoryGroup.made}"
            with contextlib.suppress(OSError):
                path.mkdir()
                for name, source in PEAKS.items():
                    if (path / name).is_file():
                        self.path, self._peak, self.source = path, path / name, source
                        return
                path.rmdir()  # here the kernel does not account for memory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + EMPTIED
        while self.path is not None and self.path.is_dir():
            with contextlib.suppress(OSError):  # some process has not been reaped yet
                self.path.rmdir()
            if time.monotonic() > deadline:
                return  # the next harness removes it
            time.sleep(0.02)

    def add(self, pid: int) -> None:
        """Add a process to the group; the processes that it starts from now on join it as well."""
        if self.path is not None:
            try:
                (self.path / "cgroup.procs").write_text(str(pid))
            except OSError:
                self.__exit__()
                self.path = self.source = None

    def reset(self) -> None:
        """Forget the peak so far, if the kernel can: v1, and v2 since Linux 6.12."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self._peak.write_text("0")

    def peak(self) -> int | None:
        """Return the peak in bytes, or None if it is unknown."""
        if self.path is None:
            return None
        try:
            return int(self._peak.read_text())
        except (OSError, ValueError):
            return None


def parents(root: Path, own: Path) -> list[Path]:
    """Return the memory groups below which a group can be made.

    In v1 that is this process's group. In v2 a group with processes cannot have children that count their
    memory, unless it is the root. A sibling of this process's group is then made, if that escapes no limit.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    groups: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            for base in (root / "memory",) if controllers else (root, root / "unified"):
                group = base / path.lstrip("/")
                groups.append(group)
                if not controllers and group != base and not _limited(group):
                    groups.append(group.parent)
    return [group for group in groups if (group / "cgroup.procs").is_file()]


def _limited(group: Path) -> bool:
    limits = [path.read_text() for name in ("memory.max", "cpu.max") if (path := group / name).is_file()]
    return not all(limit.startswith("max") for limit in limits)


def _remove_left(parent: Path) -> None:
    for path in parent.glob("outlive-*"):
        name = NAME.fullmatch(path.name)
        if name and not psutil.pid_exists(int(name[1])):
            with contextlib.suppress(OSError):
                path.rmdir()
