"""Captures the graph of the surviving objects and their references in the worker, and writes it to a file.

It is the last thing that a worker does: it unfreezes and searches the heap, so nothing can be counted
afterwards.

The vertices are the gc-tracked objects made since the last full collection and still alive; the edges are
their references, named by `references.Names`. A full collection then shows which objects are kept. From those
that older objects hold, a backward search over the whole heap finds the path to each from a root. A vertex is
[kind, type, name, place, bytes, flags], an edge [referrer, referent, name]; texts are indices into `texts`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from outlive.worker.survivors.references import Names

VERTICES = 100000
"""Most new objects captured, the youngest first; one sample of requests leaves a few hundred."""
SECONDS = 1.0
"""CPU seconds for naming references, and again for the backward search; `cut` lists what was left out."""
HELD = 72
"""Most kept objects from which the backward search starts."""
HELD_ALIKE = 24
"""Most of those that have the same type: one for each request of the sample is enough."""
LEVELS = 14
"""Longest path from a root, in references."""
FRONTIER = 48
"""Most objects of one level whose referrers are searched; each costs a comparison per reference."""
FRONTIER_ALIKE = 8
"""Most of those that have the same type."""
REFERRERS = 400
"""Most referrers examined in one level."""
BUFFER = 4096
"""Smallest string or buffer, in bytes, that is a separate vertex; smaller ones are added to their owner."""

KEPT, OLD, ROOT, FINALIZER, OPAQUE, CONTENT, ATOM = 1, 2, 4, 8, 16, 32, 64
"""Flags of a vertex: a full collection did not free it; it is older than the sample; a path may start here;
its class has `__del__`; something that the collector cannot see holds it; it is not a gc-tracked
object; a collection may stop tracking it."""
ATOMIC = (dict, tuple)  # a collection stops tracking those that refer to no tracked object
OWN = (list, dict, tuple, set, types.MethodType, types.CellType)
CONTENTS = (str, bytes, bytearray, memoryview, dict, tuple)


class NewObjects:
    """The captured vertices and edges, what was left out, and types of C code that were seen to leak.

    `unseen`: of a kept object, no holder was seen. C code may hold it.
    """

    def __init__(self) -> None:
        self.texts: dict[str, int] = {}
        self.ids: dict[int, int] = {}
        self.vertices: list[list[int]] = []
        self.edges: list[tuple[int, int, int]] = []
        self.cut: list[str] = []
        self.leaking: list[str] = []
        self.unseen = False

    def text(self, text: str) -> int:
        """Return the index of a text; a new text gets the next one."""
        return self.texts.setdefault(text, len(self.texts))

    def add(self, obj: object, described: Iterable[str], size: int, flags: int) -> None:
        """Add a vertex; `described` is what `objects.describe` returns, `size` is in bytes."""
        self.ids[id(obj)] = len(self.vertices)
        self.vertices.append([*map(self.text, described), size, flags])

    def connect(self, names: Names, obj: object, number: int) -> None:
        """Add an edge from `obj`, vertex `number`, to each referent that is a vertex, under its best name."""
        ids = self.ids
        done: set[int] = set()
        for name, target in names.references(obj):
            other = ids.get(id(target))
            if other is not None and other not in done:
                done.add(other)
                self.edges.append((number, other, self.text(name)))

    def write(self, path: str, requests: int) -> None:
        """Write the graph to a file as one JSON document."""
        document = {
            "python": "{}.{}.{}".format(*sys.version_info[:3]),
            "requests": requests,
            "texts": list(self.texts),
            "vertices": self.vertices,
            "edges": self.edges,
            "cut": self.cut,
            "leaking": self.leaking,
        }
        with open(path + ".part", "w", encoding="utf-8") as file:
            json.dump(document, file, separators=(",", ":"))
        os.replace(path + ".part", path)


def capture(objects: types.ModuleType, references: Any, collect: Callable[[], int]) -> NewObjects:
    """Return the objects made since the last full collection.

    `objects` and `references` are the modules of these names; `collect` runs full collections.
    """
    young = gc.get_objects(generation=0)
    own = _own_ids()
    _remove(young, own)
    graph = NewObjects()
    if len(young) > VERTICES:
        graph.cut.append(f"{len(young) - VERTICES} of {len(young)} new objects")
        del young[:-VERTICES]
    ids = list(map(id, young))
    made: set[int] = set()
    held = _new_objects(graph, references.Names(objects, made), young)
    young.clear()
    numbers = {identity: number for number, identity in enumerate(ids)}
    remaining = []
    still: set[int] = set()
    # No new object may be made in these two lines: it could get the address of one that was freed.
    collect()
    alive = gc.get_objects()
    for obj in alive:
        number = numbers.get(id(obj))
        if number is not None:
            graph.vertices[number][5] |= KEPT
            remaining.append(obj)
        elif id(obj) in made:
            still.add(id(obj))
    obj = None
    del alive
    _untracked(graph, ids, held)
    _keep_held(remaining, held)
    gc.unfreeze()
    made &= still
    search = Search(graph, references.Names(objects, made), remaining, own)
    search.run()
    search.add_stacks()
    graph.unseen = bool(search.missing) or any(vertex[5] & OPAQUE for vertex in graph.vertices)
    return graph


def _own_ids() -> set[int]:
    """Return the ids of this thread's frames and of the containers that they hold."""
    own: set[int] = set()
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        own.add(id(frame))
        shared = (frame.f_globals, frame.f_builtins)
        if frame.f_code.co_name != "<module>":
            for value in [*gc.get_referents(frame), *frame.f_locals.values()]:
                if type(value) in OWN and not any(value is namespace for namespace in shared):
                    own.add(id(value))
        frame = frame.f_back
    return own


def _remove(young: list[Any], own: set[int]) -> None:
    """Remove the harness's own objects from the list."""
    young[:] = [obj for obj in young if id(obj) not in own and not _is_ours(obj)]


def _is_view(obj: object) -> bool:
    """Return whether an object is the dict of one that stores its attributes itself, as on Python 3.13.

    On 3.13.0 the collector sees no reference to such a dict, nor any from it: its owner has them.
    """
    return type(obj) is dict and bool(obj) and not gc.get_referents(obj)


def _atomic(obj: object) -> bool:
    return type(obj) in ATOMIC and not any(map(gc.is_tracked, gc.get_referents(obj)))


def _new_objects(graph: NewObjects, names: Names, young: list[Any]) -> set[int]:
    """Add the objects and their references; return the ids of those that older objects hold too."""
    contents: dict[int, list[Any]] = {}
    inside = [0] * len(young)
    for obj in young:
        graph.add(obj, names.objects.describe(obj), _size(obj), _flags(obj))
    for number, obj in enumerate(young):
        for target in names.referents(obj):
            other = graph.ids.get(id(target))
            if other is not None:
                inside[other] += 1
            elif type(target) in CONTENTS and not (gc.is_tracked(target) and not _atomic(target)):
                content = contents.setdefault(id(target), [target, 0, number])
                content[1] += 1
    obj = target = None
    sample = [object()]
    own = sys.getrefcount(sample[0])
    held = {id(young[i]) for i in range(len(young)) if sys.getrefcount(young[i]) - own > inside[i]}
    held -= {id(obj) for obj in young if _is_view(obj)}
    _add_contents(graph, names, contents, own)
    deadline = time.thread_time() + SECONDS
    for number, obj in enumerate(young):
        graph.connect(names, obj, number)
        if not number % 256 and time.thread_time() > deadline:
            graph.cut.append(f"the references of {len(young) - number - 1} new objects")
            break
    return held


def _add_contents(graph: NewObjects, names: Names, contents: dict[int, list[Any]], own: int) -> None:
    """Add strings and the like that only new objects hold: as vertices if long, else to the first holder."""
    for content in contents.values():
        if sys.getrefcount(content[0]) - own > content[1]:
            continue
        size = _size(content[0])
        if size >= BUFFER:
            graph.add(content[0], names.objects.describe(content[0]), size, CONTENT)
        else:
            graph.vertices[content[2]][4] += size


def _size(obj: object) -> int:
    """Return the size of an object in bytes, without calling a `__sizeof__` that the app defines."""
    if type(getattr(type(obj), "__sizeof__", None)) is types.FunctionType:
        return object.__sizeof__(obj)
    try:
        return sys.getsizeof(obj)
    except Exception:  # noqa: BLE001 - a C type of the app may raise anything
        return 0


def _keep_held(remaining: list[Any], held: set[int]) -> None:
    """Remove from the list the objects that only new objects hold."""
    remaining[:] = [obj for obj in remaining if id(obj) in held]


def _untracked(graph: NewObjects, ids: list[int], held: set[int]) -> None:
    """Mark objects that the collection did not free but stopped tracking: they are not survivors."""
    flags = [vertex[5] for vertex in graph.vertices]
    still = {other for number, other, _ in graph.edges if flags[number] & KEPT}
    for number, identity in enumerate(ids):
        if flags[number] & ATOM and not flags[number] & KEPT and (identity in held or number in still):
            graph.vertices[number][5] |= CONTENT


def _threads(graph: NewObjects) -> dict[int, int]:
    """Return all that new threads hold, each with its thread; nothing else needs to hold a running thread."""
    targets: dict[int, list[int]] = {}
    for number, other, _ in graph.edges:
        targets.setdefault(number, []).append(other)
    kind = graph.text("thread")
    todo = [at for at, vertex in enumerate(graph.vertices) if vertex[0] == kind and vertex[5] & KEPT]
    inside = dict(zip(todo, todo))
    for number in todo:
        graph.vertices[number][5] |= OPAQUE if inside[number] == number else 0
        new = [other for other in targets.get(number, ()) if other not in inside]
        inside.update(dict.fromkeys(new, inside[number]))
        todo += new
    return inside


class Search:
    """Searches backwards from all kept objects at once, level by level.

    `leads_to` says which kept objects an object leads to, by its id: one bit for each kept object.
    """

    def __init__(self, graph: NewObjects, names: Names, start: list[Any], own: set[int]) -> None:
        self.graph = graph
        self.names = names
        self.threads = _threads(graph)
        start[:] = [obj for obj in start if graph.ids[id(obj)] not in self.threads]
        self.frontier = _some(start, HELD, HELD_ALIKE)
        if len(self.frontier) < len(start):
            cut = len(start) - len(self.frontier)
            graph.cut.append(f"the paths to {cut} of {len(start)} kept objects")
        self.leads_to = {id(obj): 1 << bit for bit, obj in enumerate(self.frontier)}
        self.missing = (1 << len(self.frontier)) - 1
        self.running = _running(names, own)
        self.keep: list[list[Any]] = []  # alive until the end, so that no id is used twice
        self.ours = own | {id(start), id(self.keep), id(self.leads_to), id(self.running), id(names.plans)}
        self.ours.update(map(id, self.running.values()))

    def run(self) -> None:
        """Add the old objects that lead from roots to the kept objects, within the limits."""
        deadline = time.thread_time() + SECONDS
        self.ours.add(id(sys._getframe()))
        for level in range(LEVELS):
            self.add_frames()
            if not self.missing or not self.frontier:
                return
            if time.thread_time() > deadline:
                self.graph.cut.append(f"paths from roots longer than {level} steps")
                return
            self.frontier = self.one_level()

    def add_stacks(self) -> None:
        """Ascribe to threads the methods that only their stacks hold, as `with lock:` does `__exit__`."""
        graph, bound = self.graph, self.graph.text("attribute:__self__")
        for method, owner, name in list(graph.edges):
            opaque = method not in self.threads and graph.vertices[method][5] & OPAQUE
            if name == bound and owner in self.threads and opaque:
                graph.vertices[method][5] &= ~OPAQUE
                graph.edges.append((self.threads[owner], method, graph.text("internal:")))

    def add_frames(self) -> None:
        """Add the running frames whose locals include objects of the frontier."""
        graph = self.graph
        for obj in self.frontier:
            for frame, name in self.running.get(id(obj), ()):
                self.missing &= ~self.leads_to[id(obj)]
                if id(frame) not in graph.ids:
                    graph.add(frame, self.names.objects.describe(frame), 0, OLD)
                number = graph.ids[id(frame)]
                graph.vertices[number][5] |= ROOT
                graph.edges.append((number, graph.ids[id(obj)], graph.text("local:" + name)))

    def one_level(self) -> list[Any]:
        """Add the referrers of the frontier and return the next frontier."""
        frontier = self.own(self.frontier)
        self.ours.add(id(sys._getframe()))
        referrers = self.own(gc.get_referrers(*frontier))
        wanted = set(map(id, frontier))
        referred: set[int] = set()
        new = self.own([])
        for obj in referrers[:REFERRERS]:
            if id(obj) in self.ours or id(obj) in self.names.made or _is_ours(obj, frontier):
                self.ours.add(id(obj))  # CPython 3.13 returns its arguments: kept, the next level finds them
                continue
            targets = {id(target) for target in self.names.referents(obj)} & wanted
            referred |= targets
            if self.add(obj, targets):
                new.append(obj)
        if len(referrers) <= REFERRERS:
            for opaque in wanted - referred - set(self.running):
                self.graph.vertices[self.graph.ids[opaque]][5] |= OPAQUE
                self.missing &= ~self.leads_to[opaque]
        return _some(new, FRONTIER, FRONTIER_ALIKE)

    def own(self, objects: list[Any]) -> list[Any]:
        """Exclude a list from the search, and return it."""
        self.ours.add(id(objects))
        self.keep.append(objects)
        return objects

    def add(self, obj: object, targets: set[int]) -> bool:
        """Add a referrer with its edges; return whether the search goes on from it."""
        graph = self.graph
        mask = 0
        for target in targets:
            mask |= self.leads_to[target]
        root = self.names.objects.is_root(obj)
        if id(obj) not in graph.ids:
            graph.add(obj, self.names.objects.describe(obj), 0, OLD | ROOT if root else OLD)
            graph.connect(self.names, obj, graph.ids[id(obj)])
        if root:
            self.missing &= ~mask
            return False
        reported = self.leads_to.get(id(obj), 0)
        self.leads_to[id(obj)] = reported | mask
        return bool(mask & ~reported)


def _some(objects: list[Any], most: int, alike: int) -> list[Any]:
    """Return at most `most` of the objects, and at most `alike` of each type, or methods of one function."""
    chosen = []
    counts: dict[int, int] = {}
    for obj in objects:
        kind = id(obj.__func__ if type(obj) is types.MethodType else type(obj))
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] <= alike:
            chosen.append(obj)
    return chosen[:most]


def _is_ours(obj: object, frontier: Sequence[object] = ()) -> bool:
    """Return whether an object is the harness's, a method of such an object, or the arguments of a search."""
    if type(obj) is tuple and len(obj) == len(frontier) > 0:
        return all(item is target for item, target in zip(obj, frontier))
    kind = type(obj.__self__) if type(obj) is types.MethodType else type(obj)
    return str(type.__dict__["__module__"].__get__(kind)).startswith(("outlive_", "outlive."))


def _flags(obj: object) -> int:
    finalizer = type(getattr(type(obj), "__del__", None)) is types.FunctionType
    return (FINALIZER if finalizer else 0) | (ATOM if _atomic(obj) else 0)


def _running(names: Names, own: set[int]) -> dict[int, list[tuple[types.FrameType, str]]]:
    """Return the (frame, name) pairs under which running frames hold objects, by the object's id."""
    local: dict[int, list[tuple[types.FrameType, str]]] = {}
    for running in list(sys._current_frames().values()):
        frame: types.FrameType | None = running
        while frame is not None:
            if id(frame) not in own:
                names.note_locals(frame)
                for name, value in list(frame.f_locals.items()) if frame.f_code.co_name != "<module>" else ():
                    local.setdefault(id(value), []).append((frame, name))
            frame = frame.f_back
    return local
