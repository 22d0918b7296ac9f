"""What docs/claims.md quotes: each claim of a changelog about memory, and what results/ has of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from outlive.comparison.cells import BASELINE
from outlive.history.stored import fullest, load
from outlive.markdown import table
from outlive.project import Project
from outlive.releases import claims
from outlive.reports.claims import Held, Span, about, hold
from outlive.service import scenarios

HERE = Path(__file__).parent
HEADER = ("release", "its changelog", "seen", "on what", "between")
LONGEST = 160
"""Characters of a claim: enough to know it by; its issue has the rest."""


def held() -> str:
    """Return the table of all claims, a framework after the other."""
    project = Project.find(HERE).publishing()
    rows = [_row(framework, one) for framework in project.frameworks() for one in _held(project, framework)]
    return "\n".join(table(HEADER, rows))


def _held(project: Project, framework: str) -> Iterator[Held]:
    logs = claims.load(project, framework) or ()
    every = [one for one in scenarios.load_set(project.scenarios, "all") if one.about(framework)]
    names = [one.name for one in every]
    elsewhere = {
        name for log in logs for claim in log.claims if claim.elsewhere for name in about(claim, names)
    }
    usual = fullest(project, framework)
    further = load(
        project, framework, usual.python, [one for one in every if one.name in {BASELINE, *elsewhere}]
    )
    for log in logs:
        for claim in log.claims:
            if stepped := (further if claim.elsewhere else usual).step_to(log.release):
                yield hold(log.release, claim, stepped[1], Span(stepped[0], log.release, 0))


def _row(framework: str, one: Held) -> tuple[str, ...]:
    text = textwrap.shorten(one.claim.text, LONGEST, placeholder="…")
    seen = one.seen if one.measured else "not measured"
    issues = " ".join(f"#{issue}" for issue in one.claim.issues)
    return (f"{framework} {one.release}", f"{text} {issues}".rstrip(), seen, one.evidence, one.span)
