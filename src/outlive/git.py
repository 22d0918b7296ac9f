"""Runs git on a repository of the user's, which it only reads."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from outlive import processes
from outlive.wording import one_line


def run(words: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    """Run git and return how it ended: with a status of 1 where it is not installed.

    Variables that point git at another repository, as those of a hook do, are removed.
    """
    if not shutil.which("git"):
        return subprocess.CompletedProcess(words, 1, "", "git is not installed")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return processes.run(["git", *words], env=variables | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"})


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return why git failed: the last line of what it said."""
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit status {done.returncode}"]
    return one_line(lines[-1].removeprefix("fatal: "))
