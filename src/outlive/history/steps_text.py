"""The step changes in the history of frameworks, as Markdown and for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from outlive.comparison.markdown import bullets
from outlive.comparison.terminal import show_changes
from outlive.history.steps import Step, Steps
from outlive.tables import say
from outlive.wording import counted, listed, one_line

HEAD = """\
# Step changes in history

These are the releases at which the memory that requests leave changed. Each release is compared with the one
before it, with the dependencies of its time, on one Python: {scenarios}.
[How it counts](how-it-counts.md) explains what is counted and how a cell is judged. Each step also shows what
the release's changelog says about memory.

`outlive steps --markdown docs/history.md` writes this page from [`results/`](../results/README.md).
"""
SCENARIOS = "the default scenarios, the three usual kinds of connection, gc on and off"
SILENT = "nothing about memory"
UNDATED = "date unknown"
UNKNOWN = "no changelog was available"
ESCAPED = str.maketrans({"|": "\\|", "<": "&lt;", "*": "\\*", "_": "\\_", "`": "\\`", "[": "\\["})


def markdown(histories: Sequence[Steps]) -> str:
    """Return the page with the steps of several frameworks."""
    parts = [HEAD.format(scenarios=SCENARIOS)]
    for history in histories:
        parts += [f"\n## {history.framework}\n", _sentence(history)]
        for step in history.steps:
            parts += ["", *_section(step)]
    return "\n".join(parts).rstrip() + "\n"


def show(histories: Sequence[Steps], console: Console) -> None:
    """Print the steps of each framework, one list a release."""
    for history in histories:
        say(console, history.framework, "bold")
        for step in history.steps:
            say(console, f"{step.release.version} ({step.release.date or UNDATED})", "bold")
            show_changes(step.changes, console, "  ")
        say(console, _sentence(history))


def _sentence(history: Steps) -> str:
    """Return the number of steps and the releases that were not measured."""
    releases = counted(history.measured, "measured release")
    text = f"{counted(len(history.steps), 'step')} in {releases} of {history.framework}"
    text += f" on Python {history.python}."
    if history.missing:
        text += f" Not measured: {listed([release.version for release in history.missing], 6)}."
    return f"{text} {history.origin}".rstrip()


def _section(step: Step) -> list[str]:
    lines = [
        f"### {step.release.version} ({step.release.date or UNDATED}), after {step.before.version}",
        "",
        *bullets(step.changes),
    ]
    if step.release.yanked:
        lines.append(f"- Yanked: {_escaped(step.release.why_yanked)}")
    if step.packages:
        lines.append(f"- Changed with it: {listed(step.packages)}")
    if step.claims is None:
        lines.append(f"- Changelog: {UNKNOWN}")
    elif not step.claims:
        lines.append(f"- Changelog: {SILENT}")
    for claim in step.claims or ():
        issues = f" ({listed([f'#{number}' for number in claim.issues])})" if claim.issues else ""
        lines.append(f"- Changelog: \u201c{_escaped(claim.text)}\u201d{issues}")
    return lines


def _escaped(text: str) -> str:
    return one_line(text).translate(ESCAPED)
