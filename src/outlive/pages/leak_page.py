"""The page of a leak or ring: what it is, which releases have it, how to see it."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from outlive.history import timeline
from outlive.history.lifelines import Fingerprint, Sighting
from outlive.history.steps import Steps
from outlive.history.timeline import Strip, Timeline
from outlive.pages.drawings import plots, ring
from outlive.pages.drawings.plots import Drawing
from outlive.pages.page import Frame, render
from outlive.reports.record import Facts, Report
from outlive.retention.trails import short_name
from outlive.wording import counted, listed, through

LEADS = {
    "cyclic": "Cyclic garbage: a collection frees it.",
    "leaked": "A leak: nothing frees it.",
    "bounded": "Growth that stops by itself.",
}
REMEDIES = {
    "cyclic": "Keep the collector on, or collect periodically. A fix breaks the suspect link.",
    "leaked": "No collection helps: restart workers after a number of requests (max_requests), or upgrade.",
    "bounded": "None needed, except room for it.",
}


class Findings(msgspec.Struct, frozen=True):
    """Everything the site shows of one framework; `title` is its name as its authors write it.

    `timeline` is its history on the Python with the most measured releases. `timelines` are those with at
    least two. `choices` are the options of the release pickers.
    """

    name: str
    title: str
    timeline: Timeline
    steps: Steps
    reports: list[Report]
    timelines: tuple[Timeline, ...]
    choices: dict[str, Any]
    facts: Facts


def leak(
    lifeline: Fingerprint,
    frameworks: Sequence[Findings],
    frame: Frame,
    scripted: Mapping[str, Container[str]],
    *,
    reproducer: str = "",
    issue: str = "",
) -> str:
    """Return the page of a fingerprint.

    `scripted` holds the scenarios that a reproducer can send, by framework. `reproducer` is the name of the
    script beside the page, and `issue` the address of the upstream issue, if known.
    """
    leak = lifeline.leak
    explain, sent = _explain(lifeline, frameworks, scripted)
    names = {sighting.framework for sighting in lifeline.sightings}
    affected = [findings for findings in frameworks if findings.name in names]
    name, lead, impact = short_name(leak.trail), LEADS[leak.growth], _impact(lifeline)
    return render(
        "leak.html.j2",
        frame,
        title=f"{name}: {lead}",
        summary=impact,
        leak=leak,
        name=name,
        lead=lead,
        impact=impact,
        remedy=REMEDIES[leak.growth],
        reproducer=reproducer,
        writes=f"{explain} --fingerprint {leak.fingerprint} --reproducer leak.py" if sent else "",
        issue=issue,
        releases="; ".join(_releases(lifeline, findings) for findings in affected),
        scenarios=list(dict.fromkeys(name for sighting in lifeline.sightings for name in sighting.scenarios)),
        newest=lifeline.newest,
        explain=explain,
        plots=[ring.drawing(leak), *(_plot(lifeline, findings) for findings in affected)],
        sightings=_sightings(lifeline),
    )


def _explain(
    lifeline: Fingerprint, frameworks: Sequence[Findings], scripted: Mapping[str, Container[str]]
) -> tuple[str, bool]:
    """Return the command that explains it in the last release that has it, and whether a script can show it.

    Prefers a cell whose scenario a script can send, then one that needs fewer options.
    """
    last = lifeline.sightings[-1]
    history = next(findings.timeline for findings in frameworks if findings.name == last.framework)
    moment = next(moment for moment in history.moments if moment.release.version == last.release)
    sendable = scripted.get(last.framework, ())
    cells = [
        (m.scenario not in sendable, leak.further, m.connection != "close", m.gc != "off", m)
        for m in moment.measurements
        for leak in m.leaks
        if leak.fingerprint == lifeline.leak.fingerprint
    ]
    unsendable, *_, cell = min(cells, key=lambda cell: cell[:-1])
    words = [f"outlive explain {last.framework}=={last.release} --scenario {cell.scenario}"]
    words += [f"--connection {cell.connection}"] if cell.connection != "close" else []
    words += [f"--gc {cell.gc}"] if cell.gc != "off" else []
    return " ".join([*words, f"--python {history.python}"]), not unsendable


def _sightings(lifeline: Fingerprint) -> Iterator[tuple[str, Sighting]]:
    """Yield the releases that have it, newest first; equal neighbours are one range."""

    def content(sighting: Sighting) -> tuple[str, float, tuple[str, ...]]:
        return sighting.framework, sighting.objects, sighting.scenarios

    for _, group in itertools.groupby(reversed(lifeline.sightings), key=content):
        run = list(group)
        yield f"{run[0].framework} {through(run[-1].release, run[0].release)}", run[0]


def _impact(lifeline: Fingerprint) -> str:
    """Return a sentence on how much it keeps in the last release that has it."""
    last = lifeline.sightings[-1]
    stays = {
        "cyclic": "none of it stays with the collector on, all of it with gc off",
        "leaked": "it stays whatever the collector does",
        "bounded": "and no more once it is full",
    }
    return (
        f"{counted(last.objects, 'object')} per {last.scenario} request in {last.framework} {last.release}; "
        f"{stays[lifeline.leak.growth]}."
    )


def _releases(lifeline: Fingerprint, findings: Findings) -> str:
    """Return the releases of a framework that have a fingerprint, as ranges of measured releases."""
    objects = _objects(lifeline, findings)
    measured = [moment.release.version for moment in findings.timeline.moments if moment.measurements]
    runs = [list(run) for has, run in itertools.groupby(measured, key=objects.__contains__) if has]
    return f"{findings.name} {listed([through(run[0], run[-1]) for run in runs])}"


def _objects(lifeline: Fingerprint, findings: Findings) -> dict[str, float]:
    """Return the objects that it keeps per request, at most, by release of a framework."""
    return {seen.release: seen.objects for seen in lifeline.sightings if seen.framework == findings.name}


def _plot(lifeline: Fingerprint, findings: Findings) -> Drawing:
    objects = _objects(lifeline, findings)
    points = tuple(
        timeline.Point(
            release=moment.release.version,
            date=str(moment.release.date or ""),
            yanked=moment.release.yanked,
            objects=objects.get(moment.release.version, 0.0) if moment.measurements else None,
            leaked=0.0,
            growth="cyclic",
        )
        for moment in findings.timeline.moments
    )
    strip = Strip(scenario="objects", connection="close", points=points)
    title = f"Objects that it keeps per request, at most, by release of {findings.name}"
    return Drawing(plots.history(f"seen-{findings.name}", title, [strip]), f"{title}; ✕ is yanked.")
