"""Pythons: the interpreters that this machine has, and which of them a comparison runs on."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from outlive.errors import FaultError, UnavailableError, UsageError
from outlive.installer import try_uv
from outlive.project import cache_dir
from outlive.releases import Release, write_text

# the minor versions that the probe knows, with the day each came out
KNOWN = {
    "3.8": dt.date(2019, 10, 14),
    "3.9": dt.date(2020, 10, 5),
    "3.10": dt.date(2021, 10, 4),
    "3.11": dt.date(2022, 10, 24),
    "3.12": dt.date(2023, 10, 2),
    "3.13": dt.date(2024, 10, 7),
    "3.14": dt.date(2025, 10, 7),
}


class Interpreter(msgspec.Struct, frozen=True):
    """One CPython: its full version (`3.11.7`) and its executable."""

    version: str
    path: str

    @property
    def minor(self) -> str:
        """Its minor version, as in `3.11`."""
        return self.version.rpartition(".")[0]

    def __str__(self) -> str:
        return f"Python {self.version}"


class _Listed(msgspec.Struct, frozen=True):
    """An entry of `uv python list`. Older versions of uv do not tell the variant."""

    version: str
    path: str | None
    implementation: str
    variant: str = "default"


class _Remembered(msgspec.Struct, frozen=True):
    """What was found, and the folders that it was found in with their times of change."""

    looked_in: dict[str, int]
    found: tuple[Interpreter, ...]


@functools.cache
def installed() -> tuple[Interpreter, ...]:
    """Return the CPythons on PATH, managed by uv or by pyenv, or known to the `py` launcher, oldest first.

    One for each minor version in KNOWN, its newest patch. Free-threaded builds and pre-releases are left out.
    Asking uv takes a second, so it is asked again only when one of the folders has changed.
    """
    path = cache_dir() / "pythons.json"
    folders = _folders()
    with contextlib.suppress(OSError, msgspec.DecodeError):
        remembered = msgspec.json.decode(path.read_bytes(), type=_Remembered)
        if remembered.looked_in == folders and all(Path(one.path).exists() for one in remembered.found):
            return remembered.found
    found = _look()
    with contextlib.suppress(OSError):  # a disk that is full only makes the next look slow
        write_text(path, msgspec.json.encode(_Remembered(folders, found)).decode())
    return found


def _look() -> tuple[Interpreter, ...]:
    best: dict[str, Interpreter] = {}
    for found in [*_of_pyenv(), *_of_uv()]:
        if found.minor in KNOWN and (found.minor not in best or _patch(found) > _patch(best[found.minor])):
            best[found.minor] = found
    return tuple(best[minor] for minor in KNOWN if minor in best)


def _folders() -> dict[str, int]:
    """Return the folders in which a Python that comes or goes shows, with their times of change."""
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    folders = [*on_path, managed, *(root / "versions" for root in _pyenv_roots())]
    return {str(folder): folder.stat().st_mtime_ns for folder in folders if folder.is_dir()}


def _pyenv_roots() -> list[Path]:
    """Return the folders that pyenv may be in: the one it is told, or at home and beside shims on PATH."""
    if named := os.environ.get("PYENV_ROOT"):
        return [Path(named)]
    shims = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry.endswith("shims")]
    return list(dict.fromkeys([Path.home() / ".pyenv", *(folder.parent for folder in shims)]))


def choose(releases: Sequence[Release], requested: str | None = None) -> Interpreter:
    """Return the interpreter that all of `releases` can be installed on: the requested one, or the best.

    Best is the newest that was out when the oldest release was uploaded, because metadata does not say that
    an old release fails on a later Python; failing that, the oldest. Raises UsageError for an unknown Python,
    FaultError for one that is not installed, and UnavailableError where the releases do not support it.
    """
    here = installed()
    if requested is not None:
        return _requested(releases, requested, here)
    fitting = [found for found in here if all(release.supports(found.minor) for release in releases)]
    if not fitting:
        raise _none_fits(releases, here)
    dates = [release.date for release in releases if release.date]
    oldest = min(dates) if dates else dt.date.max
    of_their_time = [found for found in fitting if KNOWN[found.minor] <= oldest]
    return of_their_time[-1] if of_their_time else fitting[0]


def _requested(releases: Sequence[Release], requested: str, here: Sequence[Interpreter]) -> Interpreter:
    if requested not in KNOWN:
        raise UsageError(f"Python {requested} is not among those that outlive knows: {', '.join(KNOWN)}")
    found = next((interpreter for interpreter in here if interpreter.minor == requested), None)
    if found is None:
        raise FaultError(
            f"Python {requested} is not installed (there are {_names(here)}): install it, as in "
            f"`uv python install {requested}`, or choose another with --python"
        )
    for release in releases:
        if reason := release.why_not(requested):
            raise UnavailableError(f"{reason}: choose with --python")
    return found


def _none_fits(releases: Sequence[Release], here: Sequence[Interpreter]) -> UnavailableError:
    sides = []
    for release in dict.fromkeys(releases):
        minors = [minor for minor in KNOWN if release.supports(minor)]
        if not minors:
            return UnavailableError(f"{release.why_not(list(KNOWN)[-1])}: outlive knows Python {_range()}")
        sides.append(f"{release} runs on {', '.join(minors)}")
    return UnavailableError(
        f"no installed Python fits: {'; '.join(sides)}; there are {_names(here)}: install one that fits"
    )


def _names(here: Sequence[Interpreter]) -> str:
    return ", ".join(interpreter.minor for interpreter in here) or "none"


def _range() -> str:
    minors = list(KNOWN)
    return f"{minors[0]} to {minors[-1]}"


def _patch(interpreter: Interpreter) -> tuple[int, ...]:
    return tuple(map(int, interpreter.version.split(".")))


def _of_uv() -> list[Interpreter]:
    done = try_uv(["python", "list", "--only-installed", "--offline", "--output-format", "json"])
    try:
        listed = msgspec.json.decode(done.stdout, type=list[_Listed])
    except msgspec.DecodeError:
        return []
    return [
        Interpreter(entry.version, entry.path)
        for entry in listed
        if entry.path
        and entry.implementation == "cpython"
        and entry.variant == "default"
        and re.fullmatch(r"3\.\d+\.\d+", entry.version)
    ]


def _of_pyenv() -> list[Interpreter]:
    """Look into pyenv's own folder: its shims on PATH only answer for the versions that are switched on."""
    return [
        Interpreter(path.parent.parent.name, str(path))
        for root in _pyenv_roots()
        for path in sorted(root.glob("versions/*/bin/python"))
        if re.fullmatch(r"3\.\d+\.\d+", path.parent.parent.name) and os.access(path, os.X_OK)
    ]
