"""The project's documents as pages of the site, made by Sphinx if it is installed (the extra `docs`)."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

from outlive import processes, temporary
from outlive.errors import FaultError
from outlive.project import Project
from outlive.wording import one_line

LIMIT = 300.0
"""Seconds that Sphinx may take."""
HOME = '<a href="../index.html">outlive: all releases and reports</a>'
UNPUBLISHED = ("_sources", ".buildinfo")


def possible() -> bool:
    """Return whether Sphinx is installed."""
    return importlib.util.find_spec("sphinx") is not None


def build(project: Project) -> Path | None:
    """Make the documents' pages and return their folder; None without documents or Sphinx.

    Raises FaultError if Sphinx fails, for example at a dead link between documents.
    """
    source = project.root / "docs"
    if not (source / "conf.py").is_file() or not possible():
        return None
    pages, trees = (project.work / name for name in ("docs", "doctrees"))
    options: list[str | Path] = ["-W", "-q", "-d", trees, "-D", f"html_theme_options.announcement={HOME}"]
    with temporary.folder() as folder:  # Sphinx leaves a file there if it fails
        env = {**os.environ, "TMPDIR": str(folder)}
        done = processes.run(
            [sys.executable, "-m", "sphinx", *options, source, pages], env=env, timeout=LIMIT
        )
    if done.returncode:
        raise FaultError(f"Sphinx cannot make the documents' pages: {one_line(processes.complaint(done))}")
    return pages


def published(folder: Path) -> list[Path]:
    """Return the files in `folder` that belong on the site."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in files if not set(UNPUBLISHED) & set(path.relative_to(folder).parts)]
