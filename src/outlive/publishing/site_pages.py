"""The pages of the site beside the reports: home, a framework, a leak, the feed, the badge."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence

import msgspec
from markupsafe import Markup

from outlive import __version__, answers, timeline
from outlive.answers import MEANS
from outlive.measurement import CONNECTIONS, Connection
from outlive.publishing import plots
from outlive.publishing.leak_page import Known
from outlive.publishing.pages import Frame, feed, render
from outlive.publishing.plots import Drawing
from outlive.publishing.report_page import StripLine
from outlive.publishing.svg import CHARACTER, element, joined, text
from outlive.report.fingerprints import suspect
from outlive.reports import Report
from outlive.rows import BASELINE
from outlive.sightings import Kept, Sighting
from outlive.steps import Step
from outlive.timeline import Moment, Strip, Timeline
from outlive.verdict import Verdict
from outlive.wording import counted, listed, number, one_line

MOST_STEPS = 10  # newest findings on the home page
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "outlive")
HIGH = 20  # of a badge, in pixels


class ReportLine(msgspec.Struct, frozen=True):
    """A report as lists have it; `href` is relative to the site's folder."""

    verdict: Verdict
    href: str
    subject: str
    because: str
    policies: str


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


class Entry(msgspec.Struct, frozen=True):
    """One verdict of the feed."""

    id: str
    title: str
    updated: str
    href: str
    verdict: Verdict
    text: str


class Feed(msgspec.Struct, frozen=True):
    """The verdicts, newest first. `updated` is when the newest report was made."""

    id: str
    updated: str
    entries: tuple[Entry, ...]


def home(frameworks: Sequence[Known], frame: Frame) -> str:
    """Return the home page."""
    steps = [(step, known) for known in frameworks for step in known.steps.steps]
    steps.sort(key=lambda pair: str(pair[0].release.uploaded), reverse=True)
    page = Home(
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
    summary = (
        "What releases of Flask and aiohttp leave in memory after failed requests, and what upgrades change."
    )
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


def verdicts(reports: Sequence[Report]) -> str:
    """Return the Atom feed of verdicts."""
    newest = sorted(reports, key=lambda report: report.provenance.created, reverse=True)
    entries = []
    for report in newest:
        line = report_line(report)
        said = [f"{MEANS[line.verdict]} {answers.because(report)}"]
        said += [f"{one.question} {one.answer}" for one in answers.answers(report)]
        entries.append(
            Entry(
                id=uuid.uuid5(NAMESPACE, line.href).urn,
                title=_printable(f"{line.subject}: {line.verdict}"),
                updated=report.provenance.created,
                href=line.href,
                verdict=line.verdict,
                text=_printable("\n".join(said)),
            )
        )
    updated = entries[0].updated if entries else "1970-01-01T00:00:00+00:00"
    return feed(Feed(NAMESPACE.urn, updated, tuple(entries)))


def badge(history: Timeline) -> Markup:
    """Return a badge of a framework's newest release as a whole SVG file."""
    value = badge_text(history)
    left, wide = 62, _badge_width(value)
    last = _newest(history)
    growth = timeline.worst([m.growth for m in last.measurements if m.growth]) if last else "none"
    colour = {"leak": "#9c3300", "cyclic": "#7c4a00", "bounded": "#5a4a80", "none": "#00604a"}[growth]
    parts = joined(
        [
            element("title", Markup("outlive: {}").format(value)),
            element("rect", width=left, height=HIGH, fill="#33383f"),
            element("rect", x=left, width=wide - left, height=HIGH, fill=colour if last else "#555e6a"),
            text(left / 2, 14, "outlive", anchor="middle"),
            text((left + wide) / 2, 14, value, anchor="middle"),
        ]
    )
    return element(
        "svg",
        parts,
        xmlns="http://www.w3.org/2000/svg",
        width=wide,
        height=HIGH,
        role="img",
        aria_label=f"outlive: {value}",
        font_family="Verdana,DejaVu Sans,sans-serif",
        font_size=11,
        fill="#fff",
    )


def badge_text(history: Timeline) -> str:
    """Return what a badge says of the newest measured release."""
    last = _newest(history)
    if last is None:
        return "not measured"
    growth = timeline.worst([m.growth for m in last.measurements if m.growth])
    most = max((m.survivors_per_request or 0 for m in last.measurements if m.gc == "off"), default=0)
    said = {"leak": "leaks", "cyclic": f"{number(most)} cyclic per failed request", "bounded": "bounded"}
    return f"{last.release.version}: {said.get(growth, 'leaves nothing')}"


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
    return f"{count} of {counted(len(history.moments), 'release')} measured on Python {history.python}."


def report_line(report: Report) -> ReportLine:
    """Return a report as lists have it."""
    judged = report.judgement.overall
    subject = report.comparison.subject
    stack = report.comparison.after.stack
    policies = " · ".join(f"gc {one.gc}: {one.judged.verdict.lower()}" for one in report.judgement.policies)
    href = f"{stack.framework}/{report.name}.html"
    return ReportLine(judged.verdict, href, subject, judged.because, policies)


def _newest(history: Timeline) -> Moment | None:
    return next((one for one in reversed(history.moments) if one.measurements), None)


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


def _printable(text: str) -> str:
    """Return a text without the characters that XML must not have."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)


def _badge_width(value: str) -> int:
    return 62 + round(len(value) * (CHARACTER + 0.4)) + 14
