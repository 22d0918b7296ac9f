"""What docs/pythons.md quotes: the same requests on every Python, by benchmarks/by_hand/pythons.py."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import msgspec
from packaging.version import Version

from outlive.markdown import table
from outlive.project import Project
from outlive.records.measurement import Connection, Measurement, StackRecord
from outlive.replay.store import read
from outlive.wording import listed, number

HERE = Path(__file__).parent
ABSENT = "not supported"
LEAST = 0.5
"""Least change in objects of a type per request that is shown."""
MOST_TYPES = 4


class Column(msgspec.Struct, frozen=True):
    """One kind of cell of a release."""

    framework: str
    release: str
    scenario: str
    connection: Connection

    @property
    def title(self) -> str:
        """Its heading."""
        return f"{self.framework} {self.release} `{self.scenario}`, {self.connection}"


CELLS: tuple[tuple[str, Connection], ...] = (
    ("ok", "close"),
    ("ok", "client-close"),
    ("not-found", "keep-alive"),
    ("abort-response", "close"),
)
COLUMNS = (
    Column("flask", "3.0.3", "ok", "keep-alive"),
    Column("flask", "3.0.3", "handler-error", "keep-alive"),
    *(
        Column("aiohttp", release, scenario, connection)
        for release in ("3.10.11", "3.14.5")
        for scenario, connection in CELLS
    ),
)
UNTRACKED = "no change by type"
TYPES = {"weakref": "ReferenceType"}
"""Types that have other names in Python 3.8 and 3.9, without their modules."""


@cache
def _measured() -> tuple[dict[tuple[Column, str], Measurement], dict[tuple[str, str, str], StackRecord]]:
    """Return the measurements of each column and Python, and the stacks by framework, release and Python."""
    cells: dict[tuple[Column, str], Measurement] = {}
    stacks: dict[tuple[str, str, str], StackRecord] = {}
    folder = Project(HERE.parents[1]).published / "measurements"
    for framework, release in dict.fromkeys((column.framework, column.release) for column in COLUMNS):
        for path in (folder / framework / release).glob("py*.*.*-*.json"):  # full versions only
            document = read(path)
            (stack,) = document.provenance.stacks
            stacks[framework, release, stack.python] = stack
            for m in document.measurements:
                if m.gc == "off" and m.connection in {"keep-alive", "close", "client-close"}:
                    cells[Column(framework, release, m.scenario, m.connection), m.python] = m
    return cells, stacks


def _pythons() -> list[str]:
    return sorted({python for _, python in _measured()[0]}, key=Version)


def rows() -> str:
    """Return the table: a Python a row, objects per request, those of Python's own rings in brackets."""
    cells, _ = _measured()
    body = [[python, *(_objects(cells.get((column, python))) for column in COLUMNS)] for python in _pythons()]
    return "\n".join(table(("Python", *(column.title for column in COLUMNS)), body, right=len(COLUMNS)))


def _objects(m: Measurement | None) -> str:
    if m is None or m.survivors_per_request is None:
        return ABSENT
    own = sum(leak.objects_per_request or 0 for leak in m.leaks if leak.python)
    return f"{number(m.survivors_per_request)} ({number(own)})" if own else number(m.survivors_per_request)


def steps() -> str:
    """Return the table of changes from one Python to the next, with the types that make most of them."""
    return "\n".join(table(("from", "to", "objects per request", "cells"), _steps(), right=0))


def _steps() -> Iterator[tuple[str, ...]]:
    cells, _ = _measured()
    for before, after in pairwise(_pythons()):
        changes: dict[str, list[str]] = defaultdict(list)
        for column in COLUMNS:
            one, other = (cells.get((column, python)) for python in (before, after))
            if one and other and one.survivors_per_request != other.survivors_per_request:
                change = f"{_objects(one)} → {_objects(other)}"
                changes[_types(one, other)].append(f"{column.title.replace('`', '')}: {change}")
        yield from ((before, after, types, "; ".join(titles)) for types, titles in changes.items())


def _types(one: Measurement, other: Measurement) -> str:
    """Return the types that are more or fewer in `other`, most first."""
    change: dict[str, float] = defaultdict(float)
    for sign, m in ((-1, one), (1, other)):
        for name, count in m.types.items():
            last = name.rpartition(".")[2]
            change[TYPES.get(last, last)] += sign * count
    told = sorted(
        ((name, count) for name, count in change.items() if abs(count) >= LEAST),
        key=lambda pair: (-abs(pair[1]), pair[0]),
    )
    shown = [f"{'+' if count > 0 else '-'}{number(abs(count))} {name}" for name, count in told[:MOST_TYPES]]
    return ", ".join(shown) + (", …" if len(told) > MOST_TYPES else "") or UNTRACKED


def packages() -> str:
    """Return a sentence on packages that differ between the Pythons of one release."""
    _, stacks = _measured()
    told = []
    for framework, release in dict.fromkeys((column.framework, column.release) for column in COLUMNS):
        versions: dict[str, set[str]] = defaultdict(set)
        mine = [stack for key, stack in stacks.items() if key[:2] == (framework, release)]
        for stack in mine:
            for package in stack.packages:
                versions[package.name].add(package.version)
        absent = {name for name in versions for stack in mine if name not in {p.name for p in stack.packages}}
        differing = sorted(name for name, those in versions.items() if len(those) > 1 or name in absent)
        told.append(f"{listed(differing)} with {framework} {release}")
    return "; ".join(told)
