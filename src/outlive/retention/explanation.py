"""Explains in text why objects outlive their request: one block for each structure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from outlive.retention.graph import PathStep
from outlive.retention.structures import FURTHER, LEAST_RATE, Analysis, Structure
from outlive.retention.suspects import link, title
from outlive.retention.trails import Explanation
from outlive.tables import fold
from outlive.wording import counted, does, listed, number, size

WIDTH = 80
"""Columns where no terminal says how many it has; what is aligned to the right is never further out."""
INDENT = "   "
CLASSES = {
    "cyclic": "cyclic garbage",
    "leaked": "leaked",
    "bounded": "kept, but bounded",
}
TYPES = 5
"""Most types that are named for a structure."""
SUSPECT = "◀ suspect"


def render(
    heading: str,
    analysis: Analysis,
    width: int = WIDTH,
    outside: Sequence[str] = (),
    *,
    collecting: bool = False,
    measured: float | None = None,
) -> str:
    """Return the whole explanation of a cell, in lines of `width` columns; `heading` names the cell.

    `outside` says what each request leaks that is no object. `collecting`: cyclic garbage was left out.
    `measured` is how many objects each request leaves by the cell's measurement, which has more requests.
    """
    lines = [fold(heading, width)]
    if analysis.structures or not outside:
        text = summary(analysis, collecting=collecting)
        apart = 0.0 if measured is None else abs(_own(analysis) + analysis.weak - measured)
        if analysis.structures and measured is not None and round(apart, 1) >= LEAST_RATE:
            stay = f"{counted(measured, 'object')} {does(measured, 'stay')}"
            text += f" This is a sample: over more requests, {stay}."
        lines += [fold(text, width)]
    if outside:
        lines += [fold(f"Each request leaks {listed(outside)}, which is no object.", width)]
    for place, structure in enumerate(analysis.structures, 1):
        lines += ["", *_block(place, structure, width)]
    if analysis.cut:
        lines += ["", fold(f"Cut to stay within limits: {'; '.join(analysis.cut)}.", width)]
    return "\n".join(lines) + "\n"


def summary(analysis: Analysis, *, collecting: bool = False) -> str:
    """Return in one sentence what outlives a request, or if `collecting` what outlives collections too."""
    if not analysis.structures:
        return f"Nothing outlives its request{', except what collections free' if collecting else ''}."
    amounts = {"request": _own(analysis), "connection": _of_connections(analysis)}
    told = [(round(amount, 2), per) for per, amount in amounts.items() if amount]
    parts = [
        f"{number(amount) if at else counted(amount, 'object')} per {per}"
        for at, (amount, per) in enumerate(told)
    ]
    it = "it and every collection" if collecting else "it"
    verb = does(told[0][0] if len(told) == 1 else 2, "outlive")
    text = f"{listed(parts)} {verb} {it}, in {counted(len(analysis.structures), 'structure')}."
    if weak := round(analysis.weak, 1):
        text += f" {counted(weak, 'weak reference')} per request {does(weak, 'go', 'goes')} with them."
    return text


def _own(analysis: Analysis) -> float:
    """Return how many objects each request leaves, without those that come with connections."""
    return sum(one.objects_per_request for one in analysis.structures if one.per == "request")


def _of_connections(analysis: Analysis) -> float:
    """Return how many objects each connection leaves beside those of its requests."""
    own = [one for one in analysis.structures if one.per == "connection"]
    return sum(one.rate * (one.members + one.hanging) for one in own)


def _block(place: int, structure: Structure, width: int) -> Iterator[str]:
    def told(text: str) -> str:
        return fold(f"{INDENT}{text}", width)

    rate = f"{number(round(structure.rate, 2))} per {structure.per}"
    head = f"{place}. {CLASSES[structure.growth]} {structure.fingerprint}"
    yield f"{head}{rate:>{max(1, min(width, WIDTH) - len(head))}}"
    yield told(_contents(structure))
    yield ""
    yield from picture(structure.explanation, width)
    yield ""
    own = "Python's own " if structure.python else ""
    where = f" ({own}{structure.package})"
    yield told(f"Suspect{where if structure.package else ''}: {structure.explanation.suspect.reason}.")
    if structure.holds:
        end = structure.explanation.steps[-1].vertex
        yield told(f"The {title(end)} holds {structure.holds}.")
    for further in structure.further:
        yield ""
        yield told("Without this link, a ring remains:")
        yield from picture(further, width)
        yield told(f"Suspect: {further.suspect.reason}.")
    if structure.growth == "cyclic" and len(structure.further) < FURTHER:
        links = f"these {len(structure.explanations)} links" if structure.further else "this link"
        yield told(f"Without {links}, nothing here would need the collector.")


def _contents(structure: Structure) -> str:
    total = structure.members + structure.hanging
    memory = size(structure.members_bytes + structure.hanging_bytes)
    where = "in the cycle" if structure.growth == "cyclic" else "at the end of the path"
    text = f"{counted(total, 'object')}, {memory}: {structure.members} {where}"
    if structure.hanging:
        hang = does(structure.hanging, "hang")
        text += f" ({size(structure.members_bytes)}), {structure.hanging} only {hang} on it"
    types = [f"{count} {name.rpartition('.')[2]}" for name, count in structure.types[:TYPES]]
    more = len(structure.types) - TYPES
    types += [counted(more, "more type")] if more > 0 else []
    text += f". By type: {listed(types)}"
    for name, amount in structure.buffers[:1]:
        text += f"; the largest buffer is a {name} of {size(amount)}"
    return f"{text}."


def picture(explanation: Explanation, width: int = WIDTH) -> Iterator[str]:
    """Yield a line for each object and each reference; a line at the side leads a ring back to its start."""
    steps = explanation.steps
    ring = bool(steps[-1].reference)
    for place, step in enumerate(steps):
        first, last = place == 0, place == len(steps) - 1
        bar = ("┌▶ " if first else "│  ") if ring else "   "
        yield from _object(f"{INDENT}{bar}", f"{INDENT}{'│  ' if ring else '   '}", step, width)
        if step.reference:
            bar = ("└─ " if last else "│  ") if ring else "   "
            mark = f"  {SUSPECT}" if place == explanation.suspect.step else ""
            yield f"{INDENT}{bar}    {link(step)}{mark}"


def _object(bar: str, more: str, step: PathStep, width: int) -> Iterator[str]:
    text, place = title(step.vertex), step.vertex.place
    while len(bar) + len(text) > width and "." in text[: width - len(bar)]:
        cut = text.rindex(".", 0, width - len(bar)) + 1
        yield bar + text[:cut]
        bar, text = f"{more}  ", text[cut:]
    if place and len(bar) + len(text) + len(place) + 2 > width:
        yield bar + text
        yield f"{more}  {place}"
    else:
        yield f"{bar}{text}  {place}".rstrip()
