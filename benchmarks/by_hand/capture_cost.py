"""What capturing costs on a large heap, compared with objgraph and refcycle on the same objects.

    python benchmarks/by_hand/capture_cost.py [OLD] [NEW]

OLD frozen objects (1,000,000) and NEW ones (100,000), two thirds of the new ones in cycles, the rest leaked.
Prints seconds of CPU time and on the clock, and the peak memory added. The other tools are asked where they
are installed.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from outlive.retention import graph, structures
from outlive.worker.survivors import capture, objects, references

CHAIN = 4  # objects of one planted structure that the collector tracks: an empty dict is none


class Node:
    """An object with a dict."""

    others: list[Node]
    back: Node | None
    extra: dict[str, Node]


def plant(count: int, leaked: list[Node]) -> None:
    """Make about `count` objects: pairs with a list and a dict between them; a third stays in `leaked`."""
    for number in range(count // CHAIN):
        one, other = Node(), Node()
        one.others = [other]
        other.back = one if number % 3 else None
        one.extra, other.extra = {"node": other}, {}
        if not number % 3:
            leaked.append(one)


def peak() -> float:
    """Return the peak resident memory in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def collect() -> int:
    """Collect until nothing more is freed; return how many objects were freed."""
    return sum(iter(gc.collect, 0))


def in_child(run: Callable[[], object]) -> tuple[tuple[float, float], float, str]:
    """Run in a fork, so that each tool meets the same heap; return its seconds, memory and report."""
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        before, start, cpu = peak(), time.perf_counter(), time.process_time()
        said: object
        try:
            said = run()
        except Exception as error:  # noqa: BLE001 - another tool's failure is its result
            said = repr(error)
        seconds = time.process_time() - cpu, time.perf_counter() - start
        os.write(write, json.dumps([seconds, peak() - before, str(said)[:300]]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        (cpu, spent), memory, text = json.load(answer)
    os.waitpid(pid, 0)
    return (cpu, spent), memory, text


def ours() -> str:
    """Capture and write; return how large the graph is."""
    captured = capture.capture(objects, references, collect)
    captured.write(PATH, 11)
    return f"{len(captured.vertices)} objects, {len(captured.edges)} references; cut: {captured.cut}"


def with_objgraph() -> list[str]:
    """Return the chain of references to one leaked object that objgraph finds."""
    import objgraph  # noqa: PLC0415 - it may not be installed

    gc.unfreeze()  # it cannot see what is frozen
    chain = objgraph.find_backref_chain(LEAKED[-1], objgraph.is_proper_module)
    return [type(one).__name__ for one in chain]


def with_refcycle() -> str:
    """Return how many cyclic parts refcycle sees in the garbage."""
    import refcycle  # noqa: PLC0415 - it may not be installed

    garbage = refcycle.garbage()
    parts = garbage.strongly_connected_components()
    names = [edge.annotation for edge in min(parts, key=len).annotated().edges]
    return f"{len(garbage)} objects, {len(parts)} components, references of one: {names}"


FOLDER = tempfile.TemporaryDirectory()
PATH = str(Path(FOLDER.name) / "graph.json")
LEAKED: list[Node] = []


def written(seconds: tuple[float, float]) -> str:
    """Return both times as text."""
    return f"{seconds[0]:6.2f} s of CPU, {seconds[1]:6.2f} s on the clock"


def main() -> None:
    """Print one line for each tool."""
    old, new = (int(word) for word in (sys.argv[1:] + ["1000000", "100000"][len(sys.argv) - 1 :]))
    heap = [[i] for i in range(old)]
    gc.disable()
    gc.collect()
    gc.freeze()
    plant(new, LEAKED)
    print(f"{gc.get_freeze_count()} old objects, {len(gc.get_objects())} new ones, {len(heap)} in one list")
    tools: dict[str, Callable[[], object]] = {"outlive": ours}
    tools |= {"objgraph": with_objgraph} if importlib.util.find_spec("objgraph") else {}
    tools |= {"refcycle": with_refcycle} if importlib.util.find_spec("refcycle") else {}
    for name, run in tools.items():
        seconds, memory, said = in_child(run)
        print(f"{name:10} {written(seconds)} {memory:7.1f} MiB  {said}")
    start, cpu = time.perf_counter(), time.process_time()
    analysis = structures.analyse(graph.read(Path(PATH).read_bytes()))
    seconds = time.process_time() - cpu, time.perf_counter() - start
    print(f"analysis   {written(seconds)}, {len(analysis.structures)} structures")
    for structure in analysis.structures:
        print(f"  {structure.growth} {structure.instances} times: {structure.explanation.trail}")


if __name__ == "__main__":
    main()
