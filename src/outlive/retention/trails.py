"""The identity of a ring or path: its steps without what differs between runs, machines and Pythons. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from outlive.retention.graph import Step, Vertex
from outlive.retention.suspects import Suspect, link, title

ACCELERATOR = re.compile(r"^_(?=[a-z])")
RUNNING = {"async_generator", "coroutine", "frame", "generator"}
KINDS = RUNNING | {"cache", "class", "code", "function", "method", "module"}
"""Kinds of objects that a trail names before the object."""
NAMED = {"argument", "callback", "closure", "context", "default", "global", "local"}
"""Sorts of references that a trail names before the reference."""
NAMELESS = ("cached", "internal")
STABLE_KEY = re.compile(r"'[A-Za-z_][A-Za-z_.\-]*'")


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A ring or a path, the link of it that is suspected and why, and its stable identity."""

    steps: tuple[Step, ...]
    suspect: Suspect
    trail: str
    """The normalised steps that the fingerprint is made of."""
    fingerprint: str
    """Stable identity: the same across runs, machines and Pythons."""

    @classmethod
    def of(cls, steps: tuple[Step, ...], suspect: Suspect, parts: Iterable[str]) -> Self:
        """Return the explanation with the identity that the `parts` of its trail give it."""
        trail = " ".join(parts)
        fingerprint = hashlib.sha256(trail.encode()).hexdigest()[:12]
        return cls(steps=steps, suspect=suspect, trail=trail, fingerprint=fingerprint)


def place(steps: Sequence[Step], at: int) -> str:
    """Return the link at step `at`, with the object that a programmer would say has it, in one line."""
    holder = at
    while steps[holder].vertex.kind == "container" and holder > 0:
        holder -= 1
    text = title(steps[holder].vertex)
    for step in steps[holder : at + 1]:
        within = step.vertex.kind == "container" and step.sort in ("key", "index", "member", "keyed")
        way = _reference(step) if within else link(step)
        text += way if way.startswith((".", "[")) else f" {way}" if way else ""
    return text


def trail(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return the steps without what differs between runs: indices, keys that are data, containers."""
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
    """Return the steps of a stored trail, each an object with the reference that goes on to the next."""
    found: list[list[str]] = []
    named = False
    for word in trail.split(" ")[1:]:
        goes_on = named or word in NAMED or word.partition("[")[0] in (*NAMELESS, "")
        if goes_on and found:
            found[-1].append(word)
        else:
            found.append([word])
        named = not named and word in KINDS | NAMED
    return tuple(" ".join(words).strip() for words in found)


def _reference(step: Step) -> str:
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
    """Return package and own name of an object's type, or of the function, frame or class itself."""
    if vertex.kind == "container":
        return f"{vertex.type} "
    if vertex.kind == "exception":  # the same fault with another error is the same fault
        return "exception"
    if vertex.kind == "task":  # a task that is done has forgotten its name on Python 3.12 and newer
        return vertex.type
    named = vertex.name if vertex.name and vertex.kind != "instance" else vertex.type
    package, own = named.partition(".")[0], named.rpartition(".")[2]
    package = ACCELERATOR.sub("", package)
    prefix = "" if vertex.kind == "instance" else f"{vertex.kind} "
    return f"{prefix}{package}.{own}" if package != own else f"{prefix}{own}"
