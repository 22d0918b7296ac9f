"""Released packages: the changelogs that sdists and wheels carry, read once and kept in the cache."""

from __future__ import annotations

import re
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
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

from outlive.errors import FaultError, UnavailableError
from outlive.files import write_text
from outlive.project import Project, cache_dir
from outlive.records.release import Release
from outlive.releases import changelog, claims
from outlive.releases.claims import Changelog
from outlive.releases.index import TIMEOUT, address, unreadable
from outlive.releases.lineage import covered

NAMES = re.compile(r"(?:[^/]+/){1,2}(?:CHANGES|CHANGELOG|NEWS|HISTORY)(?:\.(?:rst|md|txt))?", re.IGNORECASE)
METADATA = re.compile(r"[^/]+/(?:PKG-INFO|METADATA)")  # its description may end in a changelog
MOST_PACKAGES = 12
"""Packages that are read for one framework. The newest has the changelog of its whole history mostly."""
LARGEST = 16 * 1024 * 1024  # bytes of a changelog; a larger file is none
NOT_THERE = "no released package that was read has a changelog that names it"


def refresh(project: Project, framework: str) -> tuple[Changelog, ...]:
    """Read the changelogs of the covered releases of `framework`, write their claims and return them.

    Raises UnavailableError where the index has no such project, and FaultError where it cannot be reached;
    what was written before is untouched then.
    """
    releases = covered(project, framework)
    found = claims.of_releases(releases, texts(framework, releases), NOT_THERE)
    claims.save(project, framework, found)
    return found


def texts(framework: str, releases: Sequence[Release]) -> list[tuple[str, str]]:
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
                    if text := _text(client, package):
                        found.append((package.filename, text))
                        missing -= changelog.versions(text)
                        break
    except NoSuchProjectError:
        raise UnavailableError(f"the package index has no project {framework}") from None
    except (DigestMismatchError, NoDigestsError) as error:
        raise FaultError(f"a package of {framework} is not what the index says: {error}") from None
    except (requests.RequestException, UnsupportedContentTypeError, OSError) as error:
        raise unreadable(endpoint, error) from None
    return found


def changelog_of(path: Path) -> str:
    """Return the changelog that an sdist or a wheel carries, or its description; empty where there is none.

    A damaged package has none.
    """
    named = described = ""
    try:
        for name, content in _members(path):
            text = content.decode("utf-8", "replace")
            if NAMES.fullmatch(name) and len(text) > len(named):
                named = text
            elif METADATA.fullmatch(name):
                described = text
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError):
        return ""
    return named or described


def _of_release(packages: Sequence[DistributionPackage], release: Release) -> list[DistributionPackage]:
    """Return the packages of a release that may have its changelog: the sdist, then the smallest wheel."""
    own = [one for one in packages if one.version == release.version]
    sdists = [one for one in own if one.package_type == "sdist"]
    wheels = sorted((one for one in own if one.package_type == "wheel"), key=lambda one: one.size or 0)
    return sdists + wheels[:1]


def _text(client: PyPISimple, package: DistributionPackage) -> str:
    kept = cache_dir() / "changelogs" / f"{package.filename}.txt"
    if kept.is_file():
        return kept.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="outlive-") as folder:
        path = Path(folder, "package")
        client.download_package(package, path, timeout=TIMEOUT)
        text = changelog_of(path)
    write_text(kept, text)
    return text


def _members(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files of an archive that may be a changelog, never written to disk."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if _wanted(entry.filename, entry.file_size):
                    yield entry.filename, archive.read(entry)
        return
    with tarfile.open(path) as tar:
        for member in tar:
            if member.isreg() and _wanted(member.name, member.size) and (file := tar.extractfile(member)):
                yield member.name, file.read()


def _wanted(name: str, size: int) -> bool:
    return size <= LARGEST and bool(NAMES.fullmatch(name) or METADATA.fullmatch(name))
