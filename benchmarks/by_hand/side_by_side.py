"""What outlive, objgraph and refcycle name of the same planted structures, and how long each takes.

    python benchmarks/by_hand/side_by_side.py [STRUCTURE…]

The structures are those of tests/planted/structures.py, each planted five times in a heap that was frozen.
Each tool works in a fork of its own, so that it meets the same heap. objgraph has to be given an object: it
gets the last new one of the rarest type. objgraph and refcycle must be installed.
"""

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
from pathlib import Path

import objgraph
import refcycle

from outlive import graph, leaks
from outlive.report.fingerprints import suspect
from outlive.worker import capture, objects, references

STRUCTURES = Path(__file__).parents[2] / "tests" / "planted" / "structures.py"
TIMES = 5
LABEL = re.compile(r'o\d+ -> o\d+ \[label="([^"]+)"')
OBJECT = re.compile(r"^ *o\d+\[label", re.MULTILINE)


def collect():
    """Collect until nothing more is freed."""
    while gc.collect():
        pass


def ours():
    """Return the suspect of what keeps most, and its trail."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.json"
        capture.capture(objects, references, collect).write(str(path), TIMES)
        found = leaks.records(leaks.analyse(graph.read(path.read_bytes())))
    return "; ".join(f"{one.growth}: {one.trail} ◀ {suspect(one)}" for one in found if not one.further)


def rarest():
    """Return the last new object of the rarest type that is not Python's own, if there is one."""
    new = gc.get_objects()
    counts = collections.Counter(map(type, new))
    own = [one for one in new if type(one).__module__ not in ("builtins", "collections", __name__)]
    gc.unfreeze()  # objgraph cannot see what is frozen
    return min(reversed(own or new), key=lambda one: counts[type(one)])


def objgraph_chain():
    """Return the chain of types that `show_chain` draws."""
    chain = objgraph.find_backref_chain(rarest(), objgraph.is_proper_module)
    return " → ".join(type(one).__name__ for one in chain) + ("" if len(chain) > 1 else " (no chain)")


def objgraph_backrefs():
    """Return how many objects `show_backrefs` draws, and the names of references that are among them."""
    one, out = rarest(), io.StringIO()
    objgraph.show_backrefs([one], max_depth=4, output=out)
    text = out.getvalue()
    labels = dict.fromkeys(LABEL.findall(text))
    return f"{len(OBJECT.findall(text))} objects; {', '.join(labels) or 'no names'}"


def refcycle_parts():
    """Return how many strongly connected parts the garbage has, and the references of the smallest."""
    parts = refcycle.garbage().strongly_connected_components()
    parts = [part for part in parts if len(part) > 1 or part.edges]
    if not parts:
        return "no cycles"
    names = [edge.annotation for edge in min(parts, key=len).annotated().edges]
    return f"{len(parts)} cycles; {', '.join(map(str, names))}"


TOOLS = {
    "outlive": ours,
    "show_chain": objgraph_chain,
    "show_backrefs": objgraph_backrefs,
    "refcycle": refcycle_parts,
}


def in_child(plant, run):
    """Plant and run in a fork; return the milliseconds and what the tool said."""
    read, write = os.pipe()
    if not os.fork():
        sys.stderr = io.StringIO()
        plant()
        collect()
        gc.freeze()
        for _ in range(TIMES):
            plant()
        start = time.perf_counter()
        try:
            said = run()
        except Exception as error:  # noqa: BLE001 - another tool's failure is its result
            said = repr(error)
        spent = (time.perf_counter() - start) * 1000
        os.write(write, json.dumps([spent, said[:400]]).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        spent, said = json.load(answer)
    os.wait()
    return spent, said


def main():
    """Print what each tool says of each structure."""
    spec = importlib.util.spec_from_file_location("structures", STRUCTURES)
    structures = importlib.util.module_from_spec(spec)
    sys.modules["structures"] = structures
    spec.loader.exec_module(structures)
    gc.disable()
    for name in sys.argv[1:] or structures.planted:
        print(name)
        for tool, run in TOOLS.items():
            spent, said = in_child(structures.planted[name], run)
            print(f"  {tool:14} {spent:7.1f} ms  {said}")


if __name__ == "__main__":
    main()
