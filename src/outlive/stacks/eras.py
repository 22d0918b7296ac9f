"""The committed era locks: with them, the whole history installs the same way everywhere and at any time.

A covered release has a lock for Python 3.11, on which the history is measured, one for the oldest Python that
it supports and one for the newest Python of its time; the newest releases have one for every Python. Releases
without a lock are listed with the reason in `releases/<framework>/unavailable.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from outlive.errors import FaultError, UnavailableError
from outlive.files import AGAIN, read_bytes, write_list
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import KNOWN, python_minor
from outlive.releases import frameworks
from outlive.releases.lineage import PYTHON, covered
from outlive.stacks import environments, locks, pythons
from outlive.stacks.pythons import Interpreter

NEWEST = 2
"""Releases, counted from the newest, that have a lock for every Python."""
JOBS = 4
"""uv processes that resolve at the same time; they mostly wait for the index."""
MACHINE_PATH = re.compile(r" \(/[^)]*\)")  # in Python's message about a name that cannot be imported


class Unavailable(msgspec.Struct, frozen=True, order=True):
    """A release that cannot be installed or measured on a Python, and the reason in one line."""

    framework: str
    release: str
    python: str
    reason: str


class Added(msgspec.Struct, frozen=True):
    """The locks that were written, and all releases that lack a lock that they should have."""

    locks: tuple[Path, ...]
    unavailable: tuple[Unavailable, ...]


def pythons_of(release: Release, minors: Sequence[str], *, every: bool = False) -> tuple[str, ...]:
    """Return the `minors` (oldest first) for which `release` should have a committed lock.

    They are PYTHON, the oldest, and the newest that was out at its upload. With `every`, they are all that it
    supports.
    """
    fitting = [minor for minor in minors if release.supports(minor)]
    if every or not fitting:
        return tuple(fitting)
    of_its_time = [minor for minor in fitting if release.date and KNOWN[minor] <= release.date]
    chosen = {PYTHON, fitting[0], (of_its_time or fitting)[-1]}
    return tuple(minor for minor in fitting if minor in chosen)


def missing(project: Project, framework: str) -> list[tuple[Release, Interpreter]]:
    """Return the covered releases, and the installed Pythons for which they should have an era lock."""
    installed = {interpreter.minor: interpreter for interpreter in pythons.installed() if interpreter.tried}
    releases = covered(project, framework)
    return [
        (release, installed[minor])
        for release in releases
        for minor in pythons_of(release, tuple(installed), every=release in releases[-NEWEST:])
        if locks.read_era_lock(project, release, minor) is None
    ]


def add_missing(project: Project, framework: str, done: Callable[[str], object] = lambda _: None) -> Added:
    """Resolve and write the missing era locks of covered releases; `done` gets the name of each.

    A lock whose packages cannot be imported is not written. Raises FaultError if the index cannot be reached.
    """
    results: list[Path | Unavailable] = []
    unavailable = [
        Unavailable(framework, release.version, PYTHON, reason)
        for release in covered(project, framework)
        if (reason := release.why_not(PYTHON))
    ]
    lacking = missing(project, framework)
    with ThreadPoolExecutor(JOBS) as pool:
        written = pool.map(lambda pair: _add(project, *pair), lacking)
        for (release, interpreter), result in zip(lacking, written, strict=True):
            results.append(result)
            done(f"locked {release} on Python {interpreter.minor}")
    unavailable += [result for result in results if isinstance(result, Unavailable)]
    unavailable.sort()
    write_list(project.releases / framework / "unavailable.json", unavailable)
    return Added(tuple(result for result in results if isinstance(result, Path)), tuple(unavailable))


def unavailable(project: Project, release: Release, python: str) -> str | None:
    """Return why `release` is unavailable on `python`, or None if no reason is known."""
    listed = read_list(project.releases / release.framework / "unavailable.json")
    reasons = {(entry.release, entry.python): entry.reason for entry in listed}
    return release.why_not(python) or reasons.get((release.version, python_minor(python)))


def read_list(path: Path) -> tuple[Unavailable, ...]:
    """Return the list in the file `path`; empty if there is no such file. Raises FaultError if it is bad."""
    try:
        return msgspec.json.decode(read_bytes(path), type=tuple[Unavailable, ...])
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FaultError(f"{path} is not a list of what is unavailable: {error}; {AGAIN}") from None


def _add(project: Project, release: Release, interpreter: Interpreter) -> Path | Unavailable:
    modules = frameworks.load(project, release.framework).modules
    try:
        lock = locks.era(project, release, interpreter.minor)
        environment = environments.ensure(lock, interpreter)
        if complaint := environments.import_error(environment, modules):
            complaint = MACHINE_PATH.sub("", complaint)
            raise UnavailableError(f"{release} on Python {interpreter.minor} cannot be imported: {complaint}")
    except UnavailableError as error:
        return Unavailable(release.framework, release.version, interpreter.minor, str(error))
    return locks.write_era_lock(project, lock, release)
