"""The home page of the site, and the page of a framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlive.comparison.cells import BASELINE
from outlive.comparison.headline import largest
from outlive.comparison.sizes import Rates
from outlive.history import timeline
from outlive.history.lifelines import Fingerprint
from outlive.history.steps import Step
from outlive.history.timeline import Strip, Timeline
from outlive.pages import pair_page
from outlive.pages.drawings import plots
from outlive.pages.drawings.badge import badge, newest
from outlive.pages.drawings.plots import Drawing
from outlive.pages.leak_page import Findings
from outlive.pages.page import Frame, render
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.wording import counted, listed

MOST_STEPS = 10  # newest findings on the home page


def home(frameworks: Sequence[Findings], frame: Frame) -> str:
    """Return the home page."""
    steps = sorted(
        ((step, findings) for findings in frameworks for step in findings.steps.steps),
        key=lambda pair: str(pair[0].release.uploaded),
        reverse=True,
    )
    names = listed([findings.title for findings in frameworks])
    timelines = [findings.timeline for findings in frameworks]
    first = [str(timeline.moments[0].release) for timeline in timelines if timeline.moments]
    choices = {findings.name: findings.choices for findings in frameworks if findings.choices}
    return render(
        "home.html.j2",
        frame,
        title="outlive: memory after failed requests",
        summary=f"What releases of {names} leave in memory after failed requests, and what upgrades change.",
        scripts=("pick.js",) if choices else (),
        names=names,
        since=listed(first),
        cards=list(map(_card, sorted(frameworks, key=lambda findings: -len(findings.steps.steps)))),
        compared=[report for findings in frameworks for report in findings.reports],
        newest=[_linked(step, findings) for step, findings in steps[:MOST_STEPS]],
        choices=choices,
        rates=Rates(),
    )


def _card(findings: Findings) -> dict[str, object]:
    """Return what the home page shows of a framework: its heat map and its newest finding."""
    last = next(reversed(findings.steps.steps), None)
    return {
        "name": findings.name,
        "title": findings.title,
        "status": status(findings.timeline),
        "measured": measured(findings.timeline),
        "heat": next(_heats(findings, common=True), None),
        "finding": _linked(last, findings) if last else None,
        "chart": _finding(last, findings) if last else None,
    }


def _finding(step: Step, findings: Findings) -> Drawing | None:
    """Return what each release leaves in the cell whose objects the step changes, by most MiB per hour."""
    rows = [row for row in step.rows if row.change] or step.rows
    top = largest([row for row in rows if row.gc == "off"] or rows)
    if not top:
        return None
    strips = [strip for strip in _strips(findings, top.connection) if strip.scenario == top.scenario]
    if not strips:
        return None
    title = f"Objects that a request leaves with gc off: {findings.name}, {top.scenario}, {top.connection}"
    svg = plots.history(
        f"finding-{findings.name}", title, strips, (step.before.version, step.release.version)
    )
    return Drawing(svg, f"{title}.", plots.legend(strips))


def framework(findings: Findings, lifelines: Sequence[Fingerprint], frame: Frame) -> str:
    """Return the page of a framework; `lifelines` are the leaks and rings of all frameworks."""
    summary = status(findings.timeline)
    sightings = (
        (lifeline, [seen for seen in lifeline.sightings if seen.framework == findings.name])
        for lifeline in lifelines
    )
    return render(
        "framework.html.j2",
        frame,
        title=f"{findings.name}: what its releases leave in memory after failed requests",
        summary=summary,
        scripts=("pick.js",) if findings.choices else (),
        findings=findings,
        measured=measured(findings.timeline),
        choices={findings.name: findings.choices} if findings.choices else {},
        heats=_heats(findings),
        history=[strip for connection in CONNECTIONS for strip in _strips(findings, connection)],
        lanes=_lanes(findings.timeline),
        leaks=[(lifeline, seen) for lifeline, seen in sightings if seen],
        changes=[_linked(step, findings) for step in reversed(findings.steps.steps)],
        badge=badge(findings.timeline),
    )


def status(history: Timeline) -> str:
    """Return one or two sentences on what the newest measured release leaves."""
    last = newest(history)
    if last is None:
        return "No release is measured yet."
    leaking = sorted({m.scenario for m in last.measurements if m.growth == "leak"})
    off = [m for m in last.measurements if m.gc == "off" and m.scenario != BASELINE]
    top = max(off, key=lambda m: m.survivors_per_request or 0, default=None)
    text = f"{last.release} leaks in {listed(leaking, 4)}." if leaking else f"{last.release} leaks nowhere."
    if top is not None and (top.survivors_per_request or 0) > 0:
        text += (
            f" With gc off it leaves up to {counted(top.survivors_per_request or 0, 'object')} per request "
            f"({top.scenario})."
        )
    elif off:
        text += " It leaves nothing behind, even with gc off."
    return text


def measured(history: Timeline) -> str:
    """Return a sentence on how much of the history is measured, and where from."""
    count = sum(bool(moment.measurements) for moment in history.moments)
    text = f"{count} of {counted(len(history.moments), 'release')} measured on Python {history.python}."
    return f"{text} {history.origin}".rstrip()


def _linked(step: Step, findings: Findings) -> tuple[Step, str]:
    """Return a step with the address of its page."""
    page = pair_page.name(step.before.version, step.release.version, findings.timeline.python)
    return step, f"{findings.name}/{page}.html"


def _strips(findings: Findings, connection: Connection) -> tuple[Strip, ...]:
    return timeline.strips(findings.timeline, findings.facts.expected, connection)


def _heats(findings: Findings, *, common: bool = False) -> Iterator[Drawing]:
    """Yield a heat map per connection; `common` omits scenarios measured in less than half the releases."""
    for at, connection in enumerate(CONNECTIONS):
        strips = _strips(findings, connection)
        if common:
            strips = tuple(strip for strip in strips if 2 * strip.measured >= len(strip.points)) or strips
        if strips:
            title = f"Objects left per request with gc off, {connection} connections"
            yield Drawing(
                plots.heat(f"heat-{findings.name}-{at}", title, strips), f"{title}, by scenario and release."
            )


def _lanes(history: Timeline) -> Drawing | None:
    if not any(moment.release.date for moment in history.moments):
        return None
    title = f"Releases of {history.framework} over time"
    caption = (
        f"{title}: a square leaks, a full circle leaves cyclic garbage, an empty one nothing, "
        "a dash was not measured, ✕ is yanked."
    )
    return Drawing(plots.lanes("lanes", title, history), caption)
