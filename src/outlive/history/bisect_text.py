"""Prints a bisection: a line for each step, then the commit and what it changed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.console import Console

from outlive.history.bisect import Bisection, Question, Step, objects
from outlive.history.clone import Commit
from outlive.retention import changes_text
from outlive.tables import say, whole
from outlive.wording import counted, number, step

OUTCOMES = {"old": "old ", "new": "new ", "skip": "skip"}


def line(tried: Step) -> str:
    """Return one step in one line."""
    seconds = f"{tried.built + tried.measured:.1f} s".rjust(7)
    what = tried.reason or f"{tried.commit.date[:10]} {seconds}  {tried.commit.subject}"
    left = f"{_left(tried):>12}  " if tried.reason is None else ""
    return f"{OUTCOMES[tried.outcome]}  {tried.commit.short}  {left}{what}"


def show(found: Bisection, question: Question, console: Console) -> None:
    """Print the result of a bisection on `console`; its steps were printed while it ran."""
    for text in _lines(found, question):
        say(console, text)
    if found.changes:
        console.print(changes_text.grid(changes_text.told(found.changes, everything=True)))
    if found.further:
        again = repeat(found, question, found.suspects[0].short, question.new)
        whole(console, f"It changes again later: {again}")
    if found.parent:
        command = repeat(found, question, found.parent.short, found.suspects[0].short)
        whole(console, f"To repeat: {command}")


def repeat(found: Bisection, question: Question, old: str, new: str) -> str:
    """Return the command that bisects between two revisions with everything else the same."""
    words = ["outlive", "bisect", str(question.stack), old, new, "--repo", str(question.repository)]
    words += ["--package", question.package] if question.package != question.stack.framework else []
    cell = question.cell
    words += ["--scenario", cell.scenario, "--connection", cell.connection, "--gc", cell.gc]
    words += ["--by", question.what] if question.what != "count" else []
    words += ["--worker", question.worker] if question.worker else []
    if not question.stack.python:
        asked = question.python or ""
        words += ["--python", found.python if found.python.startswith(asked) else asked]
    words += ["--first-parent"] if question.first_parent else []
    return shlex.join([*words, *(f"--paths={path}" for path in question.paths)])


def _lines(found: Bisection, question: Question) -> Iterator[str]:
    cell = found.cell
    where = f"{cell.scenario}, {cell.connection}, gc {cell.gc}, Python {found.python}"
    if not found.suspects:
        ends = f"{question.old} and {question.new}"
        yield f"{found.package}: {ends} leave the same in {where}: {_left(found.new)}"
        return
    tried = f"{counted(len(found.steps), 'commit')} tried"
    skipped = sum(each.outcome == "skip" for each in found.steps)
    tried += f", {skipped} skipped" if skipped else ""
    if len(found.suspects) > 1:
        count = len(found.suspects)
        yield f"{found.package}: one of {count} commits; the others cannot be measured ({tried}):"
        yield from (f"  {_named(commit)}" for commit in found.suspects)
        return
    (commit,) = found.suspects
    yield ""
    if found.before and found.after:
        sides = [f"{number(objects(side) or 0)} {side.growth}" for side in (found.before, found.after)]
        yield f"{found.package}: {step(*sides)} per request in {where}, since this commit ({tried}):"
    else:
        yield (
            f"{found.package}: changed in {where} by this commit, whose parent cannot be measured ({tried}):"
        )
    yield f"  {commit.sha}"
    yield f"  {commit.date}  {commit.author}"
    yield f"  {commit.subject}"
    if commit.pull_request:
        yield f"  pull request {commit.pull_request}"
    for each in found.differences:
        yield f"  its metadata also changes: {each}"


def _named(commit: Commit) -> str:
    return f"{commit.short}  {commit.date[:10]}  {commit.subject}"


def _left(tried: Step) -> str:
    return f"{number(tried.objects or 0)} {tried.growth}"
