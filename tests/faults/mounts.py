"""Disks in memory that can get full, in a namespace where their mounts are nobody else's. Linux only."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

PAGE = 4096
"""Bytes by which a disk in memory grows."""
LARGE = "16g"
"""Size of a disk that does not get full: memory is only taken for what is on it."""
NOWHERE = Path("/proc")
"""A folder in which nothing can be written, for verbs to run in."""
TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")


def options_apart(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the options of a script that runs in a namespace of its own; `apart` is a disk in memory there.

    At first the script runs itself again in one, and ends with its exit code.
    """
    parser.add_argument("--apart", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.apart:
        user = ["--user", "--map-root-user"] if os.geteuid() else []
        with tempfile.TemporaryDirectory() as folder:
            argv = ["unshare", "--mount", *user, sys.executable, *sys.argv, "--apart", folder]
            sys.exit(subprocess.run(argv, check=False).returncode)
    _no_other(options.apart)
    return options


def _no_other(folder: Path) -> None:
    """Leave no place for temporary files but a disk in memory at `folder`, and what TMPDIR names.

    Python would take another place without a word.
    """
    for place in filter(os.path.isdir, TEMPORARY):
        subprocess.run(["mount", "--bind", place, place], check=True)
        subprocess.run(["mount", "-o", "remount,ro,bind", place], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)


class Disk:
    """A context manager: a disk in memory at a folder, which has a copy of what was there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ballast = path / "ballast"

    def __enter__(self) -> Self:
        kept = self.path.with_name(f"{self.path.name}.kept")
        self.path.rename(kept)
        self.path.mkdir()
        self._mount(f"size={LARGE}", "-t", "tmpfs", "tmpfs")
        shutil.copytree(kept, self.path, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(kept)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def _mount(self, options: str, *what: str) -> None:
        subprocess.run(["mount", *what, "-o", options, self.path], check=True)

    @property
    def used(self) -> int:
        """How many bytes are used."""
        found = os.statvfs(self.path)
        return (found.f_blocks - found.f_bfree) * found.f_frsize

    def limit(self, more: int) -> None:
        """Leave room for so many bytes more."""
        self.ballast.write_bytes(b"x")  # a disk of no size would have no limit
        self._mount(f"remount,size={self.used + more}")

    def read_only(self) -> None:
        self._mount("remount,ro")

    def mend(self) -> None:
        """End all of that."""
        self._mount(f"remount,rw,size={LARGE}")
        self.ballast.unlink(missing_ok=True)
