"""Lists and removes the user's files of results, which it knows by the names of files and folders."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import msgspec

from outlive.errors import FaultError, UsageError
from outlive.files import JsonDocument, read_bytes
from outlive.project import Project

Kind = Literal["measurements", "loads", "remedies", "reports"]
PYTHON = re.compile(r"(?:^|-)py(\d[\w.]*?)(?=-|$)")
STACKS = re.compile(r"-to-|-py\d|\+")
"""What separates the releases from the rest of a report's name."""


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file in the user's results folder.

    `release` is the release of measurements, load tests and remedies, or the name of a report. `remedy` is
    the change to the app, `cells` the number of measurements in the file, `size` its bytes. `changed` is in
    UTC.
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
        """Return whether a word means this file: a framework, a release (`flask==3.1.3`), a report's name."""
        framework, equals, release = word.partition("==")
        if self.kind == "reports" and word == self.release:
            return True
        if framework != self.framework:
            return False
        names = STACKS.split(self.release) if self.kind == "reports" else [self.release]
        return not equals or release in names


class StoredFiles(JsonDocument, frozen=True, kw_only=True):
    """The files in the user's results `folder` as JSON."""

    folder: Path
    files: tuple[StoredFile, ...]


class _Counted(msgspec.Struct, frozen=True):
    measurements: list[msgspec.Raw] = []


def kept(project: Project, words: Sequence[str] = ()) -> tuple[StoredFile, ...]:
    """Return the user's files that the words mean; without words, all of them.

    Raises UsageError for a word that means no file, and if the results folder is the published one.
    """
    if project.publishes:
        raise UsageError(f"{project.measured} is what is published: git knows what is in it")
    files = tuple(
        _file(project.measured, path)
        for kind in get_args(Kind)
        for path in sorted((project.measured / kind).rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and len(path.relative_to(project.measured).parts) > 2
    )
    for word in words:
        if not any(file.of(word) for file in files):
            raise UsageError(f"nothing of {word!r} was measured; `outlive measured` says what was")
    return tuple(file for file in files if not words or any(file.of(word) for word in words))


def forget(project: Project, files: Sequence[StoredFile]) -> None:
    """Remove these files, and folders that become empty. Raises FaultError if one cannot be removed."""
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


def _file(measured: Path, path: Path) -> StoredFile:
    kind, framework, *folders, name = path.relative_to(measured).parts
    stem = name.rpartition(".")[0]
    status = path.lstat()
    python = PYTHON.search(stem)
    return StoredFile(
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
        return len(msgspec.json.decode(read_bytes(path), type=_Counted).measurements)
    except (OSError, msgspec.DecodeError):
        return 0
