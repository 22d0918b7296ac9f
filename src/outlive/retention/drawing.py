"""Draws rings and paths as Graphviz DOT, Mermaid and SVG. Each function returns the text of a whole file."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from outlive.retention.structures import Analysis
from outlive.retention.suspects import link, title
from outlive.retention.trails import Explanation

BOX_WIDTH, BOX_HEIGHT, GAP, MARGIN = 520, 34, 34, 16
CHARACTER = 7.4
"""Width of a character of the pictures' font, in pixels."""


def dot(analysis: Analysis) -> str:
    """Return the explanations as a Graphviz graph, one cluster for each structure."""
    lines = ["digraph outlive {", "  node [shape=box, fontname=monospace];", "  edge [fontname=monospace];"]
    for place, explanation in enumerate(_explanations(analysis)):
        lines += [f"  subgraph cluster_{place} {{", f'    label="{explanation.fingerprint}";']
        for at, step in enumerate(explanation.steps):
            lines.append(f"    n{place}_{at} [label={_quoted(title(step.vertex))}];")
        for at, after, text, suspect in _links(explanation):
            style = ", color=red, fontcolor=red, style=bold" if suspect else ""
            lines.append(f"    n{place}_{at} -> n{place}_{after} [label={_quoted(text)}{style}];")
        lines.append("  }")
    return "\n".join([*lines, "}", ""])


def mermaid(analysis: Analysis) -> str:
    """Return the explanations as a Mermaid flowchart, one subgraph for each structure."""
    lines = ["flowchart TD"]
    suspects: list[int] = []
    edges = 0
    for place, explanation in enumerate(_explanations(analysis)):
        lines.append(f'  subgraph s{place}["{explanation.fingerprint}"]')
        for at, step in enumerate(explanation.steps):
            lines.append(f'    n{place}_{at}["{_entities(title(step.vertex))}"]')
        for at, after, text, suspect in _links(explanation):
            lines.append(f'    n{place}_{at} -->|"{_entities(text)}"| n{place}_{after}')
            suspects += [edges] if suspect else []
            edges += 1
        lines.append("  end")
    lines += [f"  linkStyle {edge} stroke:red,color:red" for edge in suspects]
    return "\n".join([*lines, ""])


def svg(analysis: Analysis) -> str:
    """Return the explanations as one SVG, one below another; a ring's last link runs back along its side."""
    parts: list[str] = []
    top = MARGIN
    for explanation in _explanations(analysis):
        parts.append(f'<text x="{MARGIN}" y="{top + 12}" class="name">{explanation.fingerprint}</text>')
        top += 24
        parts += _boxes(explanation, top)
        top += len(explanation.steps) * (BOX_HEIGHT + GAP) + MARGIN
    longest = max((len(title(s.vertex)) for e in _explanations(analysis) for s in e.steps), default=0)
    width = max(BOX_WIDTH, round(longest * CHARACTER) + 24) + 3 * MARGIN + 200
    style = (
        "text{font:12px monospace;fill:#222}.name{font-weight:bold}rect{fill:#f6f8fa;stroke:#57606a}"
        "path{fill:none;stroke:#57606a}.suspect{stroke:#cf222e;stroke-width:2}text.suspect{stroke:none;fill:#cf222e}"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    )
    arrow = (
        '<defs><marker id="arrow" markerUnits="userSpaceOnUse" markerWidth="8" markerHeight="8" '
        'refX="7" refY="4" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" style="fill:#57606a"/></marker></defs>'
    )
    return "\n".join([head, f"<style>{style}</style>", arrow, *parts, "</svg>", ""])


def _boxes(explanation: Explanation, top: int) -> Iterator[str]:
    left = MARGIN + 24
    width = max(BOX_WIDTH, *(round(len(title(s.vertex)) * CHARACTER) + 24 for s in explanation.steps))
    for at, step in enumerate(explanation.steps):
        y = top + at * (BOX_HEIGHT + GAP)
        yield f'<rect x="{left}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="4"/>'
        yield f'<text x="{left + 10}" y="{y + 21}">{escape(title(step.vertex))}</text>'
    for at, after, text, suspect in _links(explanation):
        y = top + at * (BOX_HEIGHT + GAP) + BOX_HEIGHT
        mark = ' class="suspect"' if suspect else ""
        if after > at:
            yield f'<path{mark} marker-end="url(#arrow)" d="M{left + 40},{y} v{GAP}"/>'
        else:
            up = top + after * (BOX_HEIGHT + GAP) + BOX_HEIGHT // 2
            yield (
                f'<path{mark} marker-end="url(#arrow)" '
                f'd="M{left + 40},{y} v{GAP // 2} H{MARGIN} V{up} H{left}"/>'
            )
        yield f'<text{mark} x="{left + 52}" y="{y + 22}">{escape(text)}</text>'


def _explanations(analysis: Analysis) -> list[Explanation]:
    return [explanation for structure in analysis.structures for explanation in structure.explanations]


def _links(explanation: Explanation) -> Iterator[tuple[int, int, str, bool]]:
    """Yield (from, to, text, whether it is the suspect) for each reference."""
    steps = explanation.steps
    for at, step in enumerate(steps):
        if step.reference:
            yield at, (at + 1) % len(steps), link(step), at == explanation.suspect.step


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
