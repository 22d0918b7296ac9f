"""Copies the code of an application, its working tree or a git revision, and identifies it."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from outlive import git
from outlive.applications.settings import LIMITS, LONGEST_NAME
from outlive.errors import FaultError, UsageError
from outlive.files import copy_tree
from outlive.wording import one_line

LEFT_OUT = {".git", ".hg", ".outlive", ".tox", ".nox", "__pycache__", "node_modules"}
CACHES = re.compile(r"\..*_cache")
"""Names of folders that tools create: `.pytest_cache`, `.mypy_cache`."""
NOT_CODE = {LIMITS}
"""Files that do not affect how the app behaves."""


def left_out(folder: str, names: list[str]) -> list[str]:
    """Return the `names` in a folder that are not part of an app: virtual environments, caches, `.git`."""
    return [
        name
        for name in names
        if name in LEFT_OUT or CACHES.fullmatch(name) or (Path(folder) / name / "pyvenv.cfg").is_file()
    ]


def copy(app: Path, target: Path) -> None:
    """Copy the working tree of the app. Raises FaultError if that fails."""
    copy_tree(app, target, left_out, str(app))


def digest(app: Path, copied: Path) -> str:
    """Return eight hex digits that identify a copied working tree; files that git ignores do not count."""
    done = git.run(["-C", app, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."])
    if done.returncode == 0:
        paths = [copied / name for name in done.stdout.split("\0") if name]
    else:
        paths = list(copied.rglob("*"))
    checksum = hashlib.sha256()
    for path in sorted(paths):
        if (path.is_symlink() or path.is_file()) and path.name not in NOT_CODE:
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            checksum.update(f"{path.relative_to(copied)}\0{len(content)}\0".encode() + content)
    return checksum.hexdigest()[:8]


def revision(app: Path, name: str, tree: Path) -> tuple[str, Path]:
    """Write the app's repository at a git revision to `tree`; return the commit's hash, and the app there.

    Raises UsageError for an unknown revision or one without the app's folder, and FaultError if git fails.
    """
    done = git.run(["-C", app, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"])
    sha = done.stdout.strip()
    if done.returncode:
        raise UsageError(
            f"@{name}: git knows no such revision of {app}: {one_line(done.stderr)}".rstrip(": ")
        )
    done = git.run(["-C", app, "rev-parse", "--show-toplevel", "--show-prefix"])
    top, prefix = done.stdout.removesuffix("\n").split("\n")
    if git.run(["-C", top, "cat-file", "-e", f"{sha}:{prefix}"]).returncode:
        raise UsageError(f"@{name}: {app} is not in it")
    tree.parent.mkdir(parents=True, exist_ok=True)
    for words in (["read-tree", sha], ["checkout-index", "--all", f"--prefix={tree}/"]):
        done = git.run(["-C", top, *words], tree.with_suffix(".index"))
        if done.returncode:
            raise FaultError(f"@{name}: {app} cannot be copied: {git.said(done)}")
    return sha, tree / prefix


def local_version(text: str) -> str:
    """Return a name as the local part of a version: `feature/x-1` becomes `feature.x.1`.

    File names contain it, so it has at most LONGEST_NAME characters.
    """
    return re.sub(r"[^a-z0-9]+", ".", text.lower()).strip(".")[:LONGEST_NAME].strip(".") or "0"
