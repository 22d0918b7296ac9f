"""Finds the distinct structures in the graph of the survivors, each with its shortest explanation.

Pure. A cyclic structure is a strongly connected component of the garbage with everything that hangs on it;
its explanation is a ring. A leaked structure is everything new below one link from an old object; its
explanation is a path from a root.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from outlive.records.measurement import Leak
from outlive.retention.graph import (
    ATOM,
    CONTENT,
    KEPT,
    OLD,
    OPAQUE,
    ROOT,
    Graph,
    PathStep,
    cycles,
    lightest_paths,
    rings,
)
from outlive.retention.owners import fault, held, package_of
from outlive.retention.suspects import PATH_RULES, RING_RULES, suspect
from outlive.retention.trails import Explanation, normal, place, trail

if TYPE_CHECKING:
    import networkx as nx

Class = Literal["cyclic", "leaked", "bounded"]

FURTHER = 3
"""Most rings after the first; each remains if the suspect links before it are cut."""
LEAST_RATE = 0.5
"""Least instances per request, or connection, of a structure that comes with them; this is only a sample."""
LARGE = 5
"""Least objects per request for which even a single instance counts: a chain that grows has only one."""


class Structure(msgspec.Struct, frozen=True, kw_only=True):
    """One distinct structure that outlives its request; numbers of objects and bytes are those of an example.

    `members` are the objects in the cycle, or at the end of the path; `hanging` are those that only they keep
    alive. `holds` is the nearest of these that has a name, if what is at the end of the path has none.
    `further` are the rings that remain if the suspect links before them are cut. `package` is the package of
    the suspect link; `python` says whether it is the standard library.
    """

    growth: Class
    fingerprint: str
    package: str
    python: bool
    explanation: Explanation
    further: tuple[Explanation, ...]
    instances: int
    rate: float
    per: Literal["request", "connection"]
    objects_per_request: float
    members: int
    members_bytes: int
    hanging: int
    hanging_bytes: int
    holds: str
    types: tuple[tuple[str, int], ...]
    buffers: tuple[tuple[str, int], ...]

    @property
    def explanations(self) -> tuple[Explanation, ...]:
        """All its rings, or its path."""
        return self.explanation, *self.further


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """The structures, most objects first, and what else was in the graph.

    `weak` is the number of weak references per request to objects that are kept, which go with them; `once`
    the number of objects that come once and not with requests; `cut` lists what was left out to stay within
    limits.
    """

    python: str
    requests: int
    structures: tuple[Structure, ...]
    weak: float
    once: int
    cut: tuple[str, ...]


class _Instance(msgspec.Struct, frozen=True):
    explanation: Explanation
    further: tuple[Explanation, ...]
    members: frozenset[int]
    hanging: frozenset[int]


def analyse(
    graph: Graph, *, connections: int | None = None, bounded: bool = False, collecting: bool = False
) -> Analysis:
    """Return the distinct structures of a graph.

    `connections` is how many connections the requests used (default: one each); what comes with each of them
    counts too. `bounded`: what is kept is known to stop growing. `collecting`: leave cyclic garbage out.
    """
    by_growth: list[tuple[Class, list[_Instance]]] = [("bounded" if bounded else "leaked", _leaked(graph))]
    if not collecting:
        by_growth.append(("cyclic", _cyclic(graph)))
    structures: list[Structure] = []
    weak = once = 0
    connections = connections or graph.requests
    least = max(2, connections * LEAST_RATE)
    for growth, instances in by_growth:
        for cluster in _clusters(instances):
            if cluster[0].explanation.suspect.rule == "weak-reference":
                weak += len(cluster)
            elif len(cluster) >= least or _objects(graph, cluster) >= LARGE * graph.requests:
                structures.append(_structure(graph, cluster, growth, connections))
            else:
                once += _objects(graph, cluster)
    structures.sort(key=lambda structure: (-structure.objects_per_request, structure.fingerprint))
    return Analysis(
        python=graph.python,
        requests=graph.requests,
        structures=tuple(structures),
        weak=weak / graph.requests,
        once=once,
        cut=graph.cut,
    )


def records(analysis: Analysis) -> tuple[Leak, ...]:
    """Return records of the rings and paths that come with requests, in the order of their fingerprints.

    What comes with connections shows in cells where each request has its own. A structure's further rings are
    included: which of several is the shortest may differ between releases. If several structures share a
    ring, it is one record with the objects of all.
    """
    by_fingerprint: dict[str, Leak] = {}
    for structure in analysis.structures:
        if structure.per == "connection":
            continue
        for explanation in structure.explanations:
            leak = _record(structure, explanation)
            same = by_fingerprint.get(leak.fingerprint)
            if same:
                objects = same.objects_per_request + leak.objects_per_request
                leak = msgspec.structs.replace(same, objects_per_request=objects)
            by_fingerprint[leak.fingerprint] = leak
    return tuple(by_fingerprint[fingerprint] for fingerprint in sorted(by_fingerprint))


def _record(structure: Structure, explanation: Explanation) -> Leak:
    return Leak(
        fingerprint=explanation.fingerprint,
        growth=structure.growth,
        package=structure.package,
        python=structure.python,
        trail=explanation.trail,
        suspect=place(explanation.steps, explanation.suspect.step),
        objects_per_request=round(structure.objects_per_request, 2),
        further=explanation is not structure.explanation,
    )


def _clusters(instances: Iterable[_Instance]) -> list[list[_Instance]]:
    """Return the instances grouped by what they are; keys and values of the same dict are one instance."""
    alike: dict[str, list[_Instance]] = defaultdict(list)
    for instance in instances:
        alike[instance.explanation.fingerprint].append(instance)
    by_holder: dict[tuple[object, ...], list[list[_Instance]]] = defaultdict(list)
    for cluster in alike.values():
        steps = cluster[0].explanation.steps
        ring = bool(steps[-1].reference)
        key = steps if ring else tuple(step.number for step in steps[:-1])
        by_holder[key, len(cluster)].append(cluster)
    return [_merged(clusters) for clusters in by_holder.values()]


def _merged(clusters: list[list[_Instance]]) -> list[_Instance]:
    clusters.sort(key=lambda cluster: -sum(len(instance.hanging) for instance in cluster))
    first, *others = clusters
    return [
        msgspec.structs.replace(
            instance, hanging=instance.hanging.union(*(more.members | more.hanging for more in parts))
        )
        for instance, *parts in zip(first, *others, strict=True)
    ]


def _objects(graph: Graph, cluster: Iterable[_Instance]) -> int:
    return sum(
        not graph.vertices[v].has(CONTENT)
        for instance in cluster
        for v in instance.members | instance.hanging
    )


def _structure(graph: Graph, cluster: Sequence[_Instance], growth: Class, connections: int) -> Structure:
    by_size = sorted(cluster, key=lambda each: (len(each.members) + len(each.hanging), min(each.members)))
    example = by_size[len(by_size) // 2]
    package, explanation = fault(graph, example.explanation)
    by_request = len(cluster) >= graph.requests * LEAST_RATE
    both = example.members | example.hanging
    tracked = [graph.vertices[v] for v in both if not graph.vertices[v].has(CONTENT)]
    buffers = [graph.vertices[v] for v in both if graph.vertices[v].flags & (CONTENT | ATOM) == CONTENT]
    return Structure(
        growth=growth,
        fingerprint=example.explanation.fingerprint,
        package=package,
        python=package in sys.stdlib_module_names,
        explanation=explanation,
        further=example.further,
        instances=len(cluster),
        rate=len(cluster) / (graph.requests if by_request else connections),
        per="request" if by_request else "connection",
        objects_per_request=len(tracked) * len(cluster) / graph.requests,
        members=len(example.members),
        members_bytes=sum(graph.vertices[v].bytes for v in example.members),
        hanging=len(tracked) - len(example.members),
        hanging_bytes=sum(graph.vertices[v].bytes for v in example.hanging),
        holds="" if growth == "cyclic" else held(graph, example.members, example.hanging),
        types=tuple(sorted(Counter(v.type for v in tracked).items(), key=lambda item: (-item[1], item[0]))),
        buffers=tuple(sorted(((v.type, v.bytes) for v in buffers), key=lambda item: -item[1])),
    )


# Cyclic garbage


def _cyclic(graph: Graph) -> list[_Instance]:
    garbage = [i for i, vertex in enumerate(graph.vertices) if not vertex.flags & (KEPT | OLD)]
    network = graph.network(garbage)
    components = sorted(cycles(network), key=min)
    taken: set[int] = set().union(*components)
    explanations: dict[tuple[object, ...], tuple[Explanation, tuple[Explanation, ...]]] = {}
    instances = []
    for members in components:
        hanging = _below(network, members, taken)
        taken |= hanging
        component = network.subgraph(members)
        alike = tuple(sorted(what for _, what in _references(graph, component)))
        if alike not in explanations:
            explanations[alike] = _explain_ring(graph, component)
        explanation, further = explanations[alike]
        instances.append(_Instance(explanation, further, frozenset(members), frozenset(hanging)))
    return instances


def _below(network: nx.DiGraph[int], start: Iterable[int], stop: set[int]) -> set[int]:
    """Return the vertices that can be reached from `start` past `stop`, without either."""
    reached: set[int] = set()
    todo = list(start)
    while todo:
        for vertex in network.successors(todo.pop()):
            if vertex not in stop and vertex not in reached:
                reached.add(vertex)
                todo.append(vertex)
    return reached.difference(start)


def _references(
    graph: Graph, network: nx.DiGraph[int]
) -> Iterator[tuple[tuple[int, int], tuple[str, str, str]]]:
    """Yield each edge, and what it is: equal for references of one name between objects of the same kinds."""
    for a, b, data in network.edges(data=True):
        yield (a, b), (normal(graph.vertices[a]), data["reference"], normal(graph.vertices[b]))


def _explain_ring(graph: Graph, component: nx.DiGraph[int]) -> tuple[Explanation, tuple[Explanation, ...]]:
    explanations: list[Explanation] = []
    left = component.copy()
    while len(explanations) <= FURTHER:
        parts = cycles(left)
        if not parts:
            break
        part = left.subgraph(max(parts, key=lambda part: (len(part), -min(part))))
        shortest = [_ring(graph.steps(part, ring, ring=True)) for ring in rings(part)]
        # of equally short rings, one outside of the standard library says more
        best = min(shortest, key=lambda ring: (package_of(ring) in sys.stdlib_module_names, ring.trail))
        explanations.append(best)
        at = best.suspect.step
        before, after = best.steps[at], best.steps[(at + 1) % len(best.steps)]
        cut = (normal(before.vertex), before.reference, normal(after.vertex))
        alike = [edge for edge, what in _references(graph, left) if what == cut]
        left.remove_edges_from([edge for a, b in alike for edge in [(a, b), *_behind(graph, left, a, b)]])
    return explanations[0], tuple(explanations[1:])


def _behind(graph: Graph, network: nx.DiGraph[int], a: int, b: int) -> list[tuple[int, int]]:
    """Return the references that the shortcut from `a` to `b` skips: those of a's dict, tuple and cells."""

    def container(vertex: int) -> bool:
        return graph.vertices[vertex].kind in ("container", "frame")

    own = {c for c in network.successors(a) if container(c)}
    own |= {d for c in own for d in network.successors(c) if graph.vertices[d].type == "cell"}
    return [(c, b) for c in network.predecessors(b) if c in own and c != b]


def _ring(steps: tuple[PathStep, ...]) -> Explanation:
    """Return the explanation of a ring, turned so that its suspect link comes last."""
    parts = trail(steps)
    start = min(range(len(parts)), key=lambda at: parts[at:] + parts[:at])
    fault = suspect(RING_RULES, steps)
    first = (fault.step + 1) % len(steps)
    return Explanation.of(
        steps[first:] + steps[:first],
        msgspec.structs.replace(fault, step=len(steps) - 1),
        ("ring", *parts[start:], *parts[:start]),
    )


# Leaks


def _leaked(graph: Graph) -> list[_Instance]:
    leaked = [i for i, vertex in enumerate(graph.vertices) if vertex.has(KEPT) and not vertex.has(OLD)]
    if not leaked:
        return []
    contents = [i for i, vertex in enumerate(graph.vertices) if vertex.has(CONTENT)]
    new = set(leaked) | set(contents)
    whole = graph.network([*new, *(i for i, vertex in enumerate(graph.vertices) if vertex.has(OLD))])
    weights, paths = _from_roots(graph, whole)
    entries = [
        v for v in leaked if v in paths and (len(paths[v]) == 1 or graph.vertices[paths[v][-2]].has(OLD))
    ]
    entries.sort(key=lambda v: (weights[v], v))
    taken = set(whole) - new
    instances = []
    for entry in entries:
        if entry in taken:
            continue
        below = _below(whole, [entry], taken)
        taken |= below | {entry}
        steps = graph.steps(whole, paths[entry], ring=False)
        explanation = Explanation.of(steps, suspect(PATH_RULES, steps), ("path", *trail(steps)))
        instances.append(_Instance(explanation, (), frozenset([entry]), frozenset(below)))
    return instances


def _from_roots(graph: Graph, network: nx.DiGraph[int]) -> tuple[dict[int, float], dict[int, list[int]]]:
    """Return (weights, paths) from roots; what they do not reach, from where the backward search ended."""
    roots = [v for v in network if graph.vertices[v].flags & (ROOT | OPAQUE)]
    ends = [v for v in network if graph.vertices[v].has(OLD) and not network.in_degree(v)]
    weights: dict[int, float] = {}
    paths: dict[int, list[int]] = {}
    for start in (roots, ends):
        if start:
            more = lightest_paths(network, start)
            weights, paths = more[0] | weights, more[1] | paths
    return weights, paths
