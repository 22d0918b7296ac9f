"""Finds the folders of the checkout or the installed package, of results, and of the cache."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path

import platformdirs

from outlive.errors import UsageError
from outlive.wording import one_line

INSTALLED = Path(__file__).parent / "data"
"""The data in a wheel: apps, scenarios, releases and published results."""
SOURCE = Path(__file__).parents[2]
"""The checkout from which an editable install runs."""
WORK = ".outlive"
"""The folder for what users measure; git ignores it."""
TEMPORARY = "outlive-"
"""The start of the name of each temporary folder."""
INDEX_VARIABLES = ("OUTLIVE_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


class Project:
    """The folders of apps, scenarios and releases, of published results, and of the user's measurements.

    `root` is a checkout of the repository, or the data in the installed package. Results go to `measured`: a
    folder that the user `named`, or one in `work`. Only publishing writes outside of `measured` and `work`.
    If the user is `inside` the checkout, some verbs update its files; elsewhere they are only read.
    """

    def __init__(self, root: Path, work: Path | None = None, measured: Path | None = None) -> None:
        self.root = root
        self.apps = root / "apps"
        self.releases = root / "releases"
        self.loadtests = root / "loadtests"
        self.scenarios = self.loadtests / "scenarios.toml"
        self.published = root / "results"
        self.work = work or root / WORK
        self.measured = measured or self.work / "results"
        self.named = measured is not None
        self.inside = work is None

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the checkout that OUTLIVE_ROOT names or that contains `start` (here), else the package.

        Its `work` is `.outlive` in the checkout or, without one, in `start`; OUTLIVE_RESULTS names another
        folder for new results. Raises UsageError if OUTLIVE_ROOT is not in a checkout.
        """
        root = os.environ.get("OUTLIVE_ROOT")
        start = (Path(root) if root else start or Path.cwd()).absolute()
        results = os.environ.get("OUTLIVE_RESULTS")
        measured = Path(results).absolute() if results else None
        if measured:
            place = next(place for place in (measured, *measured.parents) if place.exists())
            if not place.is_dir():
                raise UsageError(f"results are kept in a folder, but {place} is not one")
        for folder in [start.resolve(), *start.resolve().parents]:
            if _is_root(folder):
                return cls(folder, None, measured)
        if root:
            raise UsageError(f"OUTLIVE_ROOT: {root} is not in a checkout of outlive")
        for folder in (INSTALLED, SOURCE):
            if _is_root(folder):
                return cls(folder, start / WORK, measured)
        raise UsageError(f"outlive is incomplete: {INSTALLED} is missing; reinstall it")

    @property
    def publishes(self) -> bool:
        """Whether new results go into the published folder."""
        return self.measured.resolve() == self.published.resolve()

    @property
    def results(self) -> tuple[Path, ...]:
        """The folders of results; the user's comes first."""
        return (self.measured,) if self.publishes else (self.measured, self.published)

    def publishing(self) -> Project:
        """Return the same project with the published results as its own, and no others."""
        return Project(self.root, None if self.inside else self.work, self.published)

    def at(self, folder: Path) -> Project:
        """Return the same project for an app in `folder`, which keeps the measurements of the app."""
        project = copy.copy(self)
        project.work = folder / WORK
        project.measured = self.measured if self.named else project.work / "results"
        return project

    def renewable(self, what: str) -> None:
        """Raise UsageError outside of a checkout, where files are only read; `what` names the command."""
        if not self.inside:
            raise UsageError(f"{what} updates files in a checkout of outlive: change into one")

    def frameworks(self) -> tuple[str, ...]:
        """Return the names of the frameworks that have a reference app, sorted."""
        return tuple(sorted(path.parent.name for path in self.apps.glob("*/app.toml")))


def _is_root(folder: Path) -> bool:
    return (folder / "apps").is_dir() and (folder / "loadtests" / "scenarios.toml").is_file()


def cache_dir() -> Path:
    """Return the folder for environments and resolved locks: OUTLIVE_CACHE, or the user's cache folder."""
    named = os.environ.get("OUTLIVE_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("outlive"))


def named_index() -> str | None:
    """Return the address of the package index (its simple endpoint) that the environment names, or None.

    Raises UsageError for a value that is neither an address nor a folder: uv would see an empty index.
    """
    for variable in INDEX_VARIABLES:
        if named := os.environ.get(variable, "").strip():
            address = re.sub(r"^[\w-]+=", "", named)  # uv allows NAME=ADDRESS
            if "://" not in address and not Path(address).is_dir():
                raise UsageError(f"{variable}: {one_line(address)!r} is not the address of a package index")
            return address
    return None


def shown(path: Path) -> Path:
    """Return `path` relative to the current folder if it is below it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
