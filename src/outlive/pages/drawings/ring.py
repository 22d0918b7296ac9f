"""A ring or path of references as a picture, drawn from its stored trail."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import msgspec
from markupsafe import Markup

from outlive.pages.drawings.plots import Drawing
from outlive.pages.drawings.svg import CHARACTER, PHONE, WIDTH, Sheet, both, element, figure, path, text
from outlive.records.measurement import Leak
from outlive.retention.trails import hops

LINE, GAP, LEFT, TOP, INSIDE = 15.0, 20.0, 44.0, 8.0, 11.0
ARROW = 4.0  # half its width
SUSPECT = "◀ suspect"


class Box(msgspec.Struct, frozen=True):
    """An object and its reference to the next, as lines of text; `top` is in pixels."""

    lines: tuple[str, ...]
    suspect: bool
    top: float = TOP

    @property
    def height(self) -> float:
        """Its height in pixels."""
        return INSIDE + LINE * len(self.lines)


def drawing(leak: Leak) -> Drawing:
    """Return the objects from top to bottom, each with its reference to the next; the suspect is marked.

    The last object of a ring refers to the first. The last object of a path is what is kept.
    """
    steps = hops(leak.trail)
    ring = leak.trail.startswith("ring ")
    suspect = _suspect(steps, leak.suspect)
    title = "The ring: each refers to the next, the last to the first" if ring else "The path to what is kept"
    desc = " → ".join((*steps, steps[0]) if ring else steps)

    def draw(sheet: Sheet) -> Markup:
        right = PHONE - 8 if sheet.phone else max(map(len, steps)) * CHARACTER + 2 * LEFT
        room = int((right - LEFT - 20) / CHARACTER) if sheet.phone else max(map(len, steps))
        boxes = [*_boxes(steps, suspect, room, below=sheet.phone)]
        parts = [part for box in boxes for part in _box(box, right, beside=not sheet.phone)]
        parts += [part for box, following in itertools.pairwise(boxes) for part in _down(box, following.top)]
        if ring:
            parts += _back(boxes[0], boxes[-1])
        wide = sheet if sheet.phone else msgspec.structs.replace(sheet, width=max(WIDTH, right + 2 * LEFT))
        return figure(wide, boxes[-1].top + boxes[-1].height + GAP, title, desc, parts)

    return Drawing(both("ring", draw), f"{title}.")


def _suspect(steps: tuple[str, ...], suspect: str) -> int | None:
    """Return the index of the step whose reference the suspect names, None unless exactly one matches."""
    named = [at for at, step in enumerate(steps) if _last(step) == _last(suspect)]
    return named[0] if len(named) == 1 else None


def _last(words: str) -> str:
    return words.rpartition(".")[2].rpartition(" ")[2]


def _boxes(steps: Sequence[str], suspect: int | None, room: int, *, below: bool) -> Iterator[Box]:
    """Yield a box per step, `room` characters wide; `below` puts the suspect's mark inside its box."""
    top = TOP
    for at, step in enumerate(steps):
        lines = [""]
        for part in re.findall(r"[^. ]*[. ]?", step):  # names break after a dot
            if lines[-1] and len(lines[-1] + part.rstrip()) > room:
                lines.append("")
            lines[-1] += part
        marked = (SUSPECT,) if below and at == suspect else ()
        box = Box((*map(str.rstrip, lines), *marked), at == suspect, top)
        yield box
        top += box.height + GAP


def _box(box: Box, right: float, *, beside: bool) -> Iterator[Markup]:
    mark = "box suspect" if box.suspect else "box"
    yield element("rect", x=LEFT, y=box.top, width=right - LEFT, height=box.height, rx=4.0, class_=mark)
    for at, line in enumerate(box.lines):
        class_ = "yanked" if line == SUSPECT else None
        yield text(LEFT + 10, box.top + 17 + at * LINE, line, class_=class_)
    if box.suspect and beside:
        yield text(right + 10, box.top + 17, SUSPECT, class_="yanked")


def _down(box: Box, to: float) -> Iterator[Markup]:
    x, y = LEFT + 30, box.top + box.height
    yield path([(x, y), (x, to)], _link(box))
    yield path([(x - ARROW, to - 6), (x, to), (x + ARROW, to - 6)], _link(box))


def _back(first: Box, last: Box) -> Iterator[Markup]:
    """Yield the line from the last box back to the first, which can be the same."""
    x, to = LEFT / 2, first.top + first.height / 3
    start = last.top + 2 * last.height / 3
    yield path([(LEFT, start), (x, start), (x, to), (LEFT, to)], _link(last))
    yield path([(LEFT - 6, to - ARROW), (LEFT, to), (LEFT - 6, to + ARROW)], _link(last))


def _link(box: Box) -> str:
    return "link suspect" if box.suspect else "link"
