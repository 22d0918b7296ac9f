"""A git repository to bisect in."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Repository:
    """A repository whose commits are told apart by their subjects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", self.folder, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, subject: str, path: str = "code.py") -> str:
        (self.folder / path).write_text(subject)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def state(self) -> tuple[str, ...]:
        """Return all that must stay as it is."""
        shown = (
            "for-each-ref",
            "status --short --branch",
            "worktree list",
            "stash list",
            "config --list --local",
        )
        objects = str(sorted((self.folder / ".git" / "objects").rglob("*")))
        return (*(self.git(*words.split()) for words in shown), objects)
