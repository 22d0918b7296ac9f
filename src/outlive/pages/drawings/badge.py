"""The badge of a framework: what its newest measured release leaves, as an SVG file."""

from __future__ import annotations

from markupsafe import Markup

from outlive.history.timeline import Moment, Timeline, worst
from outlive.pages.drawings.svg import CHARACTER, element, joined, text
from outlive.records.measurement import Growth
from outlive.wording import number

HIGH = 20  # of a badge, in pixels


COLOURS: dict[Growth, str] = {
    "leak": "#9c3300",
    "cyclic": "#7c4a00",
    "bounded": "#5a4a80",
    "none": "#00604a",
}
UNKNOWN = "#555e6a"


def badge(history: Timeline, label: str = "outlive") -> Markup:
    """Return the badge of a framework's newest release as an SVG file; `label` is its left half."""
    value, colour = _statement(newest(history))
    left, right = _wide(label), _wide(value)
    parts = joined(
        [
            element("title", Markup("{}: {}").format(label, value)),
            element("rect", width=left, height=HIGH, fill="#33383f"),
            element("rect", x=left, width=right, height=HIGH, fill=colour),
            text(left / 2, 14, label, anchor="middle"),
            text(left + right / 2, 14, value, anchor="middle"),
        ]
    )
    return element(
        "svg",
        parts,
        xmlns="http://www.w3.org/2000/svg",
        width=left + right,
        height=HIGH,
        role="img",
        aria_label=f"{label}: {value}",
        font_family="Verdana,DejaVu Sans,sans-serif",
        font_size=11,
        fill="#fff",
    )


def _statement(last: Moment | None) -> tuple[str, str]:
    """Return what the badge says about a release, and its colour."""
    if last is None:
        return "not measured", UNKNOWN
    growth = worst([m.growth for m in last.measurements if m.growth])
    most = max((m.survivors_per_request or 0 for m in last.measurements if m.gc == "off"), default=0)
    leaking = sorted({m.scenario for m in last.measurements if m.growth == "leak"})
    where = leaking[0] if len(leaking) == 1 else f"{len(leaking)} scenarios"
    statements = {
        "leak": f"leaks in {where}",
        "cyclic": f"{number(most)} cyclic per failed request",
        "bounded": "bounded",
        "none": "leaves nothing",
    }
    return f"{last.release.version}: {statements[growth]}", COLOURS[growth]


def newest(history: Timeline) -> Moment | None:
    """Return the newest measured release, or None."""
    return next((moment for moment in reversed(history.moments) if moment.measurements), None)


def _wide(words: str) -> int:
    return round(len(words) * (CHARACTER + 0.4)) + 14
