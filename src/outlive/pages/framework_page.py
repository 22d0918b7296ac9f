"""The pages of the site beside the reports: home, a framework, a leak, the feed, the badge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlive.comparison.cells import BASELINE
from outlive.comparison.headline import worst
from outlive.history import timeline
from outlive.history.lifelines import Kept
from outlive.history.steps import Step
from outlive.history.timeline import Strip, Timeline
from outlive.pages import pair_page
from outlive.pages.drawings import plots
from outlive.pages.drawings.badge import badge, newest
from outlive.pages.drawings.plots import Drawing
from outlive.pages.leak_page import Known
from outlive.pages.page import Frame, render
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.wording import counted, listed, number

MOST_STEPS = 10  # newest findings on the home page


def home(frameworks: Sequence[Known], frame: Frame) -> str:
    """Return the home page."""
    steps = sorted(
        ((step, known) for known in frameworks for step in known.steps.steps),
        key=lambda pair: str(pair[0].release.uploaded),
        reverse=True,
    )
    names = listed([one.title for one in frameworks])
    first = [known.timeline.moments[0].release for known in frameworks if known.timeline.moments]
    choices = {one.name: one.choices for one in frameworks if one.choices}
    return render(
        "home.html.j2",
        frame,
        title="outlive: memory after failed requests",
        summary=f"What releases of {names} leave in memory after failed requests, and what upgrades change.",
        scripts=("pick.js",) if choices else (),
        names=names,
        since=listed(list(map(str, first))),
        cards=list(map(_card, sorted(frameworks, key=lambda one: -len(one.steps.steps)))),
        compared=[report for known in frameworks for report in known.reports],
        newest=[_linked(step, known) for step, known in steps[:MOST_STEPS]],
        choices=choices,
    )


def _card(known: Known) -> dict[str, object]:
    """Return what the home page shows of a framework: its heat map and its newest finding."""
    last = next(reversed(known.steps.steps), None)
    return {
        "name": known.name,
        "title": known.title,
        "status": status(known.timeline),
        "measured": measured(known.timeline),
        "heat": next(_heats(known, common=True), None),
        "finding": _linked(last, known) if last else None,
        "chart": _finding(last, known) if last else None,
    }


def _finding(step: Step, known: Known) -> Drawing | None:
    """Return what each release leaves in the cell that the step changes most."""
    top = worst([row for row in step.rows if row.gc == "off"] or step.rows)
    found = [one for one in _strips(known, top.connection) if one.scenario == top.scenario] if top else []
    if not top or not found:
        return None
    title = f"Objects that a request leaves with gc off: {known.name}, {top.scenario}, {top.connection}"
    svg = plots.history(f"finding-{known.name}", title, found, (step.before.version, step.release.version))
    return Drawing(svg, f"{title}.", plots.legend(found))


def framework(known: Known, kept: Sequence[Kept], frame: Frame) -> str:
    """Return the page of a framework; `kept` are the leaks and rings of all."""
    summary = status(known.timeline)
    sightings = ((one, [seen for seen in one.sightings if seen.framework == known.name]) for one in kept)
    return render(
        "framework.html.j2",
        frame,
        title=f"{known.name}: what its releases leave in memory after failed requests",
        summary=summary,
        scripts=("pick.js",) if known.choices else (),
        known=known,
        measured=measured(known.timeline),
        choices={known.name: known.choices} if known.choices else {},
        heats=_heats(known),
        history=[strip for connection in CONNECTIONS for strip in _strips(known, connection)],
        lanes=_lanes(known.timeline),
        leaks=[(one, own) for one, own in sightings if own],
        changes=[_linked(step, known) for step in reversed(known.steps.steps)],
        badge=badge(known.timeline),
    )


def status(history: Timeline) -> str:
    """Return in a sentence or two what the newest measured release leaves."""
    last = newest(history)
    if last is None:
        return "No release is measured yet."
    leaking = sorted({m.scenario for m in last.measurements if m.growth == "leak"})
    off = [m for m in last.measurements if m.gc == "off" and m.scenario != BASELINE]
    top = max(off, key=lambda m: m.survivors_per_request or 0, default=None)
    said = f"{last.release} leaks in {listed(leaking, 4)}." if leaking else f"{last.release} leaks nowhere."
    if top is not None and (top.survivors_per_request or 0) > 0:
        said += (
            f" With gc off it leaves up to {number(top.survivors_per_request or 0)} objects per request "
            f"({top.scenario})."
        )
    elif off:
        said += " It leaves nothing behind, even with gc off."
    return said


def measured(history: Timeline) -> str:
    """Return how much of the history was measured."""
    count = sum(bool(one.measurements) for one in history.moments)
    said = f"{count} of {counted(len(history.moments), 'release')} measured on Python {history.python}."
    return f"{said} {history.origin}".rstrip()


def _linked(step: Step, known: Known) -> tuple[Step, str]:
    """Return a step with the address of its page."""
    page = pair_page.name(step.before.version, step.release.version, known.timeline.python)
    return step, f"{known.name}/{page}.html"


def _strips(known: Known, connection: Connection) -> tuple[Strip, ...]:
    return timeline.strips(known.timeline, known.facts.expected, connection)


def _heats(known: Known, *, common: bool = False) -> Iterator[Drawing]:
    """Yield a heat map for each kind of connection; with `common` without what few releases were asked."""
    for at, connection in enumerate(CONNECTIONS):
        strips = _strips(known, connection)
        if common:
            strips = tuple(one for one in strips if 2 * one.measured >= len(one.points)) or strips
        if strips:
            title = f"Objects left per request with gc off, {connection} connections"
            yield Drawing(
                plots.heat(f"heat-{known.name}-{at}", title, strips), f"{title}, by scenario and release."
            )


def _lanes(history: Timeline) -> Drawing | None:
    if not any(one.release.date for one in history.moments):
        return None
    title = f"Releases of {history.framework} over time"
    caption = (
        f"{title}: a square leaks, a full circle leaves cyclic garbage, an empty one nothing, "
        "a dash was not measured, ✕ is yanked."
    )
    return Drawing(plots.lanes("lanes", title, history), caption)
