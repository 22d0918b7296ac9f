"""Pages for two measured releases: one for each published pair, and one that shows any other pair.

Each release ran with the dependencies of its time. A report holds them equal, so it replaces the pair's page.
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
from outlive.pages.drawings.plots import Drawing, PairBar
from outlive.pages.page import Frame, render
from outlive.records.measurement import CONNECTIONS, Measurement
from outlive.reports import verdict
from outlive.reports.answers import MEANS
from outlive.reports.record import Facts
from outlive.wording import counted, step

MOST_BARS = 12  # scenarios in the chart


def name(before: str, after: str, python: str) -> str:
    """Return the name of a pair's page, which is also that of a report on the pair."""
    return f"{before}-to-{after}-py{python}"


def pairs(timeline: Timeline) -> tuple[tuple[Moment, Moment], ...]:
    """Return the pairs that have a page: neighbours, and each release against the newest."""
    measured = [moment for moment in timeline.moments if moment.measurements]
    every = [*itertools.pairwise(measured), *((moment, measured[-1]) for moment in measured[:-1])]
    return tuple({(a.release.version, b.release.version): (a, b) for a, b in every}.values())


def pair(before: Moment, after: Moment, timeline: Timeline, facts: Facts, frame: Frame) -> str:
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
    policies = " and ".join(policy.gc for policy in judgement.policies)
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
    name: str, timelines: Sequence[Timeline], picked: dict[str, Any], facts: Facts, frame: Frame
) -> str:
    """Return the page whose script shows any two releases of a framework, from numbers in the page."""
    title = f"{name}: any two releases"
    scenarios = [scenario for scenario, _ in facts.scenarios]
    return render(
        "any.html.j2",
        frame,
        title=title,
        summary=f"What any two measured releases of {name} leave in memory after failed requests.",
        scripts=("pick.js", "any.js"),
        name=name,
        choices={name: picked},
        data={timeline.python: _data(timeline, scenarios) for timeline in timelines},
    )


def choices(timelines: Sequence[Timeline], reported: Iterable[str]) -> dict[str, Any]:
    """Return the pickers' options by Python: releases, newest first, and pairs with a page, as indexes."""
    reports = set(reported)
    options = {}
    for timeline in timelines:
        python = timeline.python
        releases = [moment.release.version for moment in reversed(timeline.moments) if moment.measurements]
        at = {version: place for place, version in enumerate(releases)}
        published = {(at[a.release.version], at[b.release.version]) for a, b in pairs(timeline)}
        published |= {(at[a], at[b]) for a in releases for b in releases if name(a, b, python) in reports}
        options[python] = {"releases": releases, "pages": sorted(published)}
    return options


def _data(timeline: Timeline, scenarios: Sequence[str]) -> dict[str, Any]:
    """Return the releases and, for each cell, what each leaves: an index into `texts`, -1 for none."""
    measured = [moment for moment in timeline.moments if moment.measurements]
    texts: dict[str, int] = {}
    cells: dict[str, list[int]] = {}
    order = {scenario: at for at, scenario in enumerate(scenarios)}
    for place, moment in enumerate(measured):
        for measurement in moment.measurements:
            text = _text(measurement)
            key = f"{measurement.scenario}|{measurement.connection}|{measurement.gc}"
            cells.setdefault(key, [-1] * len(measured))[place] = texts.setdefault(text, len(texts))
    ranked = sorted(cells.items(), key=lambda cell: order.get(cell[0].partition("|")[0], len(order)))
    return {
        "releases": [moment.release.version for moment in measured],
        "dates": [str(moment.release.date or "") for moment in measured],
        "yanked": [moment.release.yanked for moment in measured],
        "texts": list(texts),
        "cells": [[key, *values] for key, values in ranked],
    }


def _text(measurement: Measurement) -> str:
    """Return what a cell leaves, in the words of the heat map."""
    leaked = measurement.leaked_per_request
    point = Point(
        release=measurement.release,
        date="",
        yanked=False,
        objects=measurement.survivors_per_request if measurement.gc == "off" else leaked,
        leaked=leaked,
        growth=measurement.growth or "none",
    )
    return plots.leaves(point)


def _chart(rows: Sequence[Row]) -> Drawing | None:
    """Return a plot of the scenarios that change most with gc off, on the connection with most changes."""
    changed = [row for row in rows if row.gc == "off" and row.change]
    if not changed:
        return None
    connection = max(CONNECTIONS, key=lambda kind: sum(row.connection == kind for row in changed))
    shown = sorted((row for row in changed if row.connection == connection), key=lambda row: -abs(row.change))
    title = f"Objects that each request leaves with gc off, {connection}"
    caption = f"{title}: before (grey) above after (blue); what no collection frees is hatched."
    return Drawing(plots.bars("bars", title, "objects", list(map(PairBar.of, shown[:MOST_BARS]))), caption)
