"""Asks the package index about the releases of a framework."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections import defaultdict
from collections.abc import Iterator

import msgspec
import requests
from packaging.version import Version
from pypi_simple import (
    PYPI_SIMPLE_ENDPOINT,
    DigestMismatchError,
    NoDigestsError,
    NoSuchProjectError,
    PyPISimple,
    UnsupportedContentTypeError,
)

from outlive.errors import FaultError, UnavailableError, UsageError
from outlive.project import Project, named_index
from outlive.records.release import Release
from outlive.releases.catalogue import Catalogue, wheel_tags
from outlive.wording import USERINFO

TIMEOUT = 60.0  # seconds without a byte


class Update(msgspec.Struct, frozen=True):
    """What a refresh of a catalogue changed, as versions; those in `undated` have no known upload time."""

    framework: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    undated: tuple[str, ...]


class _File(msgspec.Struct, frozen=True):
    """One file of a release; the fields are those of the index's per-project JSON."""

    filename: str
    packagetype: str
    upload_time_iso_8601: dt.datetime | None = None
    requires_python: str | None = None
    yanked: bool = False
    yanked_reason: str | None = None


class _Project(msgspec.Struct, frozen=True):
    releases: dict[str, list[_File]]


def address() -> str:
    """Return the address of the package index's simple endpoint, with a slash at the end."""
    return (named_index() or PYPI_SIMPLE_ENDPOINT).rstrip("/") + "/"


def update(project: Project, framework: str) -> Update:
    """Refresh the catalogue of `framework` from the package index and return what changed.

    A release that is gone from the index stays in the catalogue. Raises UsageError if the project does not
    have the framework, and FaultError if the index cannot be reached; the catalogue then stays as it is.
    """
    whole = (project.releases / framework / "catalogue.json").is_file()
    if not whole and framework not in project.frameworks():
        raise UsageError(f"no framework {framework!r}; there are {', '.join(project.frameworks()) or 'none'}")
    known = {r.version: r for r in Catalogue.load(project, framework).releases} if whole else {}
    fresh = {r.version: _dated(r, known.get(r.version)) for r in ask(framework)}
    catalogue = Catalogue.of(framework, tuple((known | fresh).values()))
    added = tuple(r.version for r in catalogue.releases if r.version not in known)
    changed = tuple(v for v in known if v in fresh and fresh[v] != known[v])
    if added or changed:
        catalogue.save(project)
    return Update(
        framework, added, changed, tuple(r.version for r in catalogue.releases if r.uploaded is None)
    )


def ask(framework: str) -> tuple[Release, ...]:
    """Return every release of `framework` on the package index.

    The index's JSON has everything in one answer; an index without it is asked by its simple API. Raises
    UnavailableError if it has no such project, and FaultError if it cannot be reached.
    """
    with asking(framework) as client:
        files = _from_json(client, framework)
        if files is None:
            files = _from_simple(client, framework)
    return tuple(_release(framework, version, found) for version, found in files.items() if found)


@contextlib.contextmanager
def asking(project: str) -> Iterator[PyPISimple]:
    """Yield a client of the package index, to ask it about one of its projects.

    Raises UnavailableError if it has no such project, and FaultError, with no password in it, if it cannot be
    read or if a package is not the one that it names.
    """
    endpoint = address()
    try:
        with PyPISimple(endpoint) as client:
            yield client
    except NoSuchProjectError:
        raise UnavailableError(f"the package index has no project {project}") from None
    except (DigestMismatchError, NoDigestsError) as error:
        raise FaultError(f"a package of {project} is not what the index says: {error}") from None
    except (requests.RequestException, UnsupportedContentTypeError, OSError) as error:
        cause = str(error).splitlines()[0] if isinstance(error, requests.HTTPError) else type(error).__name__
        raise FaultError(
            f"the package index at {USERINFO.sub('', endpoint)} cannot be read ({USERINFO.sub('', cause)}): "
            "check the network, or name another index with OUTLIVE_INDEX_URL"
        ) from None


def _from_json(client: PyPISimple, name: str) -> dict[str, list[_File]] | None:
    base, simple, _ = client.endpoint.rpartition("/simple/")
    if not simple:
        return None
    answer = client.s.get(f"{base}/pypi/{name}/json", timeout=TIMEOUT)
    if not answer.ok:
        return None
    try:
        releases = msgspec.json.decode(answer.content, type=_Project).releases
    except msgspec.DecodeError:  # a mirror that answers everything with a page
        return None
    return {version: files for version, files in releases.items() if _is_version(version)}


def _from_simple(client: PyPISimple, name: str) -> dict[str, list[_File]]:
    files: defaultdict[str, list[_File]] = defaultdict(list)
    for found in client.get_project_page(name, timeout=TIMEOUT).packages:
        if found.version and _is_version(found.version):
            kind = {"wheel": "bdist_wheel"}.get(found.package_type or "", found.package_type or "")
            files[found.version].append(
                _File(
                    found.filename,
                    kind,
                    found.upload_time,
                    found.requires_python,
                    bool(found.is_yanked),
                    found.yanked_reason,
                )
            )
    return files


def _release(framework: str, version: str, files: list[_File]) -> Release:
    times = [file.upload_time_iso_8601 for file in files if file.upload_time_iso_8601]
    return Release(
        framework=framework,
        version=version,
        uploaded=min(times).astimezone(dt.UTC).replace(microsecond=0) if times else None,
        requires_python=next((file.requires_python for file in files if file.requires_python), None),
        yanked=all(file.yanked for file in files),
        yanked_reason=next((file.yanked_reason for file in files if file.yanked_reason), None),
        wheels=wheel_tags(file.filename for file in files if file.packagetype == "bdist_wheel"),
        sdist=any(file.packagetype == "sdist" for file in files),
    )


def _dated(release: Release, known: Release | None) -> Release:
    """Return the release with the date that was known before, if the index gives none."""
    if release.uploaded is None and known is not None:
        return msgspec.structs.replace(release, uploaded=known.uploaded)
    return release


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except ValueError:
        return False
    return True
