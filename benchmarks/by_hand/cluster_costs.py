"""What a sweep on many machines costs: two workers against one, the scheduler, the store, environments, git.

    python benchmarks/by_hand/cluster_costs.py [scheduler|store|git|environments|speed-up]…

Prints one line for each number; docs/cluster.md plans with them. Times are only as quiet as the machine: what
counts is the ratio of runs side by side. Needs the extra `cluster`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from unittest import mock

import msgspec

from outlive.project import Project
from outlive.records.measurement import Cell, Measurement, Origin, PythonRecord
from outlive.records.stack import Stack
from outlive.replay import engine, place
from outlive.replay.cluster import workers
from outlive.replay.cluster.orders import Filled, Order, Part, Work
from outlive.replay.store import Store, read
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.stacks import environments
from outlive.stacks.locks import Lock
from outlive.stacks.prepare import Prepared, prepare

CHECKOUT = Path(__file__).parents[2]
STORED = CHECKOUT / "results/measurements/aiohttp/3.14.4"
"""A release of whose default set each Python's stack has one file."""
STACKS = tuple(f"flask==3.{minor}.{patch},python==3.11" for minor, patch in ((0, 2), (0, 3), (1, 2), (1, 3)))
CELLS = tuple(
    Cell(scenario, "close", policy)
    for scenario in ("ok", "not-found", "handler-error", "bad-json", "upload")
    for policy in ("off", "on")
)
ORDERS = 200


@contextmanager
def fresh() -> Iterator[tuple[Project, Path]]:
    """Yield a checkout in which nothing was measured yet, and a folder beside it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "checkout"
        root.mkdir()
        for name in ("apps", "loadtests", "releases"):
            (root / name).symlink_to(CHECKOUT / name)
        yield Project(root), Path(folder)


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def say(what: str, value: float, unit: str) -> None:
    """Print a number."""
    print(f"{what:<72} {value:>10,.3g} {unit}", flush=True)


def stored() -> Path:
    """Return the file of a stack with the whole default set."""
    return max(STORED.glob("py3.11-*.json"), key=lambda path: path.stat().st_size)


def scheduler() -> None:
    """Time workers that answer at once: what remains is the scheduler's own and the way there and back."""
    document = read(stored())
    origin = Origin(host="0", machine=document.provenance.machine, interpreter=PythonRecord(version="3.11.7"))
    with fresh() as (project, _):
        part = Part(apps.load(project, "flask"), (), 1)
        with workers.connected(place.LOCAL, project, 2) as cluster:
            for what, measurements in (("no records", ()), ("its records", document.measurements)):
                answer = msgspec.json.encode(Filled(origin=origin, measurements=measurements))
                orders = {
                    number: Order(
                        identity="",
                        work=Work(Lock("flask", str(number), "3.11", (), str(number), None), "", (part,)),
                        jobs=1,
                    )
                    for number in range(ORDERS)
                }
                used = time.process_time()
                with mock.patch.object(workers, "fill", partial(_answer, answer)):
                    took = seconds(partial(list, cluster.filled(orders)))
                used = time.process_time() - used
                say(
                    f"a stack through the scheduler, {what}, {len(answer):,} bytes",
                    1000 * took / ORDERS,
                    "ms",
                )
                say("… processor time of the client, which holds the scheduler", 1000 * used / ORDERS, "ms")


def _answer(answer: bytes, _order: bytes) -> bytes:
    return answer


def store() -> None:
    """Time what the client does with the records of one stack."""
    path = stored()
    document = read(path)
    (stack,) = document.provenance.stacks
    say("cells of this stack", len(document.measurements), "")
    say("its file in the store", path.stat().st_size, "bytes")
    with fresh() as (project, _):

        def add(number: int) -> None:
            lock = f"{number:012x}"
            Store(project, msgspec.structs.replace(stack, lock=lock)).add(document.measurements)

        took = median(seconds(partial(add, number)) for number in range(20))
        say("to store it", 1000 * took, "ms")
    say("to read it", 1000 * median(seconds(lambda: read(path)) for _ in range(20)), "ms")


def git() -> None:
    """Weigh what all published measurements are in a repository."""
    files = sorted((CHECKOUT / "results" / "measurements").glob("*/*/*.json"))
    with tempfile.TemporaryDirectory() as folder:
        run = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", folder]
        subprocess.run([*run, "init", "--quiet"], check=True)
        for number, path in enumerate(files):
            shutil.copy(path, Path(folder) / f"{number}.json")
        took = seconds(lambda: subprocess.run([*run, "add", "."], check=True))
        subprocess.run([*run, "commit", "--quiet", "-m", "all"], check=True)
        subprocess.run([*run, "gc", "--quiet"], check=True)
        packed = sum(path.stat().st_size for path in Path(folder).glob(".git/objects/pack/*.pack"))
    say("stacks that are published", len(files), "")
    say("a stack as a file", sum(path.stat().st_size for path in files) / len(files), "bytes")
    say("a stack in git's pack", packed / len(files), "bytes")
    say("git add, a stack", 1000 * took / len(files), "ms")


def environment() -> None:
    """Time an environment whose packages are in uv's cache."""
    with fresh() as (project, folder):
        prepared = _prepared(project)
        kept, os.environ["OUTLIVE_CACHE"] = os.environ.get("OUTLIVE_CACHE"), str(folder / "cache")
        try:
            took = [seconds(partial(environments.ensure, one.lock, one.interpreter)) for one in prepared]
        finally:
            del os.environ["OUTLIVE_CACHE"]
            os.environ.update({"OUTLIVE_CACHE": kept} if kept else {})
        say("an environment from uv's cache", median(took), "s")
        size = sum(path.lstat().st_blocks * 512 for path in (folder / "cache").rglob("*") if path.is_file())
        say("its room on disk", size / len(prepared) / 2**20, "MiB")


def _prepared(project: Project) -> list[Prepared]:
    return [prepare(project, Stack.parse(stack)) for stack in STACKS]


def speed_up() -> None:
    """Measure the same stacks by one worker process and by two, four times each, after a warm-up."""
    with fresh() as (project, _):
        prepared = _prepared(project)
        for one in prepared:
            environments.ensure(one.lock, one.interpreter)
        _sweep(project, prepared, 2)  # the first run of all compiles and fills the page cache
        took: dict[int, list[float]] = {1: [], 2: []}
        whole: dict[int, list[float]] = {1: [], 2: []}

        def sweep(count: int) -> None:
            took[count].append(_sweep(project, prepared, count))

        for count in (1, 2, 2, 1) * 2:
            whole[count].append(seconds(partial(sweep, count)))
        cells = len(prepared) * len(CELLS)
        for count, runs in took.items():
            for run in runs:
                say(f"{cells} cells of {len(prepared)} stacks, workers: {count}", run, "s")
        say("a cell, 1 worker", median(took[1]) / cells, "s")
        say("2 workers against 1", median(took[1]) / median(took[2]), "times as fast")
        say("with starting and ending them", median(whole[1]) / median(whole[2]), "times as fast")


def _sweep(project: Project, prepared: Iterable[Prepared], count: int) -> float:
    known = scenarios.load_set(project.scenarios, "default")
    with place.at(place.LOCAL, project, known, count) as where:
        where.client.wait_for_workers(count)  # type: ignore[attr-defined]
        tasks = []
        for one in prepared:
            served = engine.serving(project, one.release.framework, known)
            installed = where.install(one.lock, one.interpreter)
            tasks += engine.to_measure(project, installed, served, engine.CellRequest(known, CELLS), CELLS)
        found: list[Measurement] = []
        took = seconds(lambda: found.extend(where.measure(tasks, lambda _: None)))
    assert [m.reason for m in found if m.status != "measured"] == []
    return took


ALL = {"scheduler": scheduler, "store": store, "git": git, "environments": environment, "speed-up": speed_up}

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        ALL[name]()
