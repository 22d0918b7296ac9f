"""Where things are: the checkout (apps, scenarios, releases, results) and the cache (environments)."""

from __future__ import annotations

import os
import re
from pathlib import Path

import platformdirs

from outlive.errors import UsageError

INDEX_VARIABLES = ("OUTLIVE_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")


class Project:
    """A checkout of the repository: its folders are the database of what can be and was measured."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.apps = root / "apps"
        self.releases = root / "releases"
        self.results = root / "results"
        self.unreleased = root / ".outlive" / "results"
        self.loadtests = root / "loadtests"
        self.scenarios = self.loadtests / "scenarios.toml"

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the checkout named by OUTLIVE_ROOT, or the one that `start` (default: here) lies in.

        Raises UsageError where there is none.
        """
        named = os.environ.get("OUTLIVE_ROOT")
        start = Path(named) if named else (start or Path.cwd())
        for folder in [start.resolve(), *start.resolve().parents]:
            if (folder / "apps").is_dir() and (folder / "loadtests" / "scenarios.toml").is_file():
                return cls(folder)
        raise UsageError(
            f"{start} is not in a checkout of outlive: change into one, or set OUTLIVE_ROOT to its folder"
        )

    def frameworks(self) -> tuple[str, ...]:
        """Return the names of the frameworks that have a reference app, sorted."""
        return tuple(sorted(path.parent.name for path in self.apps.glob("*/app.toml")))


def cache_dir() -> Path:
    """Return the folder for environments and resolved locks: OUTLIVE_CACHE, or the user's cache folder."""
    named = os.environ.get("OUTLIVE_CACHE")
    return Path(named) if named else Path(platformdirs.user_cache_dir("outlive"))


def named_index() -> str | None:
    """Return the address of the package index (its simple endpoint) that the environment names, or None."""
    for variable in INDEX_VARIABLES:
        if address := os.environ.get(variable, "").strip():
            return re.sub(r"^[\w-]+=", "", address)  # uv allows NAME=ADDRESS
    return None
