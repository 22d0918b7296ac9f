"""Runs uv, which finds interpreters, resolves and installs, and explains its errors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import uv

from outlive import git, processes, temporary
from outlive.errors import FaultError, OutliveError, UnavailableError
from outlive.project import named_index
from outlive.wording import USERINFO

# Users set these for other projects; they would change what is resolved or installed here.
IGNORED = (
    "PYTHONHOME",
    "PYTHONPATH",
    "UV_CONSTRAINT",
    "UV_EXCLUDE_NEWER",
    "UV_EXCLUDE_NEWER_PACKAGE",
    "UV_NO_BINARY",
    "UV_OVERRIDE",
    "UV_PRERELEASE",
    "UV_PYTHON",
    "UV_REQUIRE_HASHES",
    "UV_RESOLUTION",
    "VIRTUAL_ENV",
)
NO_ROOM = "No space left on device"
"""The message of uv, and of programs that it runs, on a full disk."""
UNREACHABLE = re.compile(
    r"Failed to fetch|error sending request|dns error|timed out|network (?:was|is) disabled|Could not connect"
)


def run_uv(arguments: Sequence[str | Path], *, cwd: Path | None = None) -> str:
    """Run uv and return what it prints.

    Raises UnavailableError if no set of packages fits, and FaultError for everything else.
    """
    done = try_uv(arguments, cwd=cwd)
    if done.returncode:
        raise explain(done.stderr)
    return done.stdout


def try_uv(
    arguments: Sequence[str | Path], *, text: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run uv and return how it ended. It downloads no interpreter and ignores the user's project settings.

    Builds that ask git for a version see their own tree, even if outlive runs in the hook of a repository.
    Everything that uv and builds leave in the temporary folder is removed.
    """
    environ = {name: value for name, value in os.environ.items() if name not in (*IGNORED, *git.LOCAL)}
    environ |= {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1", "NO_COLOR": "1"}
    if index := named_index():
        environ["UV_DEFAULT_INDEX"] = index
    with temporary.folder() as folder:
        return processes.run([_uv(), *arguments], env=environ | {"TMPDIR": str(folder)}, text=text, cwd=cwd)


def explain(stderr: str) -> OutliveError:
    """Return the error that uv reports on standard error, with a message of one line."""
    plain = USERINFO.sub("", re.sub(r"[^\x20-\x7e\n]", " ", stderr))
    text = " ".join(
        line.strip() for line in plain.splitlines() if not re.match(r"\s*(warning|hint|Using)\b", line)
    )
    if NO_ROOM in text:
        return FaultError(
            "the disk is full: free some room, or set OUTLIVE_CACHE to a folder on another disk"
        )
    if cache := re.search(r"Failed to initialize cache at `([^`]+)`", text):
        return FaultError(f"uv cannot write its cache {cache[1]}: set UV_CACHE_DIR to another folder")
    if hashes := re.search(r"Hash mismatch for `([^`]+)`", text):
        return FaultError(
            f"{hashes[1]}: the file from the package index does not have the hash of the lock: "
            "remove the lock if it was edited, and do not trust the index if it was not"
        )
    if UNREACHABLE.search(plain):
        place = re.search(r"https?://([^/\s`)]+)", plain)
        status = re.search(r"HTTP status \w+ error \((.+?)\) for", plain)
        return FaultError(
            f"the package index{f' at {place[1]}' if place else ''} cannot be "
            f"{f'read ({status[1]})' if status else 'reached'}: "
            "check the network, or name another index with OUTLIVE_INDEX_URL"
        )
    if unknown := re.search(r"Because (\S+) was not found in the package registry", text):
        return UnavailableError(f"the package index has no project {unknown[1]}")
    if missing := re.search(r"Because there is no version of (\S+==\S+)", text):
        return UnavailableError(f"the package index has no {missing[1]}")
    if wheel := re.search(r"Because (\S+) has no (?:usable wheels|wheels with a matching)", text):
        return UnavailableError(f"{wheel[1]} has no wheel for this Python and platform")
    if because := re.search(r"Because (.*)", text):
        reason = re.sub(r",? we can conclude that your requirements are unsatisfiable.*", "", because[1])
        return UnavailableError(f"no set of packages fits: {reason.rstrip('. ')}")
    return FaultError(f"uv failed: {re.sub(r'^error: ', '', text)[:300] or 'it said nothing'}")


def _uv() -> str:
    try:
        return uv.find_uv_bin()
    except FileNotFoundError:
        if path := shutil.which("uv"):
            return path
    raise FaultError("uv is not installed: install it next to outlive, as in `pip install uv`")
