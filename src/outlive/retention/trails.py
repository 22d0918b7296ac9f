"""Trails identify rings and paths: steps without what differs between runs, machines and Pythons. Pure."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import msgspec

from outlive.retention.graph import PathStep, Vertex
from outlive.retention.suspects import Suspect, link, title

ACCELERATOR = re.compile(r"^_(?=[a-z])")
RUNNING = {"async_generator", "coroutine", "frame", "generator"}
KINDS = RUNNING | {"cache", "class", "code", "function", "method", "module"}
"""Kinds of objects that a trail writes before the object's name."""
NAMED = {"argument", "callback", "closure", "context", "default", "global", "local"}
"""Sorts of references that a trail writes before the reference's name."""
NAMELESS = ("cached", "internal")
MOST_NAMED = 5
"""Steps that the short name of a trail has, an ellipsis included."""
STABLE_KEY = re.compile(r"'[A-Za-z_][A-Za-z_.\-]*'")


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A ring or a path, its suspect link, and its stable identity."""

    steps: tuple[PathStep, ...]
    suspect: Suspect
    trail: str
    """The normalised steps, from which the fingerprint is computed."""
    fingerprint: str
    """Its identity, the same across runs, machines and Pythons: 12 hex digits."""

    @classmethod
    def of(cls, steps: tuple[PathStep, ...], suspect: Suspect, parts: Iterable[str]) -> Self:
        """Return the explanation with the identity computed from the `parts` of its trail."""
        trail = " ".join(parts)
        fingerprint = hashlib.sha256(trail.encode()).hexdigest()[:12]
        return cls(steps=steps, suspect=suspect, trail=trail, fingerprint=fingerprint)


def place(steps: Sequence[PathStep], at: int) -> str:
    """Return the link at step `at` as one line, with the object to which a programmer would ascribe it."""
    holder = at
    while steps[holder].vertex.kind == "container" and holder > 0:
        holder -= 1
    text = title(steps[holder].vertex)
    for step in steps[holder : at + 1]:
        within = step.vertex.kind == "container" and step.sort in ("key", "index", "member", "keyed")
        way = _reference(step) if within else link(step)
        text += way if way.startswith((".", "[")) else f" {way}" if way else ""
    return text


def trail(steps: Sequence[PathStep]) -> tuple[str, ...]:
    """Return the steps without what differs between runs: indices, keys that are data, and containers."""
    parts: list[str] = []
    for step in steps:
        reference = _reference(step)
        if step.vertex.kind == "container" and parts:
            parts[-1] += reference if step.sort in ("key", "index", "member", "keyed") else ""
        else:
            parts.append(normal(step.vertex) + reference)
    if len(parts) > 1 and steps[0].vertex.kind == "container":  # a ring that happens to begin in a container
        parts[-1] += parts.pop(0).partition(" ")[2]
    return tuple(parts)


def hops(trail: str) -> tuple[str, ...]:
    """Return the steps of a stored trail, each an object with its reference to the next."""
    steps: list[list[str]] = []
    named = False
    for word in trail.split(" ")[1:]:
        goes_on = named or word in NAMED or word.partition("[")[0] in (*NAMELESS, "")
        if goes_on and steps:
            steps[-1].append(word)
        else:
            steps.append([word])
        named = not named and word in KINDS | NAMED
    return tuple(" ".join(words).strip() for words in steps)


def short_name(trail: str) -> str:
    """Return what people call a stored trail: `exception → traceback → frame of wsgi_app: local error`.

    Of a long one the ends are named.
    """
    named = list(itertools.chain.from_iterable(map(_spoken, hops(trail))))
    if len(named) > MOST_NAMED:
        named = [named[0], "…", *named[2 - MOST_NAMED :]]
    return " → ".join(named)


def _spoken(hop: str) -> Iterator[str]:
    """Yield the parts of a step as people say them: no package, and what it refers by after a colon."""
    words = hop.split(" ")
    kind = words.pop(0) if words[0] in KINDS and len(words) > 1 else ""
    if words[0] == "exception.__traceback__":
        yield from ("exception", "traceback")
        return
    holder = words[0] if kind == "module" else words[0].rpartition(".__self__")[0] or words[0]
    if kind != "module" and holder.partition(".")[2]:
        holder = holder.partition(".")[2]
    reference = " ".join(word for word in words[1:] if word.partition("[")[0] != "cached")
    yield f"{kind.replace('_', ' ')} of {holder}".removeprefix(" of ") + (
        f": {reference}" if reference else ""
    )


def _reference(step: PathStep) -> str:
    match step.sort:
        case "keyed":
            return "[key]"
        case "index" | "member":
            return "[]"
        case "key":
            return f"[{step.name}]" if STABLE_KEY.fullmatch(step.name) else "[]"
        case "attribute" if step.name in ("__dict__", "__closure__", "cell_contents"):
            return ""
        case "attribute":
            return f".{step.name}"
        case "":
            return ""
    return f" {step.sort} {step.name}".rstrip()


def normal(vertex: Vertex) -> str:
    """Return the package and own name of an object's type, or of the function, frame or class itself."""
    if vertex.kind == "container":
        return f"{vertex.type} "
    if vertex.kind == "exception":  # a fault stays the same fault with a different error
        return "exception"
    if vertex.kind == "task":  # on Python 3.12 and newer, a task that is done has forgotten its name
        return vertex.type
    if vertex.kind == "thread":  # what holds it, which is the same for all
        return "method threading._bootstrap"
    named = vertex.name if vertex.name and vertex.kind != "instance" else vertex.type
    package, own = named.partition(".")[0], named.rpartition(".")[2]
    package = ACCELERATOR.sub("", package)
    prefix = "" if vertex.kind == "instance" else f"{vertex.kind} "
    return f"{prefix}{package}.{own}" if package != own else f"{prefix}{own}"
