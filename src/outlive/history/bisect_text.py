"""Prints a bisection: a line for each step, then the commit and what it changed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console

from outlive.history.bisect import Attempt, Bisection, Question, objects
from outlive.history.clone import Commit
from outlive.retention import changes_text
from outlive.tables import say, whole
from outlive.wording import counted, number, step

OUTCOMES = {"old": "old ", "new": "new ", "skip": "skip"}


def line(tried: Attempt) -> str:
    """Return one step in one line."""
    seconds = f"{tried.built + tried.measured:.1f} s".rjust(7)
    what = tried.reason or f"{tried.commit.date[:10]} {seconds}  {tried.commit.subject}"
    left = f"{_left(tried):>12}  " if tried.reason is None else ""
    return f"{OUTCOMES[tried.outcome]}  {tried.commit.short}  {left}{what}"


def show(bisection: Bisection, question: Question, console: Console) -> None:
    """Print the result of a bisection on `console`; its steps were printed while it ran."""
    for text in _lines(bisection, question):
        say(console, text)
    if bisection.changes:
        console.print(changes_text.grid(changes_text.told(bisection.changes, everything=True)))
    if bisection.further:
        again = repeat(bisection, question, bisection.suspects[0].short, question.new)
        whole(console, f"It changes again later: {again}")
    if bisection.parent:
        command = repeat(bisection, question, bisection.parent.short, bisection.suspects[0].short)
        whole(console, f"To repeat: {command}")


def repeat(bisection: Bisection, question: Question, old: str, new: str) -> str:
    """Return the command that bisects between two revisions with everything else the same."""
    words = ["outlive", "bisect", str(question.stack), old, new, "--repo", str(question.repository)]
    words += ["--package", question.package] if question.package != question.stack.framework else []
    cell = question.cell
    words += ["--scenario", cell.scenario, "--connection", cell.connection, "--gc", cell.gc]
    words += ["--by", question.what] if question.what != "count" else []
    words += ["--worker", question.worker] if question.worker else []
    if not question.stack.python:
        asked = question.python or ""
        words += ["--python", bisection.python if bisection.python.startswith(asked) else asked]
    words += ["--first-parent"] if question.first_parent else []
    return shlex.join([*words, *(f"--paths={path}" for path in question.paths)])


def _lines(bisection: Bisection, question: Question) -> Iterator[str]:
    cell = bisection.cell
    where = f"{cell.scenario}, {cell.connection}, gc {cell.gc}, Python {bisection.python}"
    if not bisection.suspects:
        ends = f"{question.old} and {question.new}"
        yield f"{bisection.package}: {ends} leave the same in {where}: {_left(bisection.new)}"
        return
    tried = f"{counted(len(bisection.steps), 'commit')} tried"
    skipped = sum(each.outcome == "skip" for each in bisection.steps)
    tried += f", {skipped} skipped" if skipped else ""
    if len(bisection.suspects) > 1:
        count = len(bisection.suspects)
        yield f"{bisection.package}: one of {count} commits; the others cannot be measured ({tried}):"
        yield from (f"  {_named(commit)}" for commit in bisection.suspects)
        return
    (commit,) = bisection.suspects
    yield ""
    if bisection.before and bisection.after:
        sides = [
            f"{number(objects(side) or 0)} {side.growth}" for side in (bisection.before, bisection.after)
        ]
        yield f"{bisection.package}: {step(*sides)} per request in {where}, since this commit ({tried}):"
    else:
        yield (
            f"{bisection.package}: changed in {where} by this commit, "
            f"whose parent cannot be measured ({tried}):"
        )
    yield f"  {commit.sha}"
    yield f"  {commit.date}  {commit.author}"
    yield f"  {commit.subject}"
    if commit.pull_request:
        yield f"  pull request {commit.pull_request}"
    for each in bisection.differences:
        yield f"  its metadata also changes: {each}"


def _named(commit: Commit) -> str:
    return f"{commit.short}  {commit.date[:10]}  {commit.subject}"


def _left(tried: Attempt) -> str:
    return f"{number(tried.objects or 0)} {tried.growth}"
