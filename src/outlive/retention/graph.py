"""The graph of what survived, as the worker captured it: vertices are objects, edges are named references.

Pure. The weights of references make the lightest paths those that a programmer would describe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, cast

import msgspec

from outlive.errors import FaultError

if TYPE_CHECKING:  # slow to import: only what explains a graph does
    import networkx as nx

KEPT, OLD, ROOT, FINALIZER, OPAQUE, CONTENT, ATOM = 1, 2, 4, 8, 16, 32, 64
"""Flags of a vertex; `outlive.worker.survivors.capture` sets and explains them."""
KEY = "key:"
"""How the name of a reference by a dict's key begins."""
PLAIN = 10
"""Weight of a reference that has a name."""
INCIDENTAL = {
    "attribute:f_back": 35,  # the caller: every frame has one, and it is rarely at fault
    "attribute:__globals__": 60,
    "attribute:__class__": 15,
    "attribute:__mro__": 25,
    "attribute:__objclass__": 40,
    "attribute:__bases__": 14,
    "attribute:__dict__": 14,
    "attribute:__closure__": 14,
    "internal:": 22,
    "keyed:": 12,
}
"""Weights of references that a path should only use if there is no better way."""
MOST_STARTS = 400
"""Most vertices of a strongly connected component from which rings are searched for."""


class Vertex(msgspec.Struct, frozen=True, kw_only=True):
    """An object: its kind, its type's dotted name, its own name and place (may be empty), its bytes."""

    kind: str
    type: str
    name: str = ""
    place: str = ""
    bytes: int = 0
    flags: int = 0

    def has(self, flag: int) -> bool:
        """Return whether a flag is set."""
        return bool(self.flags & flag)


class PathStep(msgspec.Struct, frozen=True, kw_only=True):
    """One reference of a ring or path: the referrer and the name by which it refers to the next object.

    Older objects have a lower `number`. The last step of a path has an empty `reference`.
    """

    vertex: Vertex
    number: int
    reference: str

    @property
    def sort(self) -> str:
        """The sort of reference: attribute, local, key, index, closure, callback and so on."""
        return self.reference.partition(":")[0]

    @property
    def name(self) -> str:
        """The name of the reference; empty if it has none."""
        return self.reference.partition(":")[2]


class Graph(msgspec.Struct, frozen=True):
    """Objects and the references between them; `requests` requests made the new objects.

    `leaking` are types of C code which, when tried, kept a reference to each object that they returned.
    """

    python: str
    requests: int
    vertices: tuple[Vertex, ...]
    edges: tuple[tuple[int, int, str], ...]
    cut: tuple[str, ...] = ()
    leaking: tuple[str, ...] = ()

    def network(self, members: Iterable[int] | None = None) -> nx.DiGraph[int]:
        """Return the graph, or the part of it among `members`, as a networkx graph with weights."""
        import networkx as nx  # noqa: PLC0415 - see above

        network: nx.DiGraph[int] = nx.DiGraph()
        chosen = set(range(len(self.vertices)) if members is None else members)
        network.add_nodes_from(sorted(chosen))
        network.add_edges_from(
            (a, b, {"reference": name, "weight": INCIDENTAL.get(name, PLAIN)})
            for a, b, name in self.edges
            if a in chosen and b in chosen
        )
        return network

    def steps(self, network: nx.DiGraph[int], path: list[int], *, ring: bool) -> tuple[PathStep, ...]:
        """Return the steps along a path of vertices; the last step of a ring leads back to the first."""
        after = path[1:] + path[:1] if ring else path[1:]
        names = [str(network.edges[a, b]["reference"]) for a, b in zip(path, after, strict=False)]
        return tuple(
            PathStep(vertex=self.vertices[number], number=number, reference=name)
            for number, name in zip(path, [*names, ""], strict=False)
        )


class _File(msgspec.Struct, frozen=True):
    python: str
    requests: int
    texts: list[str]
    vertices: list[tuple[int, int, int, int, int, int]]
    edges: list[tuple[int, int, int]]
    cut: list[str]
    leaking: list[str] = []


def read(data: bytes, key: Callable[[str], str] = str) -> Graph:
    """Return the graph that a worker wrote; `key` returns how the name of a dict's key is said.

    Raises FaultError if `data` is not one.
    """
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise FaultError(f"the worker wrote no graph: {error}") from None
    text = [key(word) if word.startswith(KEY) else word for word in file.texts]
    return Graph(
        python=file.python,
        requests=file.requests,
        vertices=tuple(
            Vertex(kind=text[k], type=text[t], name=text[n], place=text[p], bytes=size, flags=flags)
            for k, t, n, p, size, flags in file.vertices
        ),
        edges=tuple((a, b, text[name]) for a, b, name in file.edges),
        cut=tuple(file.cut),
        leaking=tuple(file.leaking),
    )


def cycles(network: nx.DiGraph[int]) -> list[set[int]]:
    """Return the strongly connected components with several vertices, or one that refers to itself."""
    import networkx as nx  # noqa: PLC0415 - see above

    parts = map(set, nx.strongly_connected_components(network))
    return [part for part in parts if len(part) > 1 or any(network.has_edge(v, v) for v in part)]


def lightest_paths(
    network: nx.DiGraph[int], roots: Iterable[int], cutoff: float | None = None
) -> tuple[dict[int, float], dict[int, list[int]]]:
    """Return (weights, paths) of the lightest path from a root to each vertex that can be reached."""
    import networkx as nx  # noqa: PLC0415 - see above

    lightest = nx.multi_source_dijkstra(network, set(roots), cutoff=cutoff, weight="weight")
    return cast("tuple[dict[int, float], dict[int, list[int]]]", lightest)


def rings(network: nx.DiGraph[int]) -> list[list[int]]:
    """Return the lightest rings of a strongly connected component, each starting at its oldest vertex."""
    lightest: float | None = None
    weight_of: dict[tuple[int, ...], float] = {}
    for start in sorted(network)[:MOST_STARTS]:
        weights, paths = lightest_paths(network, [start], lightest)
        for before in network.predecessors(start):
            if before not in paths:
                continue
            weight = weights[before] + network.edges[before, start]["weight"]
            if lightest is None or weight <= lightest:
                lightest = weight
                path = paths[before]
                first = path.index(min(path))
                weight_of[tuple(path[first:] + path[:first])] = weight
    return [list(ring) for ring, weight in weight_of.items() if weight == lightest]
