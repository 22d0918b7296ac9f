"""Lineage: the releases that the history covers, and the release before each of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from packaging.specifiers import SpecifierSet

from outlive.project import Project
from outlive.records.release import Release
from outlive.releases.catalogue import Catalogue

PYTHON = "3.11"
"""The Python on which the whole history is measured."""


class ReleaseCommit(msgspec.Struct, frozen=True):
    """A release with its parent: the highest lower version that was published before it, or None."""

    release: Release
    parent: Release | None


def commits(catalogue: Catalogue) -> tuple[ReleaseCommit, ...]:
    """Return a commit for each covered release, in the order of upload.

    Stable releases are covered, including yanked ones, unless they have no upload date and so no place.
    """
    covered = _covered(catalogue)
    return tuple(ReleaseCommit(release, before(release, covered)) for release in by_upload(covered))


def _covered(catalogue: Catalogue) -> tuple[Release, ...]:
    covering = [SpecifierSet(specifier) for specifier in catalogue.covered]
    return tuple(
        release
        for release in catalogue.stable()
        if release.uploaded and any(specifier.contains(release.parsed) for specifier in covering)
    )


def by_upload(releases: Iterable[Release]) -> list[Release]:
    """Return the releases that have an upload date, in the order of upload."""
    dated = [(release.uploaded, release.parsed, release) for release in releases if release.uploaded]
    return [release for _, _, release in sorted(dated, key=lambda entry: entry[:2])]


def before(release: Release, releases: Iterable[Release]) -> Release | None:
    """Return the release before another: the highest lower version that was out when it was uploaded."""
    lower = [
        other
        for other in releases
        if other.uploaded
        and release.uploaded
        and other.uploaded < release.uploaded
        and other.parsed < release.parsed
    ]
    return max(lower, key=lambda other: other.parsed, default=None)


def branches(catalogue: Catalogue) -> dict[str, Release]:
    """Return the tip of each branch, by the branch's name; `flask` ends at the highest version.

    The others, such as `flask-2.2.x`, are maintenance branches: they end at a release that followed a higher
    one.
    """
    made = commits(catalogue)
    parents = {commit.parent for commit in made}
    tips = [commit.release for commit in made if commit.release not in parents]
    named: dict[str, Release] = {}
    for tip in sorted(tips, key=lambda tip: tip.parsed, reverse=True):
        series = f"{catalogue.framework}-{tip.parsed.major}.{tip.parsed.minor}.x"
        name = series if series not in named else f"{catalogue.framework}-{tip.version}.x"
        named[name if named else catalogue.framework] = tip
    return named


def tag(release: Release) -> str:
    """Return the name of the release's tag, as in `aiohttp-3.11.14`."""
    return f"{release.framework}-{release.version}"


def covered(project: Project, framework: str) -> tuple[Release, ...]:
    """Return the releases of `framework` that the history covers, lowest version first."""
    return _covered(Catalogue.load(project, framework))
