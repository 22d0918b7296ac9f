"""What counting costs: 1,000 Flask 404s with the collector off, bare and counted, taking turns.

Run by hand: `python benchmarks/by_hand/probe_cost.py [ROUNDS]`. Counting includes what a bare run never
pays for: the garbage is freed. Beside the probe, other tools that say what is alive, in the same server: each
begins before the first and reports after the last of the requests. They are installed into an environment of
their own in the user's cache; one that cannot be is left out and named.

asv does not read this folder: it has no `__init__.py`.
"""

from __future__ import annotations

import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from outlive.errors import OutliveError
from outlive.project import Project, cache_dir
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.client import Client
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.service.gunicorn import Server
from outlive.service.scenarios import Scenario
from outlive.stacks import environments
from outlive.stacks.environments import Environment
from outlive.stacks.prepare import prepare
from outlive.stacks.uv import run_uv

REQUESTS = 1000
WARM_UP = 20
TARGET = 1.05
PROBE = "outlive"
TOOLS = {
    "objgraph": "objgraph",
    "guppy": "guppy3",
    "pympler": "pympler",
    "memray": "memray",
    "tracemalloc": "",
}
"""What can be installed for each tool; nothing for one of the standard library."""
APP = """
import gc, sys
gc.disable()
sys.path.insert(0, {folder!r})
from v1 import app as service

def objgraph():
    import objgraph
    objgraph.growth()
    yield
    objgraph.growth()

def guppy():
    from guppy import hpy
    heap = hpy()
    heap.setrelheap()
    yield
    str(heap.heap())

def pympler():
    from pympler.tracker import SummaryTracker
    tracker = SummaryTracker()
    yield
    tracker.diff()

def memray():
    import memray, tempfile
    with memray.Tracker(tempfile.mktemp()):
        yield

def tracemalloc():
    import tracemalloc
    tracemalloc.start(25)
    yield
    tracemalloc.take_snapshot().statistics("traceback")

def bare():
    yield

tool, seen = {tool}(), 0

def app(environ, start_response):
    global seen
    seen += 1
    if seen in ({first}, {last}):
        next(tool, None)
    return service(environ, start_response)
"""


class Course:
    """The server of one tool, and the seconds that its requests took in each round."""

    def __init__(self, name: str, server: Server, scenario: Scenario) -> None:
        self.name = name
        self.server = server
        self.scenario = scenario
        self.seconds: list[float] = []
        self.replaying: list[float] = []

    def run(self) -> None:
        """Take the time of one round in a fresh worker."""
        line = self.server.fresh_worker()
        self._replay(WARM_UP)
        started = time.perf_counter()
        if self.name == PROBE:
            line.begin("off")
        between = time.perf_counter()
        self._replay(REQUESTS)
        self.replaying.append(time.perf_counter() - between)
        if self.name == PROBE:
            line.count()
        self.seconds.append(time.perf_counter() - started)

    def _replay(self, requests: int) -> None:
        Client(self.server.address, self.scenario, "close", lambda: None).replay(requests)


def main(rounds: int) -> None:
    """Print the median ratio of each tool's time to the bare one's."""
    project = Project.find()
    app = apps.load(project, "flask")
    worker = app.worker("close")
    assert worker is not None
    (scenario,) = scenarios.select(scenarios.load(project.scenarios), ["not-found"])
    release = Catalogue.load(project, "flask").newest()
    prepared = prepare(project, Stack("flask", release.version, "3.11"))
    environment, tools = with_tools(environments.ensure(prepared.lock, prepared.interpreter))
    courses: list[Course] = []
    with TemporaryDirectory(prefix="outlive-") as folder, ExitStack() as servers:
        for name in ("bare", PROBE, *tools):
            tool = name if name in tools else "bare"
            source = APP.format(
                folder=str(project.apps / "flask"), tool=tool, first=WARM_UP + 1, last=WARM_UP + REQUESTS
            )
            Path(folder, f"with_{tool}.py").write_text(source, encoding="utf-8")
            served = msgspec.structs.replace(app, target=f"with_{tool}:app")
            server = servers.enter_context(Server(environment, served, worker, Path(folder)))
            courses.append(Course(name, server, scenario))
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for course in courses:
                course.run()
    bare, probe, *others = courses
    print(f"{REQUESTS} not-found requests, {release}, Python 3.11, gc off", end=": ")
    print(f"{statistics.median(bare.seconds):.3f} s bare")
    print(line(PROBE, probe.seconds, bare.seconds), f"target {TARGET}")
    print(line("  replay only", probe.replaying, bare.seconds), "without begin and count")
    for course in others:
        print(line(course.name, course.seconds, bare.seconds))


def line(name: str, seconds: list[float], bare: list[float]) -> str:
    """Return the median ratio, and between which ones it lies."""
    ratios = [mine / plain for mine, plain in zip(seconds, bare, strict=True)]
    return f"{name:<14} {statistics.median(ratios):6.2f}x  ({min(ratios):.2f} to {max(ratios):.2f})"


def with_tools(environment: Environment) -> tuple[Environment, list[str]]:
    """Return an environment with the same packages and the tools, and the tools that it has."""
    path = cache_dir() / "probe-cost" / environment.path.name
    python = path / "bin" / "python"
    if not python.exists():
        run_uv(["venv", "--python", environment.python, path])
        run_uv(["pip", "install", "--python", python, *map(str, environment.lock.packages)])
    present = []
    for tool, distribution in TOOLS.items():
        try:
            if distribution:
                run_uv(["pip", "install", "--python", python, "--only-binary", ":all:", distribution])
            present.append(tool)
        except OutliveError as error:
            print(f"{tool} is left out: {error}", file=sys.stderr)
    return msgspec.structs.replace(environment, path=path, python=python), present


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
