"""The page of a leak or ring: what it is, which releases have it, how to see it."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from outlive.history import timeline
from outlive.history.lifelines import Kept, Sighting
from outlive.history.steps import Steps
from outlive.history.timeline import Strip, Timeline
from outlive.pages.drawings import plots, ring
from outlive.pages.drawings.plots import Drawing
from outlive.pages.page import Frame, render
from outlive.reports.record import Facts, Report
from outlive.retention.trails import short_name
from outlive.wording import listed, number

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


class Known(msgspec.Struct, frozen=True):
    """All that is known of one framework; `title` is its name as it writes it itself.

    `timeline` is its history on the Python with most releases, `timelines` are all. `choices` are what the
    pickers of releases choose from.
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
    kept: Kept,
    frameworks: Sequence[Known],
    frame: Frame,
    scripted: Mapping[str, Container[str]],
    *,
    reproducer: str = "",
    issue: str = "",
) -> str:
    """Return the page of a fingerprint.

    `scripted` has the scenarios of each framework that a reproducer may send, `reproducer` the name of the
    script beside the page, and `issue` where it is tracked upstream, if known.
    """
    leak = kept.leak
    explain, sent = _explain(kept, frameworks, scripted)
    seen_in = {one.framework for one in kept.sightings}
    own = [known for known in frameworks if known.name in seen_in]
    name, lead, impact = short_name(leak.trail), LEADS[leak.growth], _impact(kept)
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
        releases="; ".join(_releases(kept, known) for known in own),
        scenarios=list(dict.fromkeys(name for one in kept.sightings for name in one.scenarios)),
        newest=kept.newest,
        explain=explain,
        plots=[ring.drawing(leak), *(_seen_plot(kept, known) for known in own)],
        sightings=_sightings(kept),
    )


def _explain(
    kept: Kept, frameworks: Sequence[Known], scripted: Mapping[str, Container[str]]
) -> tuple[str, bool]:
    """Return the command that explains it in the last release that has it, and whether a script may show it.

    Of the cells that show it, one that a script can send is named, and one of explain's default connection.
    """
    last = kept.sightings[-1]
    known = next(one for one in frameworks if one.name == last.framework)
    moment = next(one for one in known.timeline.moments if one.release.version == last.release)
    sendable = scripted.get(known.name, ())
    cells = [
        (m.scenario not in sendable, leak.further, m.connection != "close", m.gc != "off", m)
        for m in moment.measurements
        for leak in m.leaks
        if leak.fingerprint == kept.leak.fingerprint
    ]
    alone, *_, m = min(cells, key=lambda cell: cell[:-1])
    words = [f"outlive explain {last.framework}=={last.release} --scenario {m.scenario}"]
    words += [f"--connection {m.connection}"] if m.connection != "close" else []
    words += [f"--gc {m.gc}"] if m.gc != "off" else []
    return " ".join([*words, f"--python {known.timeline.python}"]), not alone


def _sightings(kept: Kept) -> Iterator[tuple[str, Sighting]]:
    """Yield the releases that have it, newest first; neighbours that say the same are one."""

    def says(one: Sighting) -> tuple[str, float, tuple[str, ...]]:
        return one.framework, one.objects, one.scenarios

    for _, group in itertools.groupby(reversed(kept.sightings), key=says):
        run = list(group)
        yield f"{run[0].framework} {plots.through(run[-1].release, run[0].release)}", run[0]


def _impact(kept: Kept) -> str:
    """Return how much it keeps, in the last release that has it."""
    last = kept.sightings[-1]
    stays = {
        "cyclic": "none of it stays with the collector on, all of it with gc off",
        "leaked": "it stays whatever the collector does",
        "bounded": "and no more once it is full",
    }
    return (
        f"{number(last.objects)} objects per {last.scenario} request in {last.framework} {last.release}; "
        f"{stays[kept.leak.growth]}."
    )


def _releases(kept: Kept, known: Known) -> str:
    """Return the releases of a framework that have a fingerprint, as runs of those that were measured."""
    own = {one.release for one in kept.sightings if one.framework == known.name}
    measured = [one.release.version for one in known.timeline.moments if one.measurements]
    runs = [list(run) for has, run in itertools.groupby(measured, key=own.__contains__) if has]
    return f"{known.name} {listed([plots.through(run[0], run[-1]) for run in runs])}"


def _seen_plot(kept: Kept, known: Known) -> Drawing:
    own = {one.release: one.objects for one in kept.sightings if one.framework == known.name}
    points = tuple(
        timeline.Point(
            release=moment.release.version,
            date=str(moment.release.date or ""),
            yanked=moment.release.yanked,
            objects=own.get(moment.release.version, 0.0) if moment.measurements else None,
            leaked=0.0,
            growth="cyclic",
        )
        for moment in known.timeline.moments
    )
    strip = Strip(scenario="objects", connection="close", points=points)
    title = f"Objects that it keeps per request, at most, by release of {known.name}"
    return Drawing(plots.history(f"seen-{known.name}", title, [strip]), f"{title}; ✕ is yanked.")
