"""Makes temporary folders; if a process is killed, the next run removes its folders.

Each folder holds a file that its process has locked; the kernel unlocks it however the process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from outlive.errors import FaultError
from outlive.project import TEMPORARY

OWNER = ".owner"
EMPTY = 60.0
"""Seconds after which an empty folder cannot be a new one."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a new folder that only this user can open, and remove it afterwards.

    Raises FaultError if it cannot be made.
    """
    try:
        _remove_left(tempfile.gettempdir())
        path = Path(tempfile.mkdtemp(prefix=TEMPORARY))
    except OSError as error:
        raise FaultError(
            f"temporary files cannot be written: {error.strerror}: "
            "free some room, or set TMPDIR to another folder"
        ) from None
    try:
        with _owned(path):
            yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[None]:
    """Hold the folder's lock; the lock file gets its name once it is locked."""
    unlocked = path / f"{OWNER}.new"
    with unlocked.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        unlocked.rename(path / OWNER)
        yield


@functools.cache
def _remove_left(parent: str) -> None:
    """Remove this user's folders in `parent` whose processes have ended; once per process."""
    for path in Path(parent).glob(f"{TEMPORARY}*"):
        with contextlib.suppress(OSError):  # another process is removing it
            status = path.lstat()
            if status.st_uid == os.getuid() and stat.S_ISDIR(status.st_mode):
                _remove_if_left(path, time.time() - status.st_mtime)


def _remove_if_left(path: Path, age: float) -> None:
    try:
        owner = os.open(path / OWNER, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        if age > EMPTY:
            path.rmdir()  # fails if it is not empty: then it is not ours
        return
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
    finally:
        os.close(owner)
