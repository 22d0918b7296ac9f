"""What outlive, objgraph and refcycle report about the same planted structures, and how long they take.

    python benchmarks/by_hand/side_by_side.py [STRUCTURE…]

The structures are those of tests/planted/structures.py, each planted five times in a heap that was frozen.
Each tool works in a fork of its own, so that it meets the same heap. objgraph has to be given an object: it
gets the last new one of the rarest type. objgraph and refcycle must be installed. Prints the table of
docs/explain.md, with milliseconds of CPU time.
"""

from __future__ import annotations

import collections
import gc
import importlib.util
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import objgraph
import refcycle

from outlive.retention import graph
from outlive.retention import structures as leaks
from outlive.wording import counted, listed
from outlive.worker.survivors import capture, objects, references

STRUCTURES = Path(__file__).parents[2] / "tests" / "planted" / "structures.py"
TIMES = 5
LABEL = re.compile(r'o\d+ -> o\d+ \[label="([^"]+)"')
OBJECT = re.compile(r"^ *o\d+\[label", re.MULTILINE)


def collect() -> int:
    """Collect until nothing more is freed; return how many objects were freed."""
    return sum(iter(gc.collect, 0))


def ours() -> str:
    """Return the trail of each structure, and its suspect link."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.json"
        capture.capture(objects, references, collect).write(str(path), TIMES)
        found = leaks.records(leaks.analyse(graph.read(path.read_bytes())))
    return "; ".join(f"`{one.trail}`, suspect `{one.suspect}`" for one in found if not one.further)


def rarest() -> object:
    """Return the last new object of the rarest type that is not Python's own, if there is one."""
    new = gc.get_objects()
    counts = collections.Counter(map(type, new))
    own = [one for one in new if type(one).__module__ not in ("builtins", "collections", __name__)]
    gc.unfreeze()  # objgraph cannot see what is frozen
    return min(reversed(own or new), key=lambda one: counts[type(one)])


def objgraph_chain() -> str:
    """Return the chain of types that `show_chain` draws."""
    chain = objgraph.find_backref_chain(rarest(), objgraph.is_proper_module)
    names = [type(one).__name__ for one in chain]
    return " → ".join(names) if len(names) > 1 else f"no chain from {names[0]}"


def objgraph_backrefs() -> str:
    """Return how many objects `show_backrefs` draws, and the names of references that are among them."""
    one, out = rarest(), io.StringIO()
    objgraph.show_backrefs([one], max_depth=4, output=out)
    text = out.getvalue()
    labels = [label.partition("\\n")[0] for label in dict.fromkeys(LABEL.findall(text))]
    return f"{counted(len(OBJECT.findall(text)), 'object')}, {named(labels)}"


def refcycle_parts() -> str:
    """Return how many strongly connected parts the garbage has, and the references of the smallest."""
    parts = refcycle.garbage().strongly_connected_components()
    parts = [part for part in parts if len(part) > 1 or part.edges]
    if not parts:
        return "no cycles"
    names = [edge.annotation for edge in min(parts, key=len).annotated().edges]
    return f"{counted(len(parts), 'cycle')}, {named(filter(None, names))}"


def named(labels: Iterable[str]) -> str:
    """Return the names of references as Markdown."""
    return listed([f"`{label}`" for label in dict.fromkeys(labels)], 5) or "no names"


TOOLS = {
    "outlive": ours,
    "objgraph `show_chain`": objgraph_chain,
    "objgraph `show_backrefs`": objgraph_backrefs,
    "refcycle": refcycle_parts,
}


def in_child(plant: Callable[[], object], run: Callable[[], str]) -> tuple[float, str]:
    """Plant and run in a fork; return the milliseconds and what the tool said."""
    read, write = os.pipe()
    if not os.fork():
        sys.stderr = io.StringIO()
        plant()
        collect()
        gc.freeze()
        for _ in range(TIMES):
            plant()
        start = time.process_time()
        try:
            said = run()
        except Exception as error:  # noqa: BLE001 - another tool's failure is its result
            said = repr(error)
        spent = (time.process_time() - start) * 1000
        os.write(write, json.dumps([spent, said[:400]]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        spent, said = json.load(answer)
    os.wait()
    return spent, said


def main() -> None:
    """Print a row for each structure: what each tool says of it, after its milliseconds."""
    spec = importlib.util.spec_from_file_location("structures", STRUCTURES)
    assert spec
    assert spec.loader
    structures = importlib.util.module_from_spec(spec)
    sys.modules["structures"] = structures
    spec.loader.exec_module(structures)
    gc.disable()
    print("|", " | ".join(["structure", *TOOLS]), "|")
    print("|" + "---|" * (1 + len(TOOLS)))
    for name in sys.argv[1:] or structures.planted:
        cells = []
        for run in TOOLS.values():
            spent, said = in_child(structures.planted[name], run)
            cells.append(f"{spent:.0f}: {said.replace('structures.', '')}")
        print("|", " | ".join([name.replace("_", " "), *cells]), "|")


if __name__ == "__main__":
    main()
