"""Runs the script that `explain --reproducer` is about to write, and captures what its requests leave.

Arguments: the script, its name as a module, the file for the graph, the number of requests.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

HERE = os.path.dirname(os.path.abspath(__file__))
WARM_UP = 30
PAUSE = 0.3
"""Seconds within which the server has closed its connections."""
COLLECTIONS = 5


def load(name: str, path: str) -> ModuleType:
    """Load a file as the module `name`."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def collect() -> int:
    """Run as many full collections as finalizers may need; return the number of objects freed."""
    return sum(gc.collect() for _ in range(COLLECTIONS))


def main(path: str, name: str, graph: str, requests: str) -> None:
    """Run the script's server and client, and write the graph."""
    objects, references, capture = (
        load("outlive_" + own, os.path.join(HERE, "survivors", own + ".py"))
        for own in ("objects", "references", "capture")
    )
    script = load(name, path)
    with script.serve(script.create_app()) as address:
        script.send(address, WARM_UP)
        time.sleep(PAUSE)
        collect()
        gc.disable()
        gc.freeze()
        status = script.send(address, int(requests))
        time.sleep(PAUSE)
        capture.capture(objects, references, collect).write(graph, int(requests))
    print(status or "", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
