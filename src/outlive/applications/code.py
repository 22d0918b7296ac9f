"""The code of an application: the working tree, or one of its git revisions, copied and told apart."""

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
"""Names of folders that tools make: `.pytest_cache`, `.mypy_cache`."""
NOT_CODE = {LIMITS}
"""Files that say nothing about how the app behaves."""


def left_out(folder: str, names: list[str]) -> list[str]:
    """Return which of the `names` in a folder are no part of an app: virtual environments, caches, git's."""
    return [
        name
        for name in names
        if name in LEFT_OUT or CACHES.fullmatch(name) or (Path(folder) / name / "pyvenv.cfg").is_file()
    ]


def copy(app: Path, target: Path) -> None:
    """Copy the working tree of the app. Raises FaultError where that fails."""
    copy_tree(app, target, left_out, str(app))


def digest(app: Path, copied: Path) -> str:
    """Return eight hex digits of what is in a copied working tree; what git ignores does not count."""
    done = git.run(["-C", app, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."])
    if done.returncode == 0:
        paths = [copied / name for name in done.stdout.split("\0") if name]
    else:
        paths = list(copied.rglob("*"))
    found = hashlib.sha256()
    for path in sorted(paths):
        if (path.is_symlink() or path.is_file()) and path.name not in NOT_CODE:
            content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
            found.update(f"{path.relative_to(copied)}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:8]


def revision(app: Path, name: str, tree: Path) -> tuple[str, Path]:
    """Put the app's repository as it was at a git revision into `tree`; return its hash, and the app there.

    Raises UsageError where git does not know it, or it has no such folder, and FaultError where git fails.
    """
    done = git.run(["-C", app, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"])
    sha = done.stdout.strip()
    if done.returncode:
        raise UsageError(
            f"@{name}: git knows no such revision of {app}: {one_line(done.stderr)}".rstrip(": ")
        )
    found = git.run(["-C", app, "rev-parse", "--show-toplevel", "--show-prefix"])
    top, prefix = found.stdout.removesuffix("\n").split("\n")
    if git.run(["-C", top, "cat-file", "-e", f"{sha}:{prefix}"]).returncode:
        raise UsageError(f"@{name}: {app} is not in it")
    tree.parent.mkdir(parents=True, exist_ok=True)
    for words in (["read-tree", sha], ["checkout-index", "--all", f"--prefix={tree}/"]):
        done = git.run(["-C", top, *words], tree.with_suffix(".index"))
        if done.returncode:
            raise FaultError(f"@{name}: {app} cannot be copied: {git.said(done)}")
    return sha, tree / prefix


def local_version(text: str) -> str:
    """Return what a name becomes in the local part of a version: `feature/x-1` is `feature.x.1`.

    Names of files are made of it: it has at most LONGEST_NAME characters.
    """
    return re.sub(r"[^a-z0-9]+", ".", text.lower()).strip(".")[:LONGEST_NAME].strip(".") or "0"
