"""Reports of a comparison: what is shown, merged, hidden and counted is decided here, for every output."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from outlive.comparison.cells import BASELINE, Direction, Reading, Row, Unmeasured
from outlive.comparison.pair import Compared, Comparison, Side
from outlive.wording import NO_VERSION, counted, listed, number, one_line, pause, signed, size, step

MARKS: dict[Direction, str] = {"worse": "▲ worse", "better": "▼ better", "same": "= same"}
UNKNOWN = "?"


FILES_TOLD = 0.5
"""Files left open per request from which on a report says so; a thread pool that opens a few stays below."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a table: the rows of one scenario that say the same."""

    direction: Direction
    scenario: str
    before: str
    after: str
    change: str
    above_ok: str
    rows: tuple[Row, ...]

    @property
    def connections(self) -> tuple[str, ...]:
        """The connections for which it holds."""
        return tuple(dict.fromkeys(row.connection for row in self.rows))

    @property
    def policies(self) -> tuple[str, ...]:
        """The gc policies for which it holds."""
        return tuple(dict.fromkeys(row.gc for row in self.rows))

    @property
    def freed(self) -> str:
        """What the collector frees per request, at most."""
        return _most(self.rows, "freed", number)

    @property
    def pauses(self) -> str:
        """The collector's pauses in ms per 1000 requests, at most."""
        return _most(self.rows, "pause_ms_per_1000_requests", pause)


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """The lines that hold for the same connections and gc policies, under one heading."""

    connections: tuple[str, ...]
    policies: tuple[str, ...]
    lines: tuple[Line, ...]

    @property
    def collected(self) -> bool:
        """Whether a collector runs in all of it."""
        return "off" not in self.policies

    @property
    def heading(self) -> str:
        """What its numbers are."""
        objects = "leaked objects" if self.collected else "objects left"
        return (
            f"{listed(self.connections)}, gc {listed(self.policies)}: {objects} per request ({self.baseline})"
        )

    @property
    def baseline(self) -> str:
        """What `ok` leaves, or that it is not known."""
        for line in self.lines:
            row = line.rows[0]
            if row.scenario == BASELINE:
                return f"ok: {step(number(row.before.objects), number(row.after.objects))}"
            if row.before.ok is not None and row.after.ok is not None:
                return f"ok: {step(number(row.before.ok), number(row.after.ok))}"
        return "ok: not measured"

    @property
    def burden(self) -> str:
        """The collector's work in one line, empty where none runs or it is not known."""
        rows = [row for line in self.lines for row in line.rows]
        freed = _most(rows, "freed", number)
        if not self.collected or freed == UNKNOWN:
            return ""
        pauses = _most(rows, "pause_ms_per_1000_requests", pause)
        return (
            f"collector: frees up to {freed} objects per request, pauses up to {pauses} ms per 1000 requests"
        )


class Fact(msgspec.Struct, frozen=True):
    """One fact about both sides."""

    name: str
    before: str
    after: str


class Gap(msgspec.Struct, frozen=True):
    """Cells that could not be compared for one reason: `title` says how many and why, `cells` which."""

    title: str
    cells: str


def sections(rows: Iterable[Row]) -> tuple[Section, ...]:
    """Return the rows as sections of lines, what got worse first; rows that say the same become one line."""
    by_policy: dict[tuple[str, str, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        by_policy.setdefault((row.scenario, row.gc, _says(row)), []).append(row)
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Row]] = {}
    for (scenario, _, says), part in by_policy.items():
        connections = tuple(row.connection for row in part)
        merged.setdefault((scenario, connections, says), []).extend(part)
    grouped: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Line]] = {}
    for part in merged.values():
        line = _line(tuple(part))
        grouped.setdefault((line.connections, line.policies), []).append(line)
    order = list(MARKS)
    return tuple(
        Section(
            connections=connections,
            policies=policies,
            lines=tuple(sorted(lines, key=lambda line: order.index(line.direction))),
        )
        for (connections, policies), lines in grouped.items()
    )


def reading_text(reading: Reading, gc: str) -> str:
    """Return a count with its growth: `0`, `32 cyclic`, `50, 44 leaked`, `0 (bounded)`.

    Cyclic is not said where a collector runs: it frees that.
    """
    objects, leaked = number(reading.objects), number(reading.leaked)
    if reading.growth == "leak" and reading.leaked > 0:
        return f"{leaked} leaked" if objects == leaked else f"{objects}, {leaked} leaked"
    if reading.growth == "cyclic":
        return f"{objects} cyclic" if gc == "off" else objects
    return objects if reading.growth == "none" else f"{objects} ({reading.growth})"


def step_text(row: Row) -> str:
    """Return both readings, the kind of growth once where it is the same: `36 → 32 cyclic`."""
    before, after = (reading_text(side, row.gc) for side in (row.before, row.after))
    (first, _, kind), (last, _, other) = before.partition(" "), after.partition(" ")
    return f"{step(first, last)} {kind}".rstrip() if kind == other else step(before, after)


def same_summary(comparison: Comparison) -> str:
    """Return how many rows are not worth a line, and what they still leave."""
    hidden = [row for row in comparison.rows if not row.significant]
    if not hidden:
        return ""
    following = sum(row.follows_ok for row in hidden)
    said = []
    if len(hidden) > following:
        said.append(f"{counted(len(hidden) - following, 'cell')} the same")
    if following:
        said.append(f"{counted(following, 'cell')} with no change but that of ok")
    leaving = [row for row in hidden if row.after.objects > 0]
    if leaving:
        top = max(leaving, key=lambda row: row.after.objects)
        verb = "leaves" if len(leaving) == 1 else "leave"
        where = f"{top.scenario}, {top.connection}, gc {top.gc}"
        said.append(
            f"{len(leaving)} of them {verb} objects, up to {number(top.after.objects)} per request ({where})"
        )
    return "; ".join(said)


def notes(comparison: Comparison) -> tuple[str, ...]:
    """Return what differs in memory outside gc-tracked objects, where these do not differ."""
    by_text: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if row.note:
            by_text.setdefault((row.scenario, row.note), []).append(row)
    return tuple(f"{scenario} ({_cells(part)}): {note}" for (scenario, note), part in by_text.items())


def open_files(comparison: Comparison) -> tuple[str, ...]:
    """Return which scenarios leave files open until a collection, with how many for each request."""
    by_text: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if any(abs(count) >= FILES_TOLD for count in row.open_files):
            by_text.setdefault((row.scenario, step(*map(number, row.open_files))), []).append(row)
    return tuple(
        f"{scenario} ({_cells(part)}): {count} per request" for (scenario, count), part in by_text.items()
    )


def gaps(comparison: Comparison) -> tuple[Gap, ...]:
    """Return what could not be compared, one entry a reason."""
    by_reason: dict[tuple[str, str, str], list[Unmeasured]] = {}
    for cell in comparison.unmeasured:
        by_reason.setdefault((cell.gap, cell.side, cell.reason), []).append(cell)
    found = []
    for (gap, side, reason), cells in by_reason.items():
        where = "on both sides" if side == "both" else side
        names = ", ".join(dict.fromkeys(cell.scenario for cell in cells))
        found.append(
            Gap(
                f"{counted(len(cells), 'cell')} {gap} {where}: {one_line(reason)}",
                f"{names} ({_cells(cells)})",
            )
        )
    return tuple(found)


def facts(compared: Compared) -> tuple[Fact, ...]:
    """Return what is known about the two releases and what they ran on."""
    before, after = compared.before, compared.after
    return tuple(
        Fact(name, tell(before), tell(after))
        for name, tell in (
            ("release", lambda side: f"{side.stack.framework} {side.stack.release}"),
            ("released", lambda side: str(side.release.date or UNKNOWN)),
            ("yanked", _yanked),
            ("requires", lambda side: f"Python {one_line(side.release.requires_python or 'any')}"),
            ("measured on", lambda side: f"Python {side.stack.python}, lock {side.stack.lock}"),
        )
    )


def peaks(comparison: Comparison) -> tuple[Fact, ...]:
    """Return the largest peak RSS of both sides, where it is known."""
    found = [
        [peak for row in comparison.rows if (peak := getattr(row, side).peak_rss_bytes) is not None]
        for side in ("before", "after")
    ]
    if not all(found):
        return ()
    return (Fact("peak RSS, noisy", *(f"up to {size(max(side))}" for side in found)),)


def dependencies(comparison: Compared) -> tuple[str, ...]:
    """Return one line on the packages that are the same, and one for each that is not, with the reason."""
    equal = f"{counted(len(comparison.held_equal), 'package')} held equal"
    return (
        f"{equal}; not equal:" if comparison.differences else f"{equal}.",
        *(
            f"{one.package} {one.before or NO_VERSION} → {one.after or NO_VERSION}: "
            + ("varied on purpose" if one.asked else one_line(one.reason))
            for one in comparison.differences
        ),
    )


def _yanked(side: Side) -> str:
    if not side.release.yanked:
        return "no"
    return f"yes: {one_line(side.release.yanked_reason or '') or 'no reason is given'}"


def _line(rows: tuple[Row, ...]) -> Line:
    row = rows[0]
    _, before, after, above = _says(row)
    return Line(
        direction=row.direction,
        scenario=row.scenario,
        before=before,
        after=after,
        change=signed(row.change),
        above_ok=above,
        rows=rows,
    )


def _says(row: Row) -> tuple[str, ...]:
    if row.scenario == BASELINE:
        above = ""
    elif row.before.above_ok is None or row.after.above_ok is None:
        above = UNKNOWN
    else:
        above = step(number(row.before.above_ok), number(row.after.above_ok))
    return row.direction, reading_text(row.before, row.gc), reading_text(row.after, row.gc), above


def _most(rows: Iterable[Row], field: str, write: Callable[[float], str]) -> str:
    """Return the largest value of a field, which is not exact, before and after."""
    sides = [
        [value for row in rows if (value := getattr(getattr(row, side), field)) is not None]
        for side in ("before", "after")
    ]
    return step(*(write(max(values)) for values in sides)) if all(sides) else UNKNOWN


def _cells(cells: Iterable[Row | Unmeasured]) -> str:
    """Return connections and gc policies, as in `close, gc off and on`."""
    cells = tuple(cells)
    connections = tuple(dict.fromkeys(cell.connection for cell in cells))
    policies = tuple(dict.fromkeys(cell.gc for cell in cells))
    return f"{listed(connections)}, gc {listed(policies)}"
