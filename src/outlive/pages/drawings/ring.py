"""A ring or path of references as a picture, from the trail that is stored of it."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from outlive.pages.drawings.plots import Drawing
from outlive.pages.drawings.svg import CHARACTER, WIDTH, element, figure, path, text
from outlive.records.measurement import Leak
from outlive.retention.trails import hops

HEIGHT, GAP, LEFT, TOP = 26.0, 20.0, 44.0, 8.0
ARROW = 4.0  # half its width


def drawing(leak: Leak) -> Drawing:
    """Return the objects from above to below, each with the reference to the next; the suspect is marked.

    The last object of a ring refers to the first, that of a path is what is kept.
    """
    steps = hops(leak.trail)
    ring = leak.trail.startswith("ring ")
    suspect = _suspect(steps, leak.suspect)
    width = max(len(step) for step in steps) * CHARACTER + 2 * LEFT
    parts = [part for at, step in enumerate(steps) for part in _box(at, step, width, at == suspect)]
    parts += [part for at in range(len(steps) - 1) for part in _down(at, at == suspect)]
    if ring:
        parts += _back(len(steps), suspect == len(steps) - 1)
    title = "The ring: each refers to the next, the last to the first" if ring else "The path to what is kept"
    said = " → ".join((*steps, steps[0]) if ring else steps)
    height = TOP + len(steps) * (HEIGHT + GAP)
    return Drawing(figure("ring", (max(WIDTH, width + LEFT), height), title, said, parts), f"{title}.")


def _suspect(steps: tuple[str, ...], suspect: str) -> int | None:
    """Return the one step whose reference the suspect names, None where that is not one."""
    named = [at for at, step in enumerate(steps) if _last(step) == _last(suspect)]
    return named[0] if len(named) == 1 else None


def _last(words: str) -> str:
    return words.rpartition(".")[2].rpartition(" ")[2]


def _top(at: int) -> float:
    return TOP + at * (HEIGHT + GAP)


def _box(at: int, step: str, width: float, suspect: bool) -> Iterator[Markup]:
    mark = "box suspect" if suspect else "box"
    yield element("rect", x=LEFT, y=_top(at), width=width - LEFT, height=HEIGHT, rx=4.0, class_=mark)
    yield text(LEFT + 10, _top(at) + 17, step)
    if suspect:
        yield text(width + 10, _top(at) + 17, "◀ suspect", class_="yanked")


def _down(at: int, suspect: bool) -> Iterator[Markup]:
    x, y = LEFT + 30, _top(at) + HEIGHT
    yield path([(x, y), (x, y + GAP)], _link(suspect))
    yield path([(x - ARROW, y + GAP - 6), (x, y + GAP), (x + ARROW, y + GAP - 6)], _link(suspect))


def _back(steps: int, suspect: bool) -> Iterator[Markup]:
    """Yield the line from the last box around to the first; to itself where there is one."""
    x, first = LEFT / 2, _top(0) + HEIGHT / 3
    last = _top(steps - 1) + 2 * HEIGHT / 3
    yield path([(LEFT, last), (x, last), (x, first), (LEFT, first)], _link(suspect))
    yield path([(LEFT - 6, first - ARROW), (LEFT, first), (LEFT - 6, first + ARROW)], _link(suspect))


def _link(suspect: bool) -> str:
    return "link suspect" if suspect else "link"
