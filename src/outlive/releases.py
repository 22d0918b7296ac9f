"""Releases: what the package index says about every version of a framework, kept in the checkout.

The catalogue of a framework is `releases/<framework>/catalogue.json`, one release a line, so that a refresh
is a diff that can be read. `outlive.index` writes it.
"""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
import tempfile
from pathlib import Path

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from outlive import frameworks
from outlive.errors import FaultError, UsageError
from outlive.project import Project


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of a framework on the package index.

    `uploaded` is when its first file came (UTC), or None where the index does not say. `wheels` are the
    CPython tags of its wheels: `cp311`, `py3`, or `cp38-abi3` for 3.8 and everything newer.
    """

    framework: str
    version: str
    uploaded: dt.datetime | None
    requires_python: str | None
    yanked: bool
    yanked_reason: str | None
    wheels: tuple[str, ...]
    sdist: bool

    def __str__(self) -> str:
        return f"{self.framework} {self.version}"

    @property
    def parsed(self) -> Version:
        """The version, in the order of PEP 440."""
        return Version(self.version)

    @property
    def date(self) -> dt.date | None:
        """The day (UTC) on which it was uploaded."""
        return self.uploaded.date() if self.uploaded else None

    def supports(self, python: str) -> bool:
        """Return whether it is meant for `python` (`3.11`) and has a wheel for it."""
        return self.why_not(python) is None

    def why_not(self, python: str) -> str | None:
        """Return in one line why it cannot be installed on `python` (`3.11`, `3.12.1`), None where it can.

        Requires-Python may name a patch version (>=3.8.1): without one the newest patch is what counts.
        """
        _, minor, *rest = re.findall(r"\d+", python)
        patch = rest[0] if python.count(".") > 1 else "99"
        if self.requires_python and not SpecifierSet(self.requires_python).contains(f"3.{minor}.{patch}"):
            return f"{self} requires Python {self.requires_python}, not {python}"
        if not self.wheels:
            return f"{self} has no wheel, only a source distribution"
        if not any(_fits(tag, int(minor)) for tag in self.wheels):
            return f"{self} has no wheel for Python {python}; it has wheels for {self.pythons()}"
        return None

    def pythons(self) -> str:
        """Return the Pythons that its wheels are for, as in `3.7-3.10`."""
        if "py3" in self.wheels:
            return f"Python {self.requires_python}" if self.requires_python else "any Python 3"
        minors = sorted(int(tag[3:]) for tag in self.wheels if tag[2] == "3" and tag[3:].isdigit())
        runs: list[list[int]] = []
        for minor in minors:
            if runs and minor == runs[-1][1] + 1:
                runs[-1][1] = minor
            else:
                runs.append([minor, minor])
        named = [f"3.{low}" if low == high else f"3.{low}-3.{high}" for low, high in runs]
        named += [f"3.{tag[3:-5]} and newer" for tag in self.wheels if tag.endswith("-abi3")]
        return ", ".join(named) or ", ".join(self.wheels)


def _fits(tag: str, minor: int) -> bool:
    if tag.endswith("-abi3"):
        return int(tag[3:-5]) <= minor
    if tag == "py3":
        return True
    return tag == f"cp3{minor}" or (tag.startswith("py3") and int(tag[3:]) <= minor)


class Catalogue(msgspec.Struct, frozen=True):
    """All releases of one framework, pre-releases included, oldest version first.

    The history has those that fit one of the specifiers `covered`.
    """

    framework: str
    releases: tuple[Release, ...]
    covered: tuple[str, ...] = ("",)

    @classmethod
    def load(cls, project: Project, framework: str) -> Catalogue:
        """Return the committed catalogue of `framework`.

        Raises UsageError for a framework that has none, and FaultError for a file that does not decode.
        """
        path = catalogue_path(project, framework)
        if not path.is_file():
            known = sorted(found.parent.name for found in project.releases.glob("*/catalogue.json"))
            near = difflib.get_close_matches(framework, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known) or 'none'}"
            raise UsageError(f"no framework {framework!r} has a catalogue of releases; {hint}")
        try:
            releases = msgspec.json.decode(path.read_bytes(), type=tuple[Release, ...])
        except msgspec.DecodeError as error:
            raise FaultError(f"{path} is not a catalogue of releases: {error}") from None
        covered = frameworks.load(project, framework).covered
        return msgspec.structs.replace(cls.of(framework, releases), covered=covered)

    @classmethod
    def of(cls, framework: str, releases: tuple[Release, ...]) -> Catalogue:
        """Return a catalogue of `releases`, put into the order of PEP 440."""
        return cls(framework, tuple(sorted(releases, key=lambda release: release.parsed)))

    def save(self, project: Project) -> Path:
        """Write the catalogue, whole or not at all, and return its path."""
        path = catalogue_path(project, self.framework)
        lines = ",\n".join(msgspec.json.encode(release).decode() for release in self.releases)
        write_text(path, f"[\n{lines}\n]\n")
        return path

    def find(self, version: str) -> Release:
        """Return the release that equals `version` under PEP 440: 3.11 is 3.11.0.

        Raises UsageError, with the nearest versions, where there is none.
        """
        try:
            wanted = Version(version)
        except InvalidVersion:
            raise self._unknown(version, self._alike(version)) from None
        for release in self.releases:
            if release.parsed == wanted:
                return release
        raise self._unknown(version, self._near(wanted))

    def stable(self) -> tuple[Release, ...]:
        """Return the releases that are no pre-releases, yanked ones included, oldest version first."""
        return tuple(release for release in self.releases if not release.parsed.is_prerelease)

    def newest(self) -> Release:
        """Return the highest stable release that is not yanked."""
        for release in reversed(self.stable()):
            if not release.yanked:
                return release
        raise FaultError(f"the catalogue of {self.framework} has no stable release that is not yanked")

    def _unknown(self, version: str, nearest: list[str]) -> UsageError:
        return UsageError(
            f"{self.framework} has no release {version} in the catalogue; nearest: {', '.join(nearest)}"
        )

    def _alike(self, version: str) -> list[str]:
        versions = [release.version for release in self.releases]
        return difflib.get_close_matches(version, versions, cutoff=0.3) or [self.newest().version]

    def _near(self, wanted: Version) -> list[str]:
        place = sum(release.parsed < wanted for release in self.releases)
        pool = list(enumerate(self.releases))
        if not wanted.is_prerelease:
            pool = [(at, release) for at, release in pool if not release.parsed.is_prerelease]

        def distance(entry: tuple[int, Release]) -> tuple[int, int]:
            at, release = entry
            pairs = zip(release.parsed.release, wanted.release, strict=False)
            shared = next((n for n, (ours, theirs) in enumerate(pairs) if ours != theirs), 3)
            return -shared, abs(at - place)

        return [release.version for _, release in sorted(pool, key=distance)[:3]]


def catalogue_path(project: Project, framework: str) -> Path:
    """Return where the catalogue of `framework` is, or would be."""
    return project.releases / framework / "catalogue.json"


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all. Raises FaultError where the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FaultError(f"{path} cannot be written: {error.strerror}") from None
