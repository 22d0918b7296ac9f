"""Limits: the objects that releases may leave, reviewed and kept in `releases/<framework>/limits.toml`.

A limit is the exact count of a cell, not a ceiling: more is a regression, and less is an improvement to lock
in. A cell without a limit may leave nothing.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from outlive.errors import UsageError
from outlive.files import decode_toml, read_text
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, Connection, Measurement
from outlive.records.stack import PYTHON_MINOR, python_minor
from outlive.service.scenarios import Scenario, select
from outlive.wording import one_line

FILE = "releases/{framework}/limits.toml"
"""Path of the limits in the checkout."""
HEADER = "[[limits]]"
HEAD = """\
# What releases of {framework} may leave in memory, in gc-tracked objects per request: with gc off all that
# are left, with gc on those that no collection frees. Each number is the exact count: more fails the gate,
# less fails it too, until it is locked in here. `outlive gate --accept` writes this file, a person reviews
# it; docs/gates.md says how. Comments are not kept: write why into `reason`, where it is tracked into `link`.
"""

Text = Annotated[str, msgspec.Meta(min_length=1)]
Objects = Annotated[float, msgspec.Meta(gt=0, le=1e9)]  # no end (inf) is no limit


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One entry: counts for some connections, Pythons and releases, with gc off or with any other policy.

    `gc` is `off`, or `on` for all policies under which collections run. `objects` is objects per request by
    scenario (a shell-style pattern), `per_connection` what a connection leaves apart from its requests;
    `memory` names the scenarios that may leak outside of objects: memory, files or the like.
    `type` and `fingerprint` restrict the entry to cells that leave objects of this type, or show this
    fingerprint. `expires` is the last day on which the entry is valid.
    """

    gc: Literal["off", "on"]
    connections: tuple[Connection, ...] = CONNECTIONS
    pythons: tuple[str, ...] = ()
    releases: str = ""
    type: Text | None = None
    fingerprint: Text | None = None
    reason: Text
    link: Annotated[str, msgspec.Meta(pattern=r"^https?://")] | None = None
    expires: dt.date
    objects: dict[str, Objects] = {}
    per_connection: dict[str, Objects] = {}
    memory: tuple[str, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """All patterns of scenarios in the entry."""
        return tuple(dict.fromkeys((*self.objects, *self.per_connection, *self.memory)))

    @property
    def why(self) -> str:
        """The reason for the limit, and where the leak is tracked upstream."""
        return f"{one_line(self.reason)} ({self.link or 'no upstream issue known'})"

    def about_what(self, patterns: Iterable[str] = ()) -> str:
        """Return a unique description of its cells, or of those of some of its patterns."""
        fields = [*self.connections, f"gc {self.gc}", *(f"Python {python}" for python in self.pythons)]
        fields += filter(None, [self.releases, self.type, self.fingerprint])
        return f"{', '.join(fields)}: {', '.join(sorted(set(patterns or self.patterns)))}"

    def holds_for(self, release: str, python: str) -> bool:
        """Return whether it is about this release on this Python (`3.11`); without Pythons, about all."""
        fits = SpecifierSet(self.releases).contains(release, prereleases=True)
        return fits and (not self.pythons or python_minor(python) in self.pythons)

    def covers(self, measurement: Measurement) -> bool:
        """Return whether it is about this cell, and the cell shows the entry's type and fingerprint."""
        return (
            self.about(measurement)
            and (self.type is None or self.type in measurement.types)
            and (self.fingerprint is None or self.fingerprint in measurement.fingerprints)
        )

    def about(self, measurement: Measurement) -> bool:
        """Return whether it is about this cell, whatever the cell leaves."""
        return (
            self.gc == policy(measurement)
            and measurement.connection in self.connections
            and self.holds_for(measurement.release, measurement.python)
        )


class FilePlace(msgspec.Struct, frozen=True, order=True):
    """A place in the file: the line's number, from 1, and its text."""

    line: int
    text: str


class Allowed(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits allow one cell; places are None and `why` is empty if no limit applies."""

    objects: float = 0.0
    place: FilePlace | None = None
    residue: float = 0.0
    residue_place: FilePlace | None = None
    memory: bool = False
    memory_place: FilePlace | None = None
    why: str = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    limits: tuple[Limit, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """The limits of one framework: the file's path as shown, its text, and its entries in order."""

    path: str
    text: str
    entries: tuple[Limit, ...]

    def hold_for(self, release: str, python: str) -> bool:
        """Return whether any entry is about this release on this Python."""
        return any(entry.holds_for(release, python) for entry in self.entries)

    def allowed(self, measurement: Measurement) -> Allowed:
        """Return what a cell may leave. Raises UsageError if two limits apply to it."""
        objects = self._match(measurement, "objects")
        residue = self._match(measurement, "per_connection")
        memory = self._match(measurement, "memory")
        match = objects or residue or memory
        return Allowed(
            objects=self.entries[objects[0]].objects[objects[1]] if objects else 0.0,
            place=self.place(*objects, "objects") if objects else None,
            residue=self.entries[residue[0]].per_connection[residue[1]] if residue else 0.0,
            residue_place=self.place(*residue, "per_connection") if residue else None,
            memory=memory is not None,
            memory_place=self.place(memory[0], "memory") if memory else None,
            why=self.entries[match[0]].why if match else "",
        )

    def place_of(self, at: int, pattern: str) -> FilePlace:
        """Return the line of entry number `at` that is for a pattern of scenarios."""
        for table in ("objects", "per_connection"):
            if pattern in getattr(self.entries[at], table):
                return self.place(at, pattern, table)
        return self.place(at, "memory")

    def place(self, at: int, key: str | None = None, table: str | None = None) -> FilePlace:
        """Return the first line of entry number `at`, or its line for `key` (in its `table`)."""
        lines = self.text.splitlines()
        starts = [number for number, line in enumerate(lines) if line.strip() == HEADER]
        if at >= len(starts):  # written as an inline table
            return FilePlace(1, self.path)
        end = starts[at + 1] if at + 1 < len(starts) else len(lines)
        pattern = re.compile(rf"""\s*["']?{re.escape(key or HEADER)}["']?\s*(=|$)""")
        heading = f"[limits.{table}]"
        begin = next((n for n in range(starts[at], end) if lines[n].strip() == heading), starts[at])
        line = next((n for n in range(begin, end) if pattern.match(lines[n])), starts[at])
        return FilePlace(line + 1, lines[line].strip())

    def _match(self, measurement: Measurement, field: str) -> tuple[int, str] | None:
        """Return the number of the entry that applies and the pattern in its `field`, or None."""
        m = measurement
        matches = [
            (at, pattern)
            for at, entry in enumerate(self.entries)
            if entry.covers(m)
            for pattern in getattr(entry, field)
            if fnmatchcase(m.scenario, pattern)
        ]
        if len(matches) > 1:
            first, second = (self.place(*match, field).line for match in matches[:2])
            raise UsageError(
                f"{self.path}: lines {first} and {second} both apply to {m.scenario}, {m.connection}, "
                f"gc {m.gc}, {m.framework} {m.release}, Python {m.python}: leave one of them"
            )
        return matches[0] if matches else None


def policy(measurement: Measurement) -> Literal["off", "on"]:
    """Return a cell's policy as the limits name it: leaks are the same under all policies that collect."""
    return "off" if measurement.gc == "off" else "on"


def exact(objects: float) -> str:
    """Return a count as written in the limits, in thousandths: `105`, `0.01`."""
    return f"{objects:.3f}".rstrip("0").rstrip(".")


def limits_path(project: Project, framework: str) -> Path:
    """Return the path of the limits of `framework`, whether or not it exists."""
    return project.root / FILE.format(framework=framework)


def load(
    project: Project, framework: str, scenarios: Sequence[Scenario], *, file: Path | None = None
) -> Limits:
    """Return the limits of `framework`, or those in `file`; without a file there are none.

    Raises UsageError, with the place, if the file is malformed or a pattern matches none of the `scenarios`.
    """
    path = file or limits_path(project, framework)
    shown = (file or path.relative_to(project.root)).as_posix()
    try:
        text = read_text(path)
    except FileNotFoundError:
        return Limits(shown, "", ())
    except OSError as error:
        raise UsageError(f"{shown}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{shown}: not a limits file: it is not UTF-8 text") from None
    return parse(text, shown, scenarios)


def parse(text: str, path: str, scenarios: Sequence[Scenario]) -> Limits:
    """Return the limits in `text`, as `load` does; messages name the file `path`."""
    try:
        limits = Limits(path, text, decode_toml(text, _File).limits)
    except msgspec.DecodeError as error:
        raise UsageError(f"{path}: not a limits file: {_message(path, text, error)}") from None
    for at in range(len(limits.entries)):
        if fault := _fault(limits, at, scenarios):
            place, reason = fault
            raise UsageError(f"{path}:{place.line}: {reason}")
    return limits


def _message(path: str, text: str, error: Exception) -> str:
    """Return the error in one line, with the line of its entry."""
    message = " ".join(str(error).split())
    if at := re.search(r"\$\.limits\[(\d+)\]", message):
        message += f", in the entry of line {Limits(path, text, ()).place(int(at[1])).line}"
    return message


def _fault(limits: Limits, at: int, scenarios: Sequence[Scenario]) -> tuple[FilePlace, str] | None:
    """Return the faulty line of entry number `at` and what is wrong with it, or None."""
    entry = limits.entries[at]
    try:
        SpecifierSet(entry.releases)
    except InvalidSpecifier:
        fault = f"{entry.releases!r} is not a version specifier, as in >=3.1,<3.2"
        return limits.place(at, "releases"), fault
    for python in entry.pythons:
        if not PYTHON_MINOR.fullmatch(python):
            return limits.place(at, "pythons"), f"{python!r} is not a Python's minor version, as in 3.13"
    for pattern in entry.patterns:
        try:
            select(scenarios, [pattern])
        except UsageError as error:
            return limits.place_of(at, pattern), str(error)
    if not entry.patterns:
        return limits.place(at), "an entry without numbers: give it a table [limits.objects], or remove it"
    return None
