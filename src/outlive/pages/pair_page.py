"""Pages for any two measured releases: those that are published, and the one that shows all others.

Each release ran with the dependencies of its time; a report holds them equal, and goes in a pair's place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from outlive.comparison.cells import Row, judge, match
from outlive.comparison.headline import withdrawn
from outlive.comparison.sizes import Rates
from outlive.history.steps import changed_packages
from outlive.history.timeline import Moment, Point, Timeline
from outlive.pages.drawings import plots
from outlive.pages.drawings.plots import Bar, Drawing
from outlive.pages.page import Frame, render
from outlive.records.measurement import CONNECTIONS, Measurement
from outlive.reports import verdict
from outlive.reports.answers import MEANS
from outlive.reports.record import Facts
from outlive.wording import counted, step

MOST_BARS = 12  # scenarios that the chart shows


def name(before: str, after: str, python: str) -> str:
    """Return the name of a pair's page, that of a report on the same two."""
    return f"{before}-to-{after}-py{python}"


def pairs(timeline: Timeline) -> tuple[tuple[Moment, Moment], ...]:
    """Return the pairs that have a page: neighbours, and each against the newest."""
    measured = [one for one in timeline.moments if one.measurements]
    last = measured[-1:]
    found = [*itertools.pairwise(measured), *((one, new) for new in last for one in measured[:-1])]
    return tuple({(a.release.version, b.release.version): (a, b) for a, b in found}.values())


def pair(
    before: Moment,
    after: Moment,
    timeline: Timeline,
    facts: Facts,
    frame: Frame,
) -> str:
    """Return the page of two releases."""
    measured, gaps = match(before.measurements, after.measurements)
    rates = Rates()
    rows = judge(measured, rates, facts.development)
    judgement = verdict.judge(rows, gaps, after.release, releases=facts.releases, python=timeline.python)
    judged = judgement.overall
    changed = [row for row in rows if row.direction != "same"]
    framework = timeline.framework
    versions = before.release.version, after.release.version
    subject = f"{framework} {step(*versions)}"
    policies = " and ".join(one.gc for one in judgement.policies)
    return render(
        "pair.html.j2",
        frame,
        title=f"{subject}, Python {timeline.python}, gc {policies}: {judged.verdict.lower()}",
        summary=judged.because,
        python=timeline.python,
        subject=subject,
        judged=judged,
        means=MEANS[judged.verdict],
        policies=policies,
        rows=rows,
        changed=changed,
        chart=_chart(rows),
        same=counted(len(rows) - len(changed), "cell"),
        sides={"before": before.release, "after": after.release},
        yanked=withdrawn([before.release, after.release]),
        packages=changed_packages(before, after),
        command=f"outlive report {framework} {' '.join(versions)} --python {timeline.python}",
        rates=rates,
    )


def any_pair(
    name: str,
    timelines: Sequence[Timeline],
    picked: dict[str, Any],
    facts: Facts,
    frame: Frame,
) -> str:
    """Return the page that shows any two releases of a framework, by a script, from the numbers in it."""
    title = f"{name}: any two releases"
    return render(
        "any.html.j2",
        frame,
        title=title,
        summary=f"What any two measured releases of {name} leave in memory after failed requests.",
        scripts=("pick.js", "any.js"),
        name=name,
        choices={name: picked},
        data={one.python: _data(one, [scenario for scenario, _ in facts.scenarios]) for one in timelines},
    )


def choices(timelines: Sequence[Timeline], reported: Iterable[str]) -> dict[str, Any]:
    """Return what the pickers choose from: the releases on each Python, newest first, and their pages."""
    known = set(reported)
    found = {}
    for one in timelines:
        releases = [moment.release.version for moment in reversed(one.moments) if moment.measurements]
        at = {version: place for place, version in enumerate(releases)}
        published = {(at[a.release.version], at[b.release.version]) for a, b in pairs(one)}
        published |= {(at[a], at[b]) for a in releases for b in releases if name(a, b, one.python) in known}
        found[one.python] = {"releases": releases, "pages": sorted(published)}
    return found


def _data(timeline: Timeline, scenarios: Sequence[str]) -> dict[str, Any]:
    """Return the releases, and for each cell what they leave in words: an index into `texts` for each."""
    measured = [one for one in timeline.moments if one.measurements]
    texts: dict[str, int] = {}
    cells: dict[str, list[int]] = {}
    order = {scenario: at for at, scenario in enumerate(scenarios)}
    for place, moment in enumerate(measured):
        for m in moment.measurements:
            said = _left(m)
            key = f"{m.scenario}|{m.connection}|{m.gc}"
            cells.setdefault(key, [-1] * len(measured))[place] = texts.setdefault(said, len(texts))
    ranked = sorted(cells.items(), key=lambda one: order.get(one[0].partition("|")[0], len(order)))
    return {
        "releases": [one.release.version for one in measured],
        "dates": [str(one.release.date or "") for one in measured],
        "yanked": [one.release.yanked for one in measured],
        "texts": list(texts),
        "cells": [[key, *values] for key, values in ranked],
    }


def _left(m: Measurement) -> str:
    """Return what a cell leaves, as the heat map says it."""
    objects = m.survivors_per_request if m.gc == "off" else m.leaked_per_request
    point = Point(
        release=m.release,
        date="",
        yanked=False,
        objects=objects,
        leaked=m.leaked_per_request,
        growth=m.growth or "none",
    )
    return plots.leaves(point)


def _chart(rows: Sequence[Row]) -> Drawing | None:
    """Return the scenarios that change most with gc off, on the connection where most change."""
    changed = [row for row in rows if row.gc == "off" and row.change]
    if not changed:
        return None
    connection = max(CONNECTIONS, key=lambda one: sum(row.connection == one for row in changed))
    own = sorted((row for row in changed if row.connection == connection), key=lambda row: -abs(row.change))
    title = f"Objects that each request leaves with gc off, {connection}"
    caption = f"{title}: before (grey) above after (blue); what no collection frees is hatched."
    return Drawing(plots.bars("bars", title, "objects", list(map(Bar.of, own[:MOST_BARS]))), caption)
