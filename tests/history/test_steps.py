"""Steps: releases at which what requests leave changes, what changed with it, what the changelog says."""

from __future__ import annotations

import datetime as dt
from io import StringIO

import pytest
from rich.console import Console

from comparisons import cell
from outlive.history import steps_text as report
from outlive.history import stored
from outlive.history.steps import Steps, find
from outlive.history.stored import fullest
from outlive.history.timeline import Moment, Timeline
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import Package
from outlive.releases.claims import Changelog, Claim
from outlive.tables import UNFOLDED


def release(version: str, month: int, yanked: str | None = None) -> Release:
    uploaded = dt.datetime(2024, month, 1, tzinfo=dt.UTC)
    return Release("aiohttp", version, uploaded, ">=3.8", yanked is not None, yanked, ("py3",), sdist=True)


FIRST = release("3.0.0", 1)
SECOND = release("3.1.0", 2)
LATE = release("3.0.1", 3)  # a maintenance release: its parent is the first, not the second
THIRD = release("3.2.0", 4, yanked="Regression: <b>all</b> of it")


def moment(which: Release, *objects: float, yarl: str = "1.9.4") -> Moment:
    names = ("ok", "not-found", "handler-error")
    cells = tuple(
        cell(name, count, published=which is not SECOND) for name, count in zip(names, objects, strict=False)
    )
    return Moment(which, cells, (Package("aiohttp", which.version), Package("yarl", yarl)))


def found(*moments: Moment, logs: tuple[Changelog, ...] | None = None) -> Steps:
    return find(Timeline("aiohttp", "3.11", moments), logs)


def history() -> Steps:
    fixed = Claim(text="Fixed a *leak* of requests", section="Bug fixes", issues=(10535,))
    return found(
        moment(FIRST, 7, 47, 36),
        moment(SECOND, 7, 47, 36),
        moment(LATE, 7, 43, 36, yarl="1.9.5"),
        moment(THIRD, 7, 40, 36),
        logs=(
            Changelog(release="3.0.1", source="aiohttp.tar.gz", reason=None, claims=()),
            Changelog(release="3.2.0", source="aiohttp.tar.gz", reason=None, claims=(fixed,)),
        ),
    )


def test_a_step_is_a_change_from_the_parent_and_not_from_the_neighbour() -> None:
    assert [(one.before.version, one.release.version) for one in history().steps] == [
        ("3.0.0", "3.0.1"),
        ("3.1.0", "3.2.0"),
    ]


def test_a_claim_is_held_against_the_release_that_a_step_is_from() -> None:
    late = Timeline(
        "aiohttp",
        "3.11",
        (moment(FIRST, 7, 47), moment(LATE, 7, 43), moment(SECOND, 7, 47), moment(THIRD, 7, 40)),
    )
    step = late.step_to("3.2.0")
    assert step
    assert (step[0], late.step_to("3.0.0")) == ("3.1.0", None)
    assert {one.release.version: one.before.version for one in find(late, None).steps} == {
        version: found[0] for version in ("3.0.1", "3.2.0") if (found := late.step_to(version))
    }


def test_what_changed_with_it_is_named() -> None:
    assert [one.packages for one in history().steps] == [("yarl 1.9.4 → 1.9.5",), ()]


def test_a_release_that_was_not_measured_is_passed_over() -> None:
    steps = found(moment(FIRST, 7, 47, 36), Moment(SECOND, ()), moment(THIRD, 7, 40, 36))
    assert [(one.before.version, one.release.version) for one in steps.steps] == [("3.0.0", "3.2.0")]
    assert [one.version for one in steps.missing] == ["3.1.0"]


def test_what_changes_only_as_ok_does_is_a_change_too() -> None:
    steps = found(moment(FIRST, 0, 47, 0), moment(SECOND, 9, 56, 0))
    assert [(row.scenario, row.as_ok) for row in steps.steps[0].rows] == [("ok", False), ("not-found", True)]


def test_without_a_changelog_it_says_so() -> None:
    steps = found(moment(FIRST, 0, 47), moment(SECOND, 0, 43))
    assert steps.steps[0].claims is None
    assert "Changelog: no changelog was available" in report.markdown([steps])


def test_the_page() -> None:
    page = report.markdown([history()])
    assert page.endswith(
        """\

## aiohttp

2 steps in 4 measured releases of aiohttp on Python 3.11. Measured here, not published: 3.1.0.

### 3.0.1 (2024-03-01), after 3.0.0

- With gc off:
  - not-found leaves less (47 → 43 objects per request)
  - better in 1 of 3 cells, worse in none
- Changed with it: yarl 1.9.4 → 1.9.5
- Changelog: nothing about memory

### 3.2.0 (2024-04-01), after 3.1.0

- With gc off:
  - not-found leaves less (47 → 40 objects per request)
  - better in 1 of 3 cells, worse in none
- Yanked: Regression: &lt;b>all&lt;/b> of it
- Changelog: “Fixed a \\*leak\\* of requests” (#10535)
"""
    )


def test_the_table() -> None:
    console = Console(file=StringIO(), width=60)
    report.show([history()], console)
    assert isinstance(console.file, StringIO)
    assert (
        console.file.getvalue()
        == """\
aiohttp
3.0.1 (2024-03-01)
  With gc off:
    - not-found leaves less (47 → 43 objects per request)
    - better in 1 of 3 cells, worse in none
3.2.0 (2024-04-01)
  With gc off:
    - not-found leaves less (47 → 40 objects per request)
    - better in 1 of 3 cells, worse in none
2 steps in 4 measured releases of aiohttp on Python 3.11.
Measured here, not published: 3.1.0.
"""
    )
    piped = Console(file=StringIO(), width=UNFOLDED)
    report.show([history()], piped)
    assert isinstance(piped.file, StringIO)
    assert all(line == line.rstrip() for line in piped.file.getvalue().splitlines())


@pytest.mark.parametrize(
    ("counts", "python"), [({"3.11": 2, "3.13": 3}, "3.13"), ({"3.11": 2, "3.13": 2}, "3.11"), ({}, "3.11")]
)
def test_a_history_is_on_the_python_with_most_measured_releases(
    monkeypatch: pytest.MonkeyPatch, counts: dict[str, int], python: str
) -> None:
    def load(_project: Project, framework: str, python: str) -> Timeline:
        moments = (moment(FIRST, 7), moment(SECOND, 7), moment(THIRD, 7))[: counts.get(python, 0)]
        return Timeline(framework, python, (*moments, Moment(LATE, ())))

    monkeypatch.setattr(stored, "load", load)
    assert fullest(Project.find(), "django").python == python


@pytest.mark.skipif(
    not (Project.find().published / "measurements").is_dir(), reason="no results are committed"
)
def test_the_committed_page_is_what_is_written_now() -> None:
    from outlive.releases import claims

    project = Project.find().publishing()
    steps = [
        find(fullest(project, framework), claims.load(project, framework))
        for framework in project.frameworks()
    ]
    assert (project.root / "docs" / "history.md").read_text() == report.markdown(steps)
