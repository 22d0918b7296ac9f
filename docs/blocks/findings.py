"""What docs/findings.md quotes: what is stored in results/ of every scenario on chosen releases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from outlive.comparison.cells import BASELINE
from outlive.markdown import table
from outlive.project import Project
from outlive.records.measurement import Cell, Growth, Measurement, StackRecord
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay import engine
from outlive.replay.explanation import findings
from outlive.replay.store import Store, folder, read
from outlive.replay.subject import Subject
from outlive.service import scenarios
from outlive.service.scenarios import Scenario
from outlive.stacks import locks
from outlive.stacks.environments import Environment
from outlive.wording import counted, listed, number

HERE = Path(__file__).parent
STACKS = tuple(
    map(
        Stack.parse,
        (
            "aiohttp==3.10.10,python==3.11",
            "aiohttp==3.11.13,python==3.11",
            "aiohttp==3.11.14,python==3.11",
            "aiohttp==3.14.5,python==3.11",
            "aiohttp==3.14.5,python==3.13",
            "flask==2.0.3,asgiref==3.8.1,blinker==1.6.2,python==3.11",
            "flask==3.1.3,asgiref==3.8.1,python==3.11",
            "flask==3.1.3,asgiref==3.8.1,python==3.13",
        ),
    )
)
"""The newest release of each framework, and the last ones before its known fixes (docs/history.md). Packages
that are named are those that some scenarios need and the release does not: these are measured with them."""
LEAST_THREADS = 0.5
"""Threads per request from which on they are told; a pool that grows has fewer."""
CALLS = "gateway"
CLIENT_TYPES = (
    "aiohttp.client_reqrep.ClientRequest",
    "aiohttp.client_reqrep.ClientResponse",
    "aiohttp.client_ws.ClientWebSocketResponse",
    "aiohttp.client_proto.ResponseHandler",
    "aiohttp.connector.Connection",
    "aiohttp.connector.TCPConnector",
    "asyncio.selector_events._SelectorSocketTransport",
    "asyncio.sslproto._SSLProtocolTransport",
)
"""What a call to another service makes."""
KINDS: tuple[Growth, ...] = ("none", "bounded", "cyclic", "leak")
HEADER = ("stack", "scenarios", "no more", "bounded", "cyclic", "leaked", "unsupported", "most of one")


@cache
def _every() -> tuple[Scenario, ...]:
    return tuple(scenarios.load_set(Project.find(HERE).publishing().scenarios, "all"))


@cache
def _all_found() -> tuple[tuple[Measurement, ...], ...]:
    project = Project.find(HERE).publishing()
    return tuple(_found(project, stack, _every()) for stack in STACKS)


def summary() -> str:
    """Return the table of the stacks: their scenarios by what they leave."""
    return "\n".join(table(HEADER, map(_summary, STACKS, _all_found()), right=len(HEADER) - 1))


def further() -> str:
    """Return the packages that are measured beside a release of its time."""
    return ", ".join(sorted({str(pin) for stack in STACKS for pin in stack.pins}))


def leaks() -> str:
    """Return what leaks for good, a list item a stack."""
    return "\n".join(map(_leaks, STACKS, _all_found()))


def threads() -> str:
    """Return what leaves threads, a list item a stack."""
    return "\n".join(filter(None, map(_threads, STACKS, _all_found()))) or "None does."


def tables() -> str:
    """Return the tables of all scenarios."""
    return findings.render(_every(), [m for of_stack in _all_found() for m in of_stack]).rstrip("\n")


def _found(project: Project, stack: Stack, every: Sequence[Scenario]) -> tuple[Measurement, ...]:
    """Return a measurement of each cell of a stack that is stored or that cannot be had, with the reason."""
    release = Catalogue.load(project, stack.framework).find(stack.release)
    lock = locks.read_era_lock(project, release, stack.python or "")
    assert lock
    record = StackRecord(
        framework=lock.framework,
        release=lock.release,
        python=lock.python,
        lock=lock.digest,
        packages=lock.packages,
    )
    served = engine.serving(project, stack.framework, every)
    stored, further = _stored(project, record, served), {}
    for path in folder(project.published, record).glob(f"py{record.python}-*.json"):
        (other,) = read(path).provenance.stacks
        if stack.pins and set(stack.pins) <= set(other.packages):
            further = _stored(project, other, served)
    by_name = {scenario.name: scenario for scenario in every}
    environment = Environment(HERE, HERE, lock)  # nothing is started: it may not even be installed
    measurements = []
    for cell in _cells(stack, every):
        scenario = by_name[cell.scenario]
        subject = Subject(environment, served[cell.scenario].app, project.apps / stack.framework)
        if (reason := subject.lacks(scenario, cell)) is None:
            measurements += [stored[cell]] if cell in stored else []
        elif scenario.packages and further:
            measurements += (
                [msgspec.structs.replace(further[cell], lock=record.lock)] if cell in further else []
            )
        else:
            measurements.append(subject.describe(cell, None, status="unsupported", reason=reason))
    return tuple(measurements)


def _stored(
    project: Project, record: StackRecord, served: Mapping[str, engine.Served]
) -> dict[Cell, Measurement]:
    return {Cell.of(m): m for m in engine.stored(Store(project, record), served, engine.of_any())}


def _cells(stack: Stack, every: Sequence[Scenario]) -> tuple[Cell, ...]:
    mine = [scenario for scenario in every if scenario.about(stack.framework)]
    return engine.cells(mine, (), ("off", "on"))


def _summary(stack: Stack, found: Sequence[Measurement]) -> tuple[str, ...]:
    """Return what a stack's scenarios leave with gc off beyond a plain 200, and which leaves most."""
    off = [m for m in found if m.gc == "off"]
    plain = {m.connection: m.survivors_per_request or 0 for m in off if m.scenario == BASELINE}
    above = {Cell.of(m): (m.survivors_per_request or 0) - plain[m.connection] for m in off if m.growth}
    kinds: dict[str, list[Growth]] = {m.scenario: [] for m in off}
    for m in off:
        if m.growth:
            as_ok = m.growth == "cyclic" and above[Cell.of(m)] <= 0
            kinds[m.scenario].append("none" if as_ok else m.growth)
    worst = [max(mine, key=KINDS.index, default=None) for mine in kinds.values()]
    most = max(above, key=lambda cell: above[cell])
    return (
        _name(stack),
        str(len(worst)),
        *(str(worst.count(kind)) for kind in (*KINDS, None)),
        f"{number(above[most])} {most.scenario}",
    )


def _leaks(stack: Stack, found: Sequence[Measurement]) -> str:
    """Return the scenarios of a stack that leak for good, with objects per request, as a list item."""
    objects: dict[str, float] = {}
    for m in found:
        if m.gc == "off" and m.growth == "leak":
            objects[m.scenario] = max(objects.get(m.scenario, 0), m.leaked_per_request or 0)
    names = [f"{name} ({number(count)})" if count else f"{name} (memory)" for name, count in objects.items()]
    return f"- {_name(stack)}: {listed(names) or 'none'}"


def _threads(stack: Stack, found: Sequence[Measurement]) -> str:
    """Return the scenarios of a stack whose requests leave threads, as a list item, or nothing."""
    left: dict[str, float] = {}
    for m in found:
        if m.gc == "off" and m.phases:
            first, *_, last = m.phases
            grown = (last.threads - first.threads) / (last.requests - first.requests)
            left[m.scenario] = max(left.get(m.scenario, 0), grown)
    names = [f"{name} ({number(round(count, 2))})" for name, count in left.items() if count >= LEAST_THREADS]
    return f"- {_name(stack)}: {listed(names)}" if names else ""


def types() -> str:
    """Return a table of what outlives calls: in how many scenarios, and how many objects of a request."""
    stacks = [
        (stack, mine)
        for stack, mine in zip(STACKS, _all_found(), strict=True)
        if stack.framework == "aiohttp"
    ]
    calls = [[m for m in mine if m.gc == "off" and m.scenario.startswith(CALLS)] for _, mine in stacks]
    header = ("type", *(f"{stack.release}, Python {stack.python}" for stack, _ in stacks))
    rows = ((kind, *(_of_type(kind, mine) for mine in calls)) for kind in CLIENT_TYPES)
    return "\n".join(table(header, rows, right=len(stacks)))


def _of_type(kind: str, calls: Sequence[Measurement]) -> str:
    if not calls:
        return findings.ABSENT
    counts = [m.types[kind] for m in calls if kind in m.types]
    names = {m.scenario for m in calls if kind in m.types}
    return f"{len(names)}, up to {number(max(counts))}" if counts else findings.NOTHING


def _name(stack: Stack) -> str:
    return f"{stack.framework} {stack.release}, Python {stack.python}"


def missing() -> str:
    """Return how many cells nobody has measured, with an empty line; nothing where all are."""
    wanted = sum(len(_cells(stack, _every())) for stack in STACKS)
    missing = wanted - sum(map(len, _all_found()))
    return (
        f"Empty cells are not measured, or could not be: {counted(missing, 'cell')} of {wanted}.\n\n"
        if missing
        else ""
    )
