"""Finds whose code a structure is: the package at fault, and what names a nameless object. Pure."""

from __future__ import annotations

import sys
from collections.abc import Set as AbstractSet

import msgspec

from outlive.retention.graph import Graph, Vertex, lightest_paths
from outlive.retention.suspects import title
from outlive.retention.trails import ACCELERATOR, Explanation
from outlive.wording import listed

UNSEEN = ("c-held", "not-found")
"""Rules that do not show whose code holds an object."""
MADE_FOR = ("thread", "loggers")
"""Rules that find what the standard library keeps for other code."""
UNKNOWN = "unknown"
NAMED = ("frame", "function", "method", "class", "cache", "thread")
"""Kinds of vertices whose own names show the package."""


def held(graph: Graph, members: AbstractSet[int], hanging: AbstractSet[int]) -> str:
    """Return the title and the place of the nearest named object below a nameless one; empty if none is."""
    if any(map(_telling, (graph.vertices[member] for member in members))):
        return ""
    network = graph.network(members | hanging)
    lengths, _ = lightest_paths(network, sorted(members))
    for number in sorted(lengths, key=lambda number: (lengths[number], number)):
        if _telling(vertex := graph.vertices[number]):
            return f"{title(vertex)} ({vertex.place})" if vertex.place else title(vertex)
    return ""


def _telling(vertex: Vertex) -> bool:
    """Return whether the name of an object or of its type leads to code outside of the standard library."""
    name = vertex.name if vertex.kind in NAMED else vertex.type
    if vertex.place:
        name = vertex.place.partition(":")[0].removesuffix(".py").replace("/", ".")
    return (bool(vertex.place) or "." in name) and _top(name) not in sys.stdlib_module_names


def fault(graph: Graph, explanation: Explanation) -> tuple[str, Explanation]:
    """Return the package at fault, and the explanation with what is known of it.

    The type of an object that C code holds does not tell whose code that is, nor what of the standard library
    a thread runs, who started it, nor a logger, who asked for it.
    """
    found = explanation.suspect
    if found.rule not in UNSEEN:
        package = package_of(explanation)
        unknown = found.rule in MADE_FOR and package in sys.stdlib_module_names
        return UNKNOWN if unknown else package, explanation
    if not graph.leaking:
        return UNKNOWN, explanation
    reason = f"{found.reason}. Tried, {listed(graph.leaking)} keeps a reference to each value that it returns"
    confirmed = msgspec.structs.replace(explanation, suspect=msgspec.structs.replace(found, reason=reason))
    return graph.leaking[0].partition(".")[0], confirmed


def package_of(explanation: Explanation) -> str:
    """Return the package at fault: the nearest to the suspect link, the standard library's if no other."""
    packages = []
    at = explanation.suspect.step + 1
    for step in (*reversed(explanation.steps[:at]), *explanation.steps[at:]):
        vertex = step.vertex
        name = vertex.name if vertex.kind in NAMED else vertex.type
        if vertex.kind == "module":
            packages.append(_top(vertex.name))
        elif "." in name and vertex.kind != "exception":
            packages.append(_top(name))
    return next((name for name in packages if name not in sys.stdlib_module_names), (packages or [""])[0])


def _top(name: str) -> str:
    """Return the package of a dotted name: `_asyncio` is asyncio, but `_thread` is a module of its own."""
    package = name.partition(".")[0]
    plain = ACCELERATOR.sub("", package)
    only = package in sys.stdlib_module_names and plain not in sys.stdlib_module_names
    return package if only else plain
