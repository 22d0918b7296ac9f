"""What the user measured, file by file, as the names of folders and files say it; and forgetting it."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from outlive.errors import FaultError, UsageError
from outlive.project import Project

Kind = Literal["measurements", "loads", "remedies", "reports"]
PYTHON = re.compile(r"(?:^|-)py(\d[\w.]*?)(?=-|$)")
STACKS = re.compile(r"-to-|-py\d|\+")
"""What separates the releases in the name of a report from what else is in it."""


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One file of results that the user's own folder holds.

    `release` is that of measurements, load tests and remedies, the name of a report otherwise. `remedy` is
    what was done to the app, `cells` are the measurements in it (0: it has none). `changed` is in UTC.
    """

    path: Path
    kind: Kind
    framework: str
    release: str
    python: str
    remedy: str = ""
    cells: int = 0
    size: int
    changed: dt.datetime

    def of(self, word: str) -> bool:
        """Return whether a word means it: a framework, a release as `flask==3.1.3`, the name of a report."""
        framework, _, release = word.partition("==")
        if self.kind == "reports" and word == self.release:
            return True
        if framework != self.framework:
            return False
        names = STACKS.split(self.release) if self.kind == "reports" else [self.release]
        return not release or release in names


class _Counted(msgspec.Struct, frozen=True):
    measurements: list[msgspec.Raw] = []


def kept(project: Project, words: Sequence[str] = ()) -> tuple[Kept, ...]:
    """Return what the user measured, of what the words mean; all of it without any.

    Raises UsageError for a word that means nothing of it, and where all that is measured is published.
    """
    if project.publishes:
        raise UsageError(f"{project.measured} is what is published: git knows what is in it")
    found = tuple(
        _file(project.measured, path)
        for kind in get_args(Kind)
        for path in sorted((project.measured / kind).rglob("*"))
        if path.is_file() and len(path.relative_to(project.measured).parts) > 2
    )
    for word in words:
        if not any(one.of(word) for one in found):
            raise UsageError(f"nothing of {word!r} was measured; `outlive measured` says what was")
    return tuple(one for one in found if not words or any(one.of(word) for word in words))


def forget(project: Project, files: Sequence[Kept]) -> None:
    """Remove these files, and folders that are empty then. Raises FaultError where one cannot be removed."""
    for file in files:
        try:
            file.path.unlink(missing_ok=True)
        except OSError as error:
            raise FaultError(f"{file.path} cannot be removed: {error.strerror}") from None
        for folder in file.path.parents:
            if folder == project.measured or not folder.is_relative_to(project.measured):
                break
            with contextlib.suppress(OSError):  # another file is in it
                folder.rmdir()


def _file(measured: Path, path: Path) -> Kept:
    kind, framework, *folders, name = path.relative_to(measured).parts
    stem = name.rpartition(".")[0]
    status = path.stat()
    python = PYTHON.search(stem)
    return Kept(
        path=path,
        kind=msgspec.convert(kind, Kind),
        framework=framework,
        release=stem if kind == "reports" else (folders or [stem])[0],
        python=python[1] if python else "",
        remedy=folders[1] if kind == "remedies" and len(folders) > 1 else "",
        cells=_cells(path) if kind in {"measurements", "remedies"} else 0,
        size=status.st_size,
        changed=dt.datetime.fromtimestamp(status.st_mtime, dt.UTC),
    )


def _cells(path: Path) -> int:
    try:
        return len(msgspec.json.decode(path.read_bytes(), type=_Counted).measurements)
    except (OSError, msgspec.DecodeError):
        return 0
