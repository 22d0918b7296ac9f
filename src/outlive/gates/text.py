"""The gate's verdict for people: one screen of plain text, and a GitHub step summary."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from outlive.applications.settings import LIMITS
from outlive.errors import ExitCode
from outlive.gates.judge import JudgedCell, Outcome
from outlive.gates.limits import FILE, exact
from outlive.gates.run import Gate, Replayed
from outlive.markdown import escape, table
from outlive.retention.growth import LEAST_LEAK
from outlive.tables import say, whole
from outlive.wording import capital, counted, listed, number

MOST_CELLS = 5
"""Most cells that a screen shows in full; the files have all."""
MOST_TYPES = 4
AGAIN = "    again: "
"""Prefix of the command that repeats a cell. The line is not folded, so that it can be copied."""
MARKS: dict[Outcome, str] = {
    "over": "▲",
    "under": "▼",
    "failed": "!",
    "inconclusive": "?",
    "unsupported": "-",
    "within": "=",
}
WORDS: dict[ExitCode, str] = {
    ExitCode.FINE: "GREEN",
    ExitCode.REGRESSION: "RED",
    ExitCode.INCONCLUSIVE: "INCONCLUSIVE",
    ExitCode.FAULT: "FAULT",
}


def show(gate: Gate, console: Console, *, accepting: bool = False) -> None:
    """Print the verdict: what fails first, with what to do about it.

    With `accepting`, the counts become the limits, so there is no verdict and no exit code.
    """
    lines = list(_screen(gate))
    if accepting:
        lines = [f"TO BE ACCEPTED  {subject(gate)}: {_because(gate)}", *lines[1:-2]]
    for line in lines:
        if line.startswith(AGAIN):
            whole(console, line)
        else:
            say(console, line, hang=len(AGAIN) if line.startswith(" ") else 0)


def headline(gate: Gate) -> str:
    """Return the verdict in one line."""
    return f"{WORDS[gate.code]}  {subject(gate)}: {_because(gate)}"


def subject(gate: Gate) -> str:
    """Return what was gated."""
    stack = gate.stack
    source = f" from {gate.source}" if gate.source else ""
    plant = ", with a planted leak" if gate.planted else ""
    worker = f", {gate.worker} worker" if gate.worker else ""
    load = " under load" if gate.load else ""
    where = f"Python {stack.python}{worker}, gc {gate.gc}"
    return f"{stack.framework} {stack.release}{source}{load}, {where}{plant}"


def notable(gate: Gate) -> tuple[JudgedCell, ...]:
    """Return the cells that a reader must see, the most serious first."""
    order = list(MARKS)
    cells = [cell for cell in gate.cells if cell.outcome not in ("within", "unsupported")]
    return tuple(sorted(cells, key=lambda cell: (order.index(cell.outcome), cell.limit - cell.objects)))


def reproduce(gate: Gate, cell: JudgedCell) -> str:
    """Return the command that gates this cell again."""
    stack, m = gate.stack, cell.measurement
    target = [*gate.app] or [stack.framework]
    if not gate.source and not gate.app:
        target = [",".join([f"{stack.framework}=={stack.release}", *map(str, gate.pins)])]
    words = ["outlive", "gate", *target, "--gc", gate.gc, *(["--load"] if gate.load else [])]
    for pattern in gate.patterns if gate.load else (m.scenario,):
        words += ["--scenario", pattern]
    words += ["--connection", m.connection, "--python", stack.python]
    words += ["--worker", gate.worker] if gate.worker else []
    words += ["--unreleased", gate.source] if gate.source else []
    own = (Path(gate.app[1]) / LIMITS).as_posix() if gate.app else FILE.format(framework=stack.framework)
    words += ["--limits", gate.limits] if gate.limits != own else []
    words += ["--allow-yanked"] if gate.allow_yanked else []
    return shlex.join([*words, *(["--plant"] if gate.planted else [])])


def types(cell: JudgedCell) -> str:
    """Return the types of the objects that requests leave, those that explain the excess first.

    The text is empty if the cell deviates because of what connections leave.
    """
    if cell.objects == cell.limit and (cell.residue or 0.0) != cell.residue_limit:
        return ""
    excess = cell.objects - cell.limit
    left = {name: count for name, count in cell.measurement.types.items() if count > 0}
    first = [name for name, count in left.items() if cell.limit and abs(count - excess) < LEAST_LEAK]
    return listed([f"{number(left[name])} {name}" for name in dict.fromkeys([*first, *left])], MOST_TYPES)


def proved(gate: Gate) -> str:
    """Return what the planted leak and cycle showed, in one or more sentences."""
    for control in gate.controls:
        if control.fault:
            return (
                f"the gate failed its own proof ({control.connection}): {control.fault}; nothing was judged"
            )
    least = f"1 object per {gate.least_leak} requests"
    where = listed([f"{control.connection} on {control.worker}" for control in gate.controls])
    exactly = "both found exactly" if gate.gc == "off" else "the leak found exactly, the cycle freed"
    if gate.load:
        exactly = "both found under load"
    return (
        f"planted a leak of {least} and a cycle of {counted(gate.controls[0].cycle_expected, 'object')} per "
        f"request: {exactly} ({where}). This run is sure to find a leak of {least}."
    )


def unlimited(gate: Gate) -> str:
    """Return the note for a gate without limits about this release on this Python."""
    stack = gate.stack
    return (
        f"none in {gate.limits} is for {stack.framework} {stack.release} on Python {stack.python}, "
        "so nothing is allowed; --accept writes what it leaves"
    )


def replayed(bad: Replayed) -> str:
    """Return what the replay of a known-bad release showed."""
    if not bad.over:
        return f"{bad.stack} passes these limits: a gate that passes it proves nothing"
    worst = max(bad.over, key=lambda cell: cell.objects - cell.limit)
    m = worst.measurement
    return (
        f"{bad.stack} fails, as it must: {len(bad.over)} of {counted(bad.cells, 'cell')} over, "
        f"{m.scenario}, {m.connection}: {exact(worst.limit)} allowed, {exact(worst.objects)} left"
    )


def _screen(gate: Gate) -> Iterator[str]:
    yield headline(gate)
    yield f"proof: {proved(gate)}"
    if gate.replayed:
        yield f"prove: {replayed(gate.replayed)}"
    if gate.failing and not gate.limited:
        yield f"limits: {unlimited(gate)}"
    cells = notable(gate)
    for cell in cells[:MOST_CELLS]:
        yield ""
        yield from _cell(gate, cell)
    if len(cells) > MOST_CELLS:
        yield ""
        yield f"and {len(cells) - MOST_CELLS} more; --json, --junit and --summary list all"
    for entry in gate.stale:
        yield ""
        yield f"▼ {entry.what}"
        yield f"    next:  {entry.advice}"
    yield ""
    counts = f"{capital(_within(gate))} " if gate.cells and gate.code != ExitCode.FINE else ""
    yield f"{counts}Exit code {int(gate.code)}."


def _cell(gate: Gate, cell: JudgedCell) -> Iterator[str]:
    m = cell.measurement
    yield f"{MARKS[cell.outcome]} {m.scenario}, {m.connection}: {cell.what}"
    if types(cell):
        yield f"    types: {types(cell)}"
    if cell.place:
        yield f"    limit: {gate.limits}:{cell.place.line}: {cell.place.text}"
    if cell.why:
        yield f"    why:   {cell.why}"
    yield f"    next:  {cell.advice}"
    yield f"{AGAIN}{reproduce(gate, cell)}"


def _because(gate: Gate) -> str:
    if not all(control.seen for control in gate.controls):
        return "a planted leak was not found exactly"
    outcomes: dict[Outcome, str] = {
        "over": "over the limit",
        "under": "under the limit",
        "failed": "failed",
        "inconclusive": "inconclusive",
    }
    counts = [(count, name) for outcome, name in outcomes.items() if (count := _count(gate, outcome))]
    cells = counted(len(gate.cells), "cell")
    problems = [
        f"{count} {name}" if at else f"{count} of {cells} {name}" for at, (count, name) in enumerate(counts)
    ]
    if gate.stale:
        problems.append(f"{counted(len(gate.stale), 'limit')} expired or unused")
    if gate.replayed and not gate.replayed.over:
        problems.append("the known-bad release passes")
    return ", ".join(problems) or _within(gate).rstrip(".")


def _within(gate: Gate) -> str:
    cells = [cell for cell in gate.cells if cell.outcome == "within"]
    without = _count(gate, "unsupported")
    text = f"{counted(len(cells), 'cell') if cells else 'no cell'} within the limits"
    if without:
        text += f", {counted(without, 'cell')} that no worker can serve"
    if cells and (worst := max(cells, key=lambda cell: cell.objects)).objects:
        m = worst.measurement
        objects = counted(exact(worst.objects), "object")
        text += f"; {m.scenario}, {m.connection} leaves most: {objects} per request"
    return f"{text}."


def _count(gate: Gate, outcome: Outcome) -> int:
    return sum(cell.outcome == outcome for cell in gate.cells)


def summary(gates: Sequence[Gate]) -> str:
    """Return the verdicts as GitHub's Markdown, for a step summary."""
    return "".join("\n".join(_summary(gate)) + "\n" for gate in gates)


def _summary(gate: Gate) -> Iterator[str]:
    yield f"### outlive gate: {escape(subject(gate))}"
    yield ""
    yield f"**{WORDS[gate.code]}**: {escape(_because(gate))}"
    yield ""
    yield f"Proof: {escape(proved(gate))}"
    if gate.replayed:
        yield ""
        yield f"Known-bad release: {escape(replayed(gate.replayed))}"
    if gate.failing and not gate.limited:
        yield ""
        yield f"Limits: {escape(unlimited(gate))}"
    if cells := notable(gate):
        yield ""
        yield from table(
            ("", "scenario", "connection", "objects", "limit", "types", "next"),
            (
                (
                    f"{MARKS[cell.outcome]} {cell.outcome}",
                    cell.measurement.scenario,
                    cell.measurement.connection,
                    exact(cell.objects),
                    exact(cell.limit),
                    types(cell),
                    cell.advice,
                )
                for cell in cells
            ),
        )
        yield ""
        yield from ("```console", *(f"$ {reproduce(gate, cell)}" for cell in cells[:MOST_CELLS]), "```")
    for entry in gate.stale:
        yield f"- {escape(entry.what)}: {escape(entry.advice)}"
    yield ""
