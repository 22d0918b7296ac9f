"""Runs git on the user's repositories, which are only read."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from outlive import processes
from outlive.wording import one_line

LOCAL = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""Variables for one repository (`git rev-parse --local-env-vars`); in a hook, the hook's repository."""
QUIETLY = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")
"""Options that keep a repository from running its owner's programs or leaving a daemon behind."""


def run(words: Sequence[str | Path], index: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run git without LOCAL and hooks, with `index` as its index; the status is 1 if git is not installed."""
    if not shutil.which("git"):
        return subprocess.CompletedProcess(words, 1, "", "git is not installed")
    variables = {name: value for name, value in os.environ.items() if name not in LOCAL}
    variables |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    if index:
        variables["GIT_INDEX_FILE"] = str(index)
    return processes.run(["git", *QUIETLY, *words], env=variables)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return why git failed: the last line of its output."""
    return one_line(processes.complaint(done).removeprefix("fatal: "))
