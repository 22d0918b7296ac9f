"""The pages of the site beside the reports: home, a framework, a leak, the feed, the badge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from outlive import __version__
from outlive.comparison.cells import BASELINE
from outlive.comparison.headline import worst
from outlive.history import timeline
from outlive.history.lifelines import Kept, Sighting
from outlive.history.steps import Step
from outlive.history.timeline import Strip, Timeline
from outlive.pages import pair_page
from outlive.pages.drawings import plots
from outlive.pages.drawings.badge import badge
from outlive.pages.drawings.plots import Drawing
from outlive.pages.leak_page import Known
from outlive.pages.lists import ReportLine, _newest, report_line
from outlive.pages.page import Frame, render
from outlive.pages.report_page import StripLine
from outlive.pages.tally import Tally, tallies
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.retention.trails import short_name
from outlive.wording import counted, listed, number, one_line

MOST_STEPS = 10  # newest findings on the home page


class StepLine(msgspec.Struct, frozen=True):
    """A release that leaves something else than the one before it."""

    release: str
    before: str
    date: str
    yanked: bool
    href: str
    tallies: tuple[Tally, ...]
    packages: str
    claims: tuple[str, ...]


class Card(msgspec.Struct, frozen=True):
    """A framework on the home page."""

    name: str
    title: str
    status: str
    measured: str
    heat: Drawing | None
    finding: StepLine | None
    chart: Drawing | None


class Home(msgspec.Struct, frozen=True):
    """What the home page shows; `choices` are what its pickers choose from."""

    names: str
    since: str
    frameworks: tuple[Card, ...]
    reports: tuple[ReportLine, ...]
    steps: tuple[StepLine, ...]
    choices: dict[str, Any]
    version: str = __version__


class LeakLine(msgspec.Struct, frozen=True):
    """A fingerprint in a framework's table."""

    name: str
    href: str
    kind: str
    package: str
    releases: str
    objects: str


class Yanked(msgspec.Struct, frozen=True):
    """A withdrawn release, and why."""

    version: str
    reason: str


class FrameworkPage(msgspec.Struct, frozen=True, kw_only=True):
    """What a framework's page shows."""

    name: str
    status: str
    measured: str
    python: str
    choices: dict[str, Any]
    heats: tuple[Drawing, ...]
    strips: tuple[StripLine, ...]
    lanes: Drawing | None
    reports: tuple[ReportLine, ...]
    leaks: tuple[LeakLine, ...]
    steps: tuple[StepLine, ...]
    yanked: tuple[Yanked, ...]
    badge: Markup
    version: str = __version__


def home(frameworks: Sequence[Known], frame: Frame) -> str:
    """Return the home page."""
    steps = [(step, known) for known in frameworks for step in known.steps.steps]
    steps.sort(key=lambda pair: str(pair[0].release.uploaded), reverse=True)
    names = listed([one.title for one in frameworks])
    page = Home(
        names=names,
        since=listed(
            [
                f"{one.name} {one.timeline.moments[0].release.version}"
                for one in frameworks
                if one.timeline.moments
            ]
        ),
        frameworks=tuple(map(_card, sorted(frameworks, key=lambda one: -len(one.steps.steps)))),
        reports=tuple(report_line(report) for known in frameworks for report in known.reports),
        steps=tuple(_step(step, known) for step, known in steps[:MOST_STEPS]),
        choices={one.name: one.choices for one in frameworks if one.choices},
    )
    summary = f"What releases of {names} leave in memory after failed requests, and what upgrades change."
    title = "outlive: memory after failed requests"
    scripts = ("pick.js",) if page.choices else ()
    return render("home.html.j2", frame, title=title, summary=summary, scripts=scripts, page=page)


def _card(known: Known) -> Card:
    """Return a framework with its heat map and its newest finding."""
    last = next(reversed(known.steps.steps), None)
    return Card(
        known.name,
        known.title,
        status(known.timeline),
        measured(known.timeline),
        next(_heats(known, common=True), None),
        _step(last, known) if last else None,
        _finding(last, known) if last else None,
    )


def _finding(step: Step, known: Known) -> Drawing | None:
    """Return what each release leaves in the cell that the step changes most."""
    top = worst([row for row in step.rows if row.gc == "off"] or step.rows)
    found = [one for one in _strips(known, top.connection) if one.scenario == top.scenario] if top else []
    if not top or not found:
        return None
    title = f"Objects that a request leaves with gc off: {known.name}, {top.scenario}, {top.connection}"
    svg = plots.history(f"finding-{known.name}", title, found, (step.before.version, step.release.version))
    return Drawing(svg, f"{title}.", plots.legend(found))


def framework(known: Known, frame: Frame) -> str:
    """Return the page of a framework."""
    page = FrameworkPage(
        name=known.name,
        status=status(known.timeline),
        measured=measured(known.timeline),
        python=known.timeline.python,
        choices={known.name: known.choices} if known.choices else {},
        heats=tuple(_heats(known)),
        strips=tuple(
            StripLine(strip.scenario, strip.connection, plots.runs(strip))
            for connection in CONNECTIONS
            for strip in _strips(known, connection)
        ),
        lanes=_lanes(known.timeline),
        reports=tuple(map(report_line, known.reports)),
        leaks=tuple(_leak(one, known.name) for one in known.kept if _of(one, known.name)),
        steps=tuple(_step(step, known) for step in reversed(known.steps.steps)),
        yanked=tuple(
            Yanked(one.release.version, one_line(one.release.yanked_reason or "no reason is given"))
            for one in reversed(known.timeline.moments)
            if one.release.yanked
        ),
        badge=badge(known.timeline),
    )
    title = f"{known.name}: what its releases leave in memory after failed requests"
    scripts = ("pick.js",) if page.choices else ()
    return render("framework.html.j2", frame, title=title, summary=page.status, scripts=scripts, page=page)


def status(history: Timeline) -> str:
    """Return in a sentence or two what the newest measured release leaves."""
    last = _newest(history)
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


def _step(step: Step, known: Known) -> StepLine:
    claims = tuple(
        f"{one_line(claim.text)}{''.join(f' #{issue}' for issue in claim.issues)}"
        for claim in step.claims or ()
    )
    page = pair_page.name(step.before.version, step.release.version, known.timeline.python)
    return StepLine(
        f"{known.name} {step.release.version}",
        step.before.version,
        str(step.release.date or "date unknown"),
        step.release.yanked,
        f"{known.name}/{page}.html",
        tallies(step.rows, step.cells),
        listed(step.packages),
        claims,
    )


def _strips(known: Known, connection: Connection) -> tuple[Strip, ...]:
    return timeline.strips(known.timeline, known.scenarios, connection)


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


def _of(kept: Kept, name: str) -> list[Sighting]:
    return [one for one in kept.sightings if one.framework == name]


def _leak(kept: Kept, name: str) -> LeakLine:
    own = _of(kept, name)
    return LeakLine(
        short_name(kept.leak.trail),
        f"leaks/{kept.leak.fingerprint}.html",
        kept.leak.growth,
        f"{kept.leak.package} (Python's own)" if kept.leak.python else kept.leak.package,
        own[0].release if len(own) == 1 else f"{own[0].release} to {own[-1].release}",
        number(own[-1].objects),
    )
