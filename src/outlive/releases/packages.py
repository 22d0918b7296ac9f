"""Reads the changelogs in released packages, sdists and wheels, and keeps them in the cache."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from pypi_simple import DistributionPackage, PyPISimple

from outlive import packed, temporary
from outlive.files import write_text
from outlive.project import Project, cache_dir
from outlive.records.release import Release
from outlive.releases import changelog, claims, frameworks
from outlive.releases.claims import Changelog
from outlive.releases.frameworks import ChangelogRules
from outlive.releases.index import TIMEOUT, asking
from outlive.releases.lineage import covered

NAMES = re.compile(r"(?:[^/]+/){1,2}(?:CHANGES|CHANGELOG|NEWS|HISTORY)(?:\.(?:rst|md|txt))?", re.IGNORECASE)
METADATA = re.compile(r"[^/]+/(?:PKG-INFO|METADATA)")  # its description may end with a changelog
MOST_PACKAGES = 12
"""Most packages read for one framework; usually the newest has the changelog of the whole history."""
NO_RULES = ChangelogRules()
NOT_THERE = "no released package that was read has a changelog that names it"  # as stored in claims.json


def refresh(project: Project, framework: str) -> tuple[Changelog, ...]:
    """Read the changelogs of the covered releases of `framework`, write their claims and return them.

    Raises UnavailableError if the index has no such project, and FaultError if it cannot be reached; the file
    then stays as it is.
    """
    releases = covered(project, framework)
    rules = frameworks.load(project, framework).changelog
    logs = claims.of_releases(releases, texts(framework, releases, rules), NOT_THERE, rules)
    claims.save(project, framework, logs)
    return logs


def texts(
    framework: str, releases: Sequence[Release], rules: ChangelogRules = NO_RULES
) -> list[tuple[str, str]]:
    """Return (package's file name, its changelog), newest release first, until every release is named."""
    changelogs: list[tuple[str, str]] = []
    missing = {release.parsed for release in releases}
    tried = 0
    with asking(framework) as client:
        packages = client.get_project_page(framework, timeout=TIMEOUT).packages
        for release in sorted(releases, key=lambda release: release.parsed, reverse=True):
            if release.parsed not in missing or tried == MOST_PACKAGES:
                continue
            tried += 1
            for package in _of_release(packages, release):
                if text := _text(client, package, rules.files):
                    changelogs.append((package.filename, text))
                    missing -= changelog.versions(text, rules.heading)
                    break
    return changelogs


def changelog_of(path: Path, files: Sequence[str] = ()) -> str:
    """Return the changelog in an sdist or a wheel, or else its description, or else "".

    If files fit one of the patterns `files`, they are the changelog together. A damaged package has none.
    """
    own: list[str] = []
    named = described = ""
    try:
        for name, content in _members(path, files):
            text = content.decode("utf-8", "replace")
            if _fits(name, files):
                own.append(text)
            elif NAMES.fullmatch(name) and len(text) > len(named):
                named = text
            elif METADATA.fullmatch(name):
                described = text
    except packed.DAMAGE:
        return ""
    return "\n".join(own) or named or described


def _of_release(packages: Sequence[DistributionPackage], release: Release) -> list[DistributionPackage]:
    """Return the packages of a release that may have its changelog: the sdist, then the smallest wheel."""
    own = [package for package in packages if package.version == release.version]
    sdists = [package for package in own if package.package_type == "sdist"]
    wheels = [package for package in own if package.package_type == "wheel"]
    return sdists + sorted(wheels, key=lambda wheel: wheel.size or 0)[:1]


def _text(client: PyPISimple, package: DistributionPackage, files: Sequence[str]) -> str:
    rules = "".join(f"-{re.sub(r'[^a-z]', '-', file)}" for file in files)
    kept = cache_dir() / "changelogs" / f"{package.filename}{rules}.txt"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    with temporary.folder() as folder:
        path = folder / "package"
        client.download_package(package, path, timeout=TIMEOUT)
        text = changelog_of(path, files)
    write_text(kept, text)
    return text


def _members(path: Path, files: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the files in an archive that may be a changelog; none is written to disk."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if _wanted(entry.filename, entry.file_size, files):
                    yield entry.filename, packed.member(archive, entry.filename)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isreg() and _wanted(member.name, member.size, files):
                file = tar.extractfile(member)
                assert file is not None, "a regular file has content"
                yield member.name, file.read(packed.LARGEST)


def _wanted(name: str, size: int, files: Sequence[str]) -> bool:
    named = NAMES.fullmatch(name) or METADATA.fullmatch(name) or _fits(name, files)
    return size <= packed.LARGEST and bool(named)


def _fits(name: str, files: Sequence[str]) -> bool:
    """Return whether a path, without its first folder, fits one of the patterns."""
    return any(fnmatchcase(name.partition("/")[2], pattern) for pattern in files)
