"""The pages of the site beside the reports: home, a framework, a leak, the feed, the badge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
from markupsafe import Markup

from outlive import __version__
from outlive.comparison.cells import BASELINE
from outlive.history import timeline
from outlive.history.lifelines import Kept, Sighting
from outlive.history.steps import Step
from outlive.history.timeline import Strip, Timeline
from outlive.pages.drawings import plots
from outlive.pages.drawings.badge import badge
from outlive.pages.drawings.plots import Drawing
from outlive.pages.leak_page import Known
from outlive.pages.lists import ReportLine, _newest, report_line
from outlive.pages.page import Frame, render
from outlive.pages.report_page import StripLine
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.retention.changes_text import suspect
from outlive.wording import counted, listed, number, one_line

MOST_STEPS = 10  # newest findings on the home page


class StepLine(msgspec.Struct, frozen=True):
    """A release that leaves something else than the one before it."""

    release: str
    before: str
    date: str
    yanked: bool
    summary: str
    packages: str
    claims: tuple[str, ...]


class Card(msgspec.Struct, frozen=True):
    """A framework on the home page."""

    name: str
    status: str
    measured: str


class Home(msgspec.Struct, frozen=True):
    """What the home page shows."""

    names: str
    since: str
    frameworks: tuple[Card, ...]
    reports: tuple[ReportLine, ...]
    steps: tuple[StepLine, ...]
    version: str = __version__


class LeakLine(msgspec.Struct, frozen=True):
    """A fingerprint in a framework's table."""

    fingerprint: str
    href: str
    kind: str
    suspect: str
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
        frameworks=tuple(Card(one.name, status(one.timeline), measured(one.timeline)) for one in frameworks),
        reports=tuple(report_line(report) for known in frameworks for report in known.reports),
        steps=tuple(_step(step, known.name) for step, known in steps[:MOST_STEPS]),
    )
    summary = f"What releases of {names} leave in memory after failed requests, and what upgrades change."
    return render(
        "home.html.j2", frame, title="outlive: memory after failed requests", summary=summary, page=page
    )


def framework(known: Known, frame: Frame) -> str:
    """Return the page of a framework."""
    page = FrameworkPage(
        name=known.name,
        status=status(known.timeline),
        measured=measured(known.timeline),
        python=known.timeline.python,
        heats=tuple(_heats(known)),
        strips=tuple(
            StripLine(strip.scenario, strip.connection, plots.runs(strip))
            for connection in CONNECTIONS
            for strip in _strips(known, connection)
        ),
        lanes=_lanes(known.timeline),
        reports=tuple(map(report_line, known.reports)),
        leaks=tuple(_leak(one, known.name) for one in known.kept if _of(one, known.name)),
        steps=tuple(_step(step) for step in reversed(known.steps.steps)),
        yanked=tuple(
            Yanked(one.release.version, one_line(one.release.yanked_reason or "no reason is given"))
            for one in reversed(known.timeline.moments)
            if one.release.yanked
        ),
        badge=badge(known.timeline),
    )
    title = f"{known.name}: what its releases leave in memory after failed requests"
    return render("framework.html.j2", frame, title=title, summary=page.status, page=page)


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


def _step(step: Step, of: str = "") -> StepLine:
    claims = tuple(
        f"{one_line(claim.text)}{''.join(f' #{issue}' for issue in claim.issues)}"
        for claim in step.claims or ()
    )
    return StepLine(
        f"{of} {step.release.version}".strip(),
        step.before.version,
        str(step.release.date or "date unknown"),
        step.release.yanked,
        step.summary,
        listed(step.packages),
        claims,
    )


def _strips(known: Known, connection: Connection) -> tuple[Strip, ...]:
    return timeline.strips(known.timeline, known.scenarios, connection)


def _heats(known: Known) -> Iterator[Drawing]:
    for at, connection in enumerate(CONNECTIONS):
        strips = _strips(known, connection)
        if strips:
            title = f"Objects left per request with gc off, {connection} connections"
            yield Drawing(plots.heat(f"heat-{at}", title, strips), f"{title}, by scenario and release.")


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
        kept.leak.fingerprint,
        f"leaks/{kept.leak.fingerprint}.html",
        kept.leak.growth,
        suspect(kept.leak),
        own[0].release if len(own) == 1 else f"{own[0].release} to {own[-1].release}",
        number(own[-1].objects),
    )
