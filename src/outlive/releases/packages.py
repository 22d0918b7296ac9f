"""Released packages: the changelogs that sdists and wheels carry, read once and kept in the cache."""

from __future__ import annotations

import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import requests
from pypi_simple import (
    DigestMismatchError,
    DistributionPackage,
    NoDigestsError,
    NoSuchProjectError,
    PyPISimple,
    UnsupportedContentTypeError,
)

from outlive import packed, temporary
from outlive.errors import FaultError, UnavailableError
from outlive.files import write_text
from outlive.project import Project, cache_dir
from outlive.records.release import Release
from outlive.releases import changelog, claims, frameworks
from outlive.releases.claims import Changelog
from outlive.releases.frameworks import ChangelogRules
from outlive.releases.index import TIMEOUT, address, unreadable
from outlive.releases.lineage import covered

NAMES = re.compile(r"(?:[^/]+/){1,2}(?:CHANGES|CHANGELOG|NEWS|HISTORY)(?:\.(?:rst|md|txt))?", re.IGNORECASE)
METADATA = re.compile(r"[^/]+/(?:PKG-INFO|METADATA)")  # its description may end in a changelog
MOST_PACKAGES = 12
"""Packages that are read for one framework. The newest has the changelog of its whole history mostly."""
NO_RULES = ChangelogRules()
NOT_THERE = "no released package that was read has a changelog that names it"


def refresh(project: Project, framework: str) -> tuple[Changelog, ...]:
    """Read the changelogs of the covered releases of `framework`, write their claims and return them.

    Raises UnavailableError where the index has no such project, and FaultError where it cannot be reached;
    what was written before is untouched then.
    """
    releases = covered(project, framework)
    rules = frameworks.load(project, framework).changelog
    found = claims.of_releases(releases, texts(framework, releases, rules), NOT_THERE, rules)
    claims.save(project, framework, found)
    return found


def texts(
    framework: str, releases: Sequence[Release], rules: ChangelogRules = NO_RULES
) -> list[tuple[str, str]]:
    """Return (file name of a package, text of its changelog), newest release first, until all are named."""
    found: list[tuple[str, str]] = []
    missing = {release.parsed for release in releases}
    tried = 0
    endpoint = address()
    try:
        with PyPISimple(endpoint) as client:
            packages = client.get_project_page(framework, timeout=TIMEOUT).packages
            for release in sorted(releases, key=lambda one: one.parsed, reverse=True):
                if release.parsed not in missing or tried == MOST_PACKAGES:
                    continue
                tried += 1
                for package in _of_release(packages, release):
                    if text := _text(client, package, rules.files):
                        found.append((package.filename, text))
                        missing -= changelog.versions(text, rules.heading)
                        break
    except NoSuchProjectError:
        raise UnavailableError(f"the package index has no project {framework}") from None
    except (DigestMismatchError, NoDigestsError) as error:
        raise FaultError(f"a package of {framework} is not what the index says: {error}") from None
    except (requests.RequestException, UnsupportedContentTypeError, OSError) as error:
        raise unreadable(endpoint, error) from None
    return found


def changelog_of(path: Path, files: Sequence[str] = ()) -> str:
    """Return the changelog that an sdist or a wheel carries, or its description; empty where there is none.

    Files that fit one of the patterns `files` make it up together. A damaged package has none.
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
    own = [one for one in packages if one.version == release.version]
    sdists = [one for one in own if one.package_type == "sdist"]
    wheels = sorted((one for one in own if one.package_type == "wheel"), key=lambda one: one.size or 0)
    return sdists + wheels[:1]


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
    """Yield the files of an archive that may be a changelog, never written to disk."""
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
    """Return whether a path, without the folder that all of an sdist is in, fits one of the patterns."""
    return any(fnmatchcase(name.partition("/")[2], pattern) for pattern in files)
