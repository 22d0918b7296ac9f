"""Catalogues: what the package index says about every version of a framework, kept in the checkout.

A framework's catalogue is `releases/<framework>/catalogue.json`, with one release a line, so that diffs are
readable. `outlive.releases.index` writes it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

import msgspec
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from outlive.errors import FaultError, UsageError
from outlive.files import JsonDocument, read_bytes, write_list
from outlive.project import Project, cache_dir
from outlive.records.release import Release
from outlive.releases import frameworks


class Catalogue(msgspec.Struct, frozen=True):
    """All releases of one framework, including pre-releases, lowest version first.

    The history covers those that satisfy one of the specifiers `covered`.
    """

    framework: str
    releases: tuple[Release, ...]
    covered: tuple[str, ...] = ("",)

    @classmethod
    def load(cls, project: Project, framework: str) -> Catalogue:
        """Return the catalogue of `framework`: the committed one, or the user's if that is newer.

        Raises UsageError if the framework has none, and FaultError if a file is not a catalogue.
        """
        path = project.releases / framework / "catalogue.json"
        if not path.is_file():
            known = sorted(found.parent.name for found in project.releases.glob("*/catalogue.json"))
            near = difflib.get_close_matches(framework, known)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known) or 'none'}"
            raise UsageError(f"no framework {framework!r} has a catalogue of releases; {hint}")
        releases = _read(path)
        renewed = catalogue_path(project, framework)
        if renewed != path and renewed.is_file() and len(own := _read(renewed)) >= len(releases):
            releases = own  # not older than the one that comes with the package
        covered = frameworks.load(project, framework).covered
        return msgspec.structs.replace(cls.of(framework, releases), covered=covered)

    @classmethod
    def of(cls, framework: str, releases: tuple[Release, ...]) -> Catalogue:
        """Return a catalogue of `releases`, sorted as PEP 440 says."""
        return cls(framework, tuple(sorted(releases, key=lambda release: release.parsed)))

    def save(self, project: Project) -> Path:
        """Write the catalogue, as a whole or not at all, and return its path."""
        path = catalogue_path(project, self.framework)
        write_list(path, self.releases)
        return path

    def find(self, version: str) -> Release:
        """Return the release that equals `version` under PEP 440, where 3.11 is 3.11.0.

        Raises UsageError, with the nearest versions, if there is none.
        """
        try:
            wanted = Version(version)
        except ValueError:  # also a number with more digits than Python reads
            nearest = self._alike(version)
        else:
            for release in self.releases:
                if release.parsed == wanted:
                    return release
            nearest = self._near(wanted)
        raise UsageError(
            f"{self.framework} has no release {version} in the catalogue; nearest: {', '.join(nearest)}"
        )

    def stable(self) -> tuple[Release, ...]:
        """Return the releases that are not pre-releases, including yanked ones, lowest version first."""
        return tuple(release for release in self.releases if not release.parsed.is_prerelease)

    def newest(self) -> Release:
        """Return the highest stable release that is not yanked."""
        for release in reversed(self.stable()):
            if not release.yanked:
                return release
        raise FaultError(f"the catalogue of {self.framework} has no stable release that is not yanked")

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


class ReleasesDocument(JsonDocument, frozen=True, kw_only=True):
    """Releases of a framework as JSON."""

    releases: tuple[Release, ...]


def _read(path: Path) -> tuple[Release, ...]:
    try:
        releases = msgspec.json.decode(read_bytes(path), type=tuple[Release, ...])
        if fault := next(filter(None, (release.fault for release in releases)), None):
            raise FaultError(f"{path} is not a catalogue of releases: {fault}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FaultError(f"{path} is not a catalogue of releases: {error}") from None
    return releases


def catalogue_path(project: Project, framework: str) -> Path:
    """Return the path to which a renewed catalogue is written: outside a checkout, the user's own."""
    releases = project.releases if project.inside else cache_dir() / "releases"
    return releases / framework / "catalogue.json"


def wheel_tags(filenames: Iterable[str]) -> tuple[str, ...]:
    """Return the CPython tags of wheels, as in `Release.wheels`."""
    tags: set[str] = set()
    for filename in filenames:
        try:
            found = parse_wheel_filename(filename)[3]
        except (InvalidWheelFilename, InvalidVersion):  # from the early years
            continue
        for tag in found:
            if tag.interpreter.startswith(("cp3", "py3")) and not tag.abi.endswith("t"):  # t: free-threaded
                tags.add(f"{tag.interpreter}-abi3" if tag.abi == "abi3" else tag.interpreter)
    return tuple(sorted(tags))
