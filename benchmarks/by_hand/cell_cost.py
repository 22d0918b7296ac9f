"""What cells cost: each against its own requests sent bare, one that is sensitive, three jobs against one.

Run by hand on a quiet machine: `python benchmarks/by_hand/cell_cost.py [STACK] [--rounds N]`. Cells and bare
requests take turns; each number is the median over the rounds. A cell's time is from the end of the cell
before it in the same server: the fork of its worker, all requests, counts, and the explanation.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

import click
from msgspec.structs import replace

from outlive.errors import OutliveError
from outlive.project import Project
from outlive.records.measurement import GROWING, Cell, Connection, Measurement
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.driver import Driver
from outlive.replay.explanation.sample import SAMPLE
from outlive.replay.measure import measure
from outlive.replay.subject import Task
from outlive.retention.growth import SENSITIVITY, TO_COMPARE, WARM_UP
from outlive.service import scenarios
from outlive.service.gunicorn import Server
from outlive.service.scenarios import Scenario
from outlive.stacks import environments
from outlive.stacks.prepare import prepare

CONNECTION: Connection = "close"
MOST = 1.5
"""A cell may take this many times as long as its own requests sent bare."""
SENSITIVE = 1000, 5.0
"""Requests for one object, and the seconds that a cell of this sensitivity may take, start and all."""
JOBS = 3
FASTER = 2.0
"""How many times as fast JOBS servers at once have to be as one."""


@click.command()
@click.argument("stack", default="flask==3.1.3,python==3.11")
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--scenario", "patterns", multiple=True, metavar="PATTERN", help="Only these.")
@click.option("--compare", "comparing", is_flag=True, help="As sensitive as a comparison, not as a sweep.")
def main(stack: str, rounds: int, patterns: tuple[str, ...], *, comparing: bool) -> None:
    """Print what cells cost."""
    project = Project.find()
    prepared = prepare(project, Stack.parse(stack))
    known = scenarios.find(project.scenarios, patterns)
    served = engine.serving(project, prepared.release.framework, known)
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    cells = [
        Cell(one.name, CONNECTION, "off") for one in known if one.name in served and one.over(CONNECTION)
    ]
    request = engine.CellRequest(known, tuple(cells), sensitivity=TO_COMPARE if comparing else SENSITIVITY)
    tasks = engine.to_measure(project, environment, served, request, cells)
    each(tasks, known, rounds)
    sensitive(stack, cells[0].scenario if patterns else "not-found", rounds)
    several(tasks, known, rounds)


def each(tasks: Sequence[Task], known: Sequence[Scenario], rounds: int) -> None:
    """Print the time of each cell as a multiple of the time that its requests take by themselves."""
    counted: dict[str, list[float]] = defaultdict(list)
    bare: dict[str, list[float]] = defaultdict(list)
    requests: dict[str, int] = {}
    for _ in range(rounds):
        for task in tasks:
            for found, seconds in timed(task, known):
                if found.status == "measured":
                    requests[found.scenario] = sent(found)
                    counted[found.scenario].append(seconds)
            names = {cell.scenario for cell in task.cells} & requests.keys()
            mine = [one for one in known if one.name in names]
            for scenario, seconds in sent_bare(task, mine, requests):
                bare[scenario].append(seconds)
    print(f"{'scenario':<28} requests    cell    bare   ratio (most {MOST})")
    over = 0
    for name, number in requests.items():
        ratio = median(one / other for one, other in zip(counted[name], bare[name], strict=True))
        over += ratio > MOST
        times = f"{median(counted[name]):6.3f} s{median(bare[name]):6.3f} s"
        print(f"{name:<28} {number:>8} {times} {ratio:>6.2f}{' over' if ratio > MOST else ''}")
    cells, alone = (sum(map(median, times.values())) for times in (counted, bare))
    print(f"{'all':<28} {sum(requests.values()):>8} {cells:6.3f} s{alone:6.3f} s {cells / alone:>6.2f}")
    print(f"{over} of {len(requests)} cells over {MOST}")


def timed(task: Task, known: Sequence[Scenario]) -> list[tuple[Measurement, float]]:
    """Return each measurement of a task with its seconds: one more is made first, which starts the server."""
    found: list[tuple[Measurement, float]] = []
    last = time.perf_counter()

    def done(measurement: Measurement) -> None:
        nonlocal last
        now = time.perf_counter()
        found.append((measurement, now - last))
        last = now

    measure([replace(task, cells=(task.cells[0], *task.cells))], known, 1, done)
    return found[1:]


def sent(found: Measurement) -> int:
    """Return how many requests a cell sent: the first, to warm up, counted ones, and those of a sample."""
    return 1 + WARM_UP + found.requests + (sum(SAMPLE[CONNECTION]) if found.growth in GROWING else 0)


def sent_bare(
    task: Task, known: Sequence[Scenario], requests: Mapping[str, int]
) -> Iterator[tuple[str, float]]:
    """Yield each scenario with the seconds that its requests take in a fresh worker that counts nothing."""
    subject = task.subject
    with Server(subject.environment, subject.app, subject.serving(CONNECTION), subject.folder) as server:
        for scenario in known:
            driver = Driver(server, scenario, CONNECTION)
            began = time.perf_counter()
            driver.send(requests[scenario.name])
            yield scenario.name, time.perf_counter() - began


def sensitive(stack: str, scenario: str, rounds: int) -> None:
    """Print how long the command takes that measures one cell with a high sensitivity."""
    requests, most = SENSITIVE
    words = ["measure", stack, "--scenario", scenario, "--connection", CONNECTION, "--gc", "off", "--fresh"]
    words += ["--sensitivity", f"1/{requests}"]
    with tempfile.TemporaryDirectory() as folder:
        own = os.environ | {"OUTLIVE_RESULTS": folder}
        command = [sys.executable, "-m", "outlive", *words]
        took = [
            seconds(lambda: subprocess.run(command, env=own, check=True, capture_output=True))
            for _ in range(rounds)
        ]
    print(f"outlive {' '.join(words)}: {median(took):.2f} s (most {most:g})")


def several(tasks: Sequence[Task], known: Sequence[Scenario], rounds: int) -> None:
    """Print how much sooner several servers at once have measured all the cells than one."""
    took: dict[int, list[float]] = {1: [], JOBS: []}
    for turn in range(rounds):
        for jobs in sorted(took, reverse=bool(turn % 2)):
            took[jobs].append(seconds(functools.partial(measure, tasks, known, jobs, lambda _: None)))
    one, more = (median(times) for times in took.values())
    cells = sum(len(task.cells) for task in tasks)
    print(f"{cells} cells: {one:.1f} s with one job, {more:.1f} s with {JOBS}", end=": ")
    print(f"{one / more:.2f} times as fast (least {FASTER:g})")


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


if __name__ == "__main__":
    try:
        main()
    except OutliveError as error:
        sys.exit(f"cell_cost: {error}")
