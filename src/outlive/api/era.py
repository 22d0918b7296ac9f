"""Compares two releases a second time: each with the dependencies of its own release date."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from outlive.comparison.cells import BASELINE, Row, judge, match
from outlive.comparison.changes import OBJECTS, exact
from outlive.errors import FaultError, UnavailableError
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.engine import CellRequest, Progress
from outlive.service import app as apps
from outlive.stacks import swaps
from outlive.stacks.prepare import Pair, Prepared, prepare_each
from outlive.wording import counted, does, number, step


def sentences(
    project: Project,
    stacks: tuple[Stack, Stack],
    pair: Pair,
    controlled: tuple[Row, ...],
    *,
    request: CellRequest,
    progress: Progress,
) -> str | None:
    """Return what changes otherwise with the dependencies of each release date, and which package causes it.

    None if `pair` already has these dependencies, if they cannot be installed, or if a stack names
    dependencies. Stored measurements are used; without any, the scenario `ok` is measured.
    """
    if any(stack.pins for stack in stacks) or pair.before.release == pair.after.release:
        return None
    try:
        packages = apps.packages(project, stacks[0].framework, request.worker)
        ends = prepare_each(project, *stacks, pair.after.interpreter.minor, packages=packages)
    except (FaultError, UnavailableError):
        return None
    differ = [line for line in swaps.differences(*ends) if line.split()[0] != ends[0].lock.framework]
    if not differ or [end.identity for end in ends] == [pair.before.identity, pair.after.identity]:
        return None
    measured = match(*_measured(project, ends, request, progress))[0]
    rows = judge(measured)
    if not rows:
        return None
    differing = f"{counted(len(differ), 'package')} {does(len(differ), 'differ')}"
    lead = f"With the dependencies of each release date ({differing}),"
    cells = counted(len(rows), "cell")
    equal = {Cell.of(row): row for row in controlled}
    apart = [row for row in rows if _apart(row, equal.get(Cell.of(row)))]
    if not apart:
        return f"{lead} {cells} {does(len(rows), 'change')} as with equal ones."
    top = max(apart, key=lambda row: (row.scenario == BASELINE, abs(_apart(row, equal[Cell.of(row)]))))
    cell = Cell.of(top)
    others = f", and {len(apart) - 1} more" if len(apart) > 1 else ""
    counts = f"{_objects(top)} objects per request instead of {_objects(equal[cell])}"
    text = (
        f"{len(apart)} of {cells} {does(len(apart), 'change')} differently: {top.scenario} "
        f"{counts} ({top.connection}, gc {top.gc})"
    )
    blamed = _blamed(project, ends, measured[cell], cell, request=request, progress=progress)
    return f"{lead} {text}{others}. {blamed}"


def stored(
    project: Project, ends: Iterable[Prepared], worker: str | None, wanted: Callable[[Cell], bool]
) -> list[tuple[Measurement, ...]]:
    """Return the stored measurements of the wanted cells that both sides share, side by side; or nothing."""
    before, after = (
        {Cell.of(m): m for m in engine.known(project, end, worker) if wanted(Cell.of(m))} for end in ends
    )
    shared = sorted(before.keys() & after.keys())
    return [tuple(side[cell] for cell in shared) for side in (before, after)] if shared else []


def _measured(
    project: Project, ends: tuple[Prepared, Prepared], request: CellRequest, progress: Progress
) -> list[tuple[Measurement, ...]]:
    """Return the stored measurements of a request's cells on both sides, or else measure those of `ok`."""
    if both := stored(project, ends, request.worker, lambda cell: cell in request.cells):
        return both
    cells = tuple(cell for cell in request.cells if cell.scenario == BASELINE and cell.connection == "close")
    return engine.run(project, ends, msgspec.structs.replace(request, cells=cells), progress)


def _objects(row: Row) -> str:
    return step(number(row.before.objects), number(row.after.objects))


def _apart(row: Row, equal: Row | None) -> float:
    """Return how many objects a row changes beyond its change with equal dependencies; 0 within the error."""
    if equal is None:
        return 0.0
    error = sum(side.amounts["objects"].error for side in (row.before, row.after, equal.before, equal.after))
    more = float(exact(row.change) - exact(equal.change))
    return more if abs(more) > error else 0.0


def _blamed(
    project: Project,
    ends: tuple[Prepared, Prepared],
    sides: tuple[Measurement, Measurement],
    cell: Cell,
    *,
    request: CellRequest,
    progress: Progress,
) -> str:
    """Return a sentence on the package that causes the difference in a cell, found by swapping it alone."""
    before, after = ends
    old, new = before.lock.versions, after.lock.versions
    names = {name for name in new if name != after.lock.framework and old.get(name) != new[name]}
    suspects = [leak.package for leak in sides[1].leaks if leak.package in names and not leak.further]
    where = f"{cell.scenario}, {cell.connection}, gc {cell.gc}"
    for name in dict.fromkeys(suspects):
        trial = swaps.swapped(project, before, after, name)
        if trial is None:
            continue
        request = msgspec.structs.replace(request, cells=(cell,), fresh=False)
        ((measurement,),) = engine.run(project, [trial], request, progress)
        if measurement.status != "measured":
            continue
        early, late, alone = (OBJECTS.of(m) for m in (*sides, measurement))
        if OBJECTS.change(early, alone) and early and late and alone:
            whole = " causes the difference" if not OBJECTS.change(alone, late) else ""
            version = step(old.get(name, "none"), new[name])
            objects = counted(step(number(early.value), number(alone.value)), "object")
            return f"{name} {version}{whole}: {objects} per request on its own ({where})."
    command = f"outlive attribute {before.release.framework}=={before.release.version}"
    command += f" {after.release.framework}=={after.release.version} --python {after.lock.python}"
    command += f" --scenario {cell.scenario} --connection {cell.connection} --gc {cell.gc}"
    return f"Which package causes the difference was not measured; to find out: `{command}`."
