"""A private clone of a user's repository, in which git's own bisect runs and commits are checked out."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec

from outlive import git, temporary
from outlive.errors import FaultError, UsageError
from outlive.wording import one_line

Outcome = Literal["old", "new", "skip"]

FORMAT = "%H%x00%T%x00%aI%x00%an%x00%s"
PULL_REQUEST = re.compile(r"\(#(\d+)\)|^Merge (?:pull request|PR) #(\d+)", re.IGNORECASE)
FOUND = re.compile(r"^([0-9a-f]{40,64}) is the first new commit", re.MULTILINE)
LEFT = re.compile(r"^[0-9a-f]{40,64}$", re.MULTILINE)


class Commit(msgspec.Struct, frozen=True):
    """One commit: its hash and that of its tree, the author's date (ISO 8601) and name, the subject."""

    sha: str
    tree: str
    date: str
    author: str
    subject: str

    @property
    def short(self) -> str:
        """The first ten digits of its hash."""
        return self.sha[:10]

    @property
    def pull_request(self) -> str | None:
        """The number of the pull request that its subject names, as in `#5815`."""
        match = PULL_REQUEST.search(self.subject)
        return f"#{match[1] or match[2]}" if match else None


class Clone:
    """A clone in a temporary folder. It shares the repository's objects and changes nothing there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ahead = folder.with_name("ahead")  # a worktree outside of the bisection that is under way
        self._worktrees = threading.Lock()  # git changes only one worktree at a time

    @classmethod
    @contextlib.contextmanager
    def of(cls, repository: Path) -> Iterator[Self]:
        """Yield a clone of `repository`, removed after the context.

        Raises UsageError if it is none, and FaultError if cloning fails.
        """
        done = git.run(["-C", repository, "rev-parse", "--git-dir"])
        if done.returncode:
            raise UsageError(f"{repository} cannot be cloned: {git.said(done)}")
        with temporary.folder() as folder:
            path = folder.resolve() / "clone"
            done = git.run(["clone", "--quiet", "--shared", "--no-checkout", repository.resolve(), path])
            if done.returncode:
                raise FaultError(f"{repository} cannot be cloned: {git.said(done)}")
            yield cls(path)

    def resolve(self, repository: Path, revision: str) -> Commit:
        """Return the commit that `revision` names in the user's `repository`; the clone has no branches."""
        words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
        done = git.run(["-C", repository, *words])
        if done.returncode:
            raise UsageError(f"{repository} has no commit {revision!r}")
        return self.commit(done.stdout.strip())

    def commit(self, sha: str) -> Commit:
        """Return the commit `sha`."""
        fields = self._run("show", "--no-patch", f"--format={FORMAT}", sha).rstrip("\n").split("\0")
        return Commit(*fields[:3], *map(one_line, fields[3:]))

    def parting(self, old: Commit, new: Commit) -> Commit:
        """Return the merge base of two commits: `old` itself if it is an ancestor of `new`."""
        done = git.run(["-C", self.folder, "merge-base", old.sha, new.sha])
        if done.returncode:
            raise UsageError(f"{old.short} and {new.short} have no history in common")
        return self.commit(done.stdout.strip())

    def check_paths(self, old: Commit, new: Commit, paths: Sequence[str]) -> None:
        """Raise UsageError if no commit after `old`, up to `new`, touches one of these paths of any."""
        done = git.run(["-C", self.folder, "rev-list", "--max-count=1", new.sha, f"^{old.sha}", "--", *paths])
        if done.returncode:
            raise UsageError(f"--paths: {git.said(done)}")
        if not done.stdout:
            raise UsageError(f"no commit from {old.short} to {new.short} touches {', '.join(paths)}")

    def parent(self, commit: Commit) -> Commit:
        """Return the first parent of a commit that has one."""
        return self.commit(self._run("rev-parse", f"{commit.sha}^1").strip())

    @contextlib.contextmanager
    def checkout(self, commit: Commit) -> Iterator[Path]:
        """Yield a worktree of a commit, removed after the context. Several may exist at once."""
        with temporary.folder() as folder:
            path = folder.resolve() / "tree"
            with self._worktrees:
                self._run("worktree", "add", "--quiet", "--detach", "--force", str(path), commit.sha)
            try:
                yield path
            finally:
                with self._worktrees:
                    self._run("worktree", "remove", "--force", str(path))

    def bisect(
        self,
        old: Commit,
        new: Commit,
        judge: Callable[[Commit, tuple[Commit, ...]], Outcome],
        *,
        first_parent: bool = False,
        paths: Sequence[str] = (),
    ) -> tuple[Commit, ...]:
        """Return the first commit that `judge` calls new; several if some of them had to be skipped.

        `judge` gets the commit to try, and the commits of which one will be tried next.
        """
        self._run("worktree", "add", "--quiet", "--detach", "--no-checkout", str(self.ahead), new.sha)
        options = ["--first-parent"] if first_parent else []
        terms = ["--term-old=old", "--term-new=new"]
        output = self._run(
            "bisect", "start", "--no-checkout", *options, *terms, new.sha, old.sha, "--", *paths
        )
        olds = [old.sha]
        while not (first_changed := FOUND.search(output)):
            left = LEFT.findall(output)
            if left:
                return tuple(map(self.commit, left))
            tried = self.commit(self._run("rev-parse", "--verify", "BISECT_HEAD").strip())
            ways = ((tried.sha, olds), (new.sha, [*olds, tried.sha]))
            following = (self._middle(*way, options, paths) for way in ways)
            outcome = judge(tried, tuple(commit for commit in following if commit))
            output = self._run("bisect", outcome, tried.sha, fine=(0, 2))  # 2: only skipped ones are left
            if outcome == "old":
                olds.append(tried.sha)
            elif outcome == "new":
                new = tried
        return (self.commit(first_changed[1]),)

    def _middle(
        self, new: str, olds: Sequence[str], options: Sequence[str], paths: Sequence[str]
    ) -> Commit | None:
        """Return the commit that git would try next, or None if there is none."""
        words = ["rev-list", "--bisect", *options, new, "--not", *olds, "--", *paths]
        hashes = self._run(*words, folder=self.ahead).split()
        return self.commit(hashes[0]) if hashes and hashes[0] != new else None

    def _run(self, *words: str, fine: Sequence[int] = (0,), folder: Path | None = None) -> str:
        done = git.run(["-C", folder or self.folder, *words])
        if done.returncode not in fine:
            raise FaultError(f"git {words[0]} failed: {git.said(done)}")
        return done.stdout
