"""The badge of a framework: what its newest measured release leaves, as a picture by itself."""

from __future__ import annotations

from markupsafe import Markup

from outlive.history import timeline
from outlive.history.timeline import Moment, Timeline
from outlive.pages.drawings.svg import CHARACTER, element, joined, text
from outlive.wording import number

HIGH = 20  # of a badge, in pixels


def badge(history: Timeline, label: str = "outlive") -> Markup:
    """Return a badge of a framework's newest release as a whole SVG file; `label` is its left half."""
    value = badge_text(history)
    left, wide = (_wide(words) for words in (label, value))
    wide += left
    last = newest(history)
    growth = timeline.worst([m.growth for m in last.measurements if m.growth]) if last else "none"
    colour = {"leak": "#9c3300", "cyclic": "#7c4a00", "bounded": "#5a4a80", "none": "#00604a"}[growth]
    parts = joined(
        [
            element("title", Markup("{}: {}").format(label, value)),
            element("rect", width=left, height=HIGH, fill="#33383f"),
            element("rect", x=left, width=wide - left, height=HIGH, fill=colour if last else "#555e6a"),
            text(left / 2, 14, label, anchor="middle"),
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
        aria_label=f"{label}: {value}",
        font_family="Verdana,DejaVu Sans,sans-serif",
        font_size=11,
        fill="#fff",
    )


def badge_text(history: Timeline) -> str:
    """Return what a badge says of the newest measured release."""
    last = newest(history)
    if last is None:
        return "not measured"
    growth = timeline.worst([m.growth for m in last.measurements if m.growth])
    most = max((m.survivors_per_request or 0 for m in last.measurements if m.gc == "off"), default=0)
    leaking = sorted({m.scenario for m in last.measurements if m.growth == "leak"})
    where = leaking[0] if len(leaking) == 1 else f"{len(leaking)} scenarios"
    said = {
        "leak": f"leaks in {where}",
        "cyclic": f"{number(most)} cyclic per failed request",
        "bounded": "bounded",
    }
    return f"{last.release.version}: {said.get(growth, 'leaves nothing')}"


def newest(history: Timeline) -> Moment | None:
    """Return the newest measured release, None where none is measured."""
    return next((one for one in reversed(history.moments) if one.measurements), None)


def _wide(words: str) -> int:
    return round(len(words) * (CHARACTER + 0.4)) + 14
