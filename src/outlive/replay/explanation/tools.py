"""Compares the usual tools for finding leaks with the probe, on the same requests.

This is a separate run of several rounds. In each round the bare service, the probe and each tool serve the
same requests one after another, each in a fresh worker with automatic collection off.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from statistics import median

import msgspec

from outlive.records.measurement import Connection, Tool, ToolReading
from outlive.replay.driver import Driver
from outlive.replay.subject import Subject
from outlive.retention.growth import WARM_UP
from outlive.service.gunicorn import Server
from outlive.service.probe_line import Look, ProbeLine
from outlive.service.scenarios import Scenario
from outlive.stacks import environments, locks
from outlive.stacks.prepare import Prepared

TOOLS: tuple[Tool, ...] = ("tracemalloc", "objgraph", "gc-debug")
PACKAGES = ("objgraph==3.7.0",)
"""Packages that tools need in the environment; the bare service has them as well, so that costs compare."""
REQUESTS = 211
"""Requests between a tool's two looks, a prime number."""
ROUNDS = 5
BARE, OURS = "", "outlive"


class _Round(msgspec.Struct, frozen=True):
    look: Look
    serving: float
    looking: float


def run(
    subject: Subject, stack: Prepared, scenario: Scenario, connection: Connection, tools: Sequence[Tool]
) -> tuple[ToolReading, ...]:
    """Return the readings of the probe and of each tool for a scenario, in this order.

    Raises FaultError if the server does not start or answer as expected, and as `locks.era` and
    `environments.ensure` do for the packages that tools need.
    """
    lock = locks.with_packages(stack.lock, stack.release, PACKAGES)
    environment = environments.ensure(lock, stack.interpreter)
    worker = subject.serving(connection)
    names = (BARE, OURS, *dict.fromkeys(tools))
    rounds: dict[str, list[_Round]] = {name: [] for name in names}
    with contextlib.ExitStack() as exits:
        servers = {}
        for name in names:
            told = worker.told(OUTLIVE_TOOL=name) if name in TOOLS else worker
            servers[name] = exits.enter_context(Server(environment, subject.app, told, subject.folder))
        for number in range(ROUNDS):
            for name in names if number % 2 else names[::-1]:
                rounds[name].append(_round(servers[name], name, scenario, connection))
    return tuple(_reading(name, rounds, scenario, connection) for name in names[1:])


def _round(server: Server, name: str, scenario: Scenario, connection: Connection) -> _Round:
    driver = Driver(server, scenario, connection)
    line = driver.line
    driver.verify()
    driver.send(2 * WARM_UP)
    if name in TOOLS:
        line.attach()
    else:
        line.begin("off")
    started = time.perf_counter()
    driver.send(REQUESTS)
    served = time.perf_counter()
    look = line.look() if name in TOOLS else _count(line) if name == OURS else Look()
    return _Round(look, served - started, time.perf_counter() - served)


def _count(line: ProbeLine) -> Look:
    count = line.count()
    return Look(objects=count.survivors, blocks=count.blocks, grown=count.types)


def _reading(
    name: str, rounds: dict[str, list[_Round]], scenario: Scenario, connection: Connection
) -> ToolReading:
    look = rounds[name][-1].look
    pairs = list(zip(rounds[name], rounds[BARE], strict=True))
    grown = sorted(look.grown.items(), key=lambda item: (-item[1], item[0]))
    return ToolReading(
        tool=name,
        scenario=scenario.name,
        connection=connection,
        requests=REQUESTS,
        objects=_per_request(look.objects),
        blocks=_per_request(look.blocks),
        bytes=_per_request(look.bytes),
        grown={name: count / REQUESTS for name, count in grown if count > 0},
        serving=median(tool.serving / bare.serving for tool, bare in pairs),
        total=median((tool.serving + tool.looking) / bare.serving for tool, bare in pairs),
    )


def _per_request(total: int | None) -> float | None:
    return None if total is None else total / REQUESTS
