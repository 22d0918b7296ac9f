"""Reports of a comparison: what is shown, merged, hidden and counted is decided here, for every output."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from outlive.comparison.cells import Row, Unmeasured
from outlive.comparison.changes import FILES_TOLD, LEAKED, OBJECTS, PER_CONNECTION, Direction, Quantity
from outlive.comparison.headline import leaking
from outlive.comparison.pair import Compared, Comparison, Side
from outlive.comparison.sides import SideReading
from outlive.comparison.sizes import MIB, mib
from outlive.wording import counted, does, listed, number, one_line, pause, size, step

MARKS: dict[Direction, str] = {"worse": "▲ worse", "better": "▼ better", "same": "= same"}
UNKNOWN = "?"
NOT_RELEASED = "not released"
LEAST_ERROR = 0.05  # an error below it does not show in what is written


class Line(msgspec.Struct, frozen=True):
    """One line of a table: the rows of one scenario that say the same.

    `note` is what else differs, empty where nothing does.
    """

    scenario: str
    direction: Direction
    before: str
    after: str
    note: str
    rows: tuple[Row, ...]

    @property
    def connections(self) -> tuple[str, ...]:
        """The connections for which it holds."""
        return _connections(self.rows)

    @property
    def policies(self) -> tuple[str, ...]:
        """The gc policies for which it holds."""
        return tuple(dict.fromkeys(row.gc for row in self.rows))

    @property
    def hourly(self) -> str:
        """What they leave in MiB per hour, at most: an estimate that differs where the counts are equal."""
        return _hourly(self.rows)

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
    decides: bool
    lines: tuple[Line, ...]

    @property
    def rows(self) -> list[Row]:
        """The rows of all lines."""
        return [row for line in self.lines for row in line.rows]

    @property
    def collected(self) -> bool:
        """Whether a collector runs in all of it."""
        return "off" not in self.policies

    @property
    def heading(self) -> str:
        """What its numbers are."""
        objects = "leaked objects" if self.collected else "objects left"
        only = "" if self.decides else "for development only, not part of the verdict: "
        return f"{only}{listed(self.connections)}, gc {listed(self.policies)}: {objects} per request"

    @property
    def baseline(self) -> str:
        """What any request leaves, as `ok` does, and what of it is Python's own; or that it is not known."""
        by_text: dict[str, list[Row]] = {}
        for row in self.rows:
            if text := _any_request(row):
                by_text.setdefault(text, []).append(row)
        if not by_text:
            return "ok was not measured"
        where = _cells if len(self.policies) > 1 else lambda rows: listed(_connections(rows))
        parts = [f"{text} on {where(rows)}" for text, rows in by_text.items()]
        if len(parts) == 1:
            parts = list(by_text)
        return f"any request (ok): {'; '.join(parts)}"

    @property
    def burden(self) -> str:
        """The collector's work in one line, empty where none runs or it is not known."""
        freed = _most(self.rows, "freed", number)
        if not self.collected or freed == UNKNOWN:
            return ""
        burden = f"collector, at most: frees {counted(freed, 'object')} per request"
        if not self.paused:
            return burden
        pauses = _most(self.rows, "pause_ms_per_1000_requests", pause)
        return f"{burden}, pauses {pauses} ms per 1000 requests"

    @property
    def paused(self) -> bool:
        """Whether enough collections were seen on both sides to tell how long they take."""
        return self.collected and _largest(self.rows, "pause_ms_per_1000_requests") is not None


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
    """Return the rows as sections of lines, what got worse first; rows that say the same become one line.

    What decides comes before what does not, and gc on before gc off. Connections with the same counts share a
    line whatever their estimates; gc policies, of which the headline tells one by one, do so with the same.
    """
    by_policy: dict[tuple[str, str, tuple[str, ...]], list[Row]] = {}
    for row in rows:
        by_policy.setdefault((row.scenario, row.gc, _says(row)), []).append(row)
    merged: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[Row]] = {}
    for (scenario, _, says), part in by_policy.items():
        connections = tuple(row.connection for row in part)
        merged.setdefault((scenario, connections, (*says, _hourly(part))), []).extend(part)
    grouped: dict[tuple[bool, tuple[str, ...], tuple[str, ...]], list[Line]] = {}
    for part in merged.values():
        line = Line(part[0].scenario, *_says(part[0]), tuple(part))
        grouped.setdefault((part[0].decides, line.policies, line.connections), []).append(line)
    order = list(MARKS)
    return tuple(
        Section(
            connections=connections,
            policies=policies,
            decides=decides,
            lines=tuple(sorted(lines, key=lambda line: order.index(line.direction))),
        )
        for (decides, policies, connections), lines in sorted(
            grouped.items(), key=lambda group: (not group[0][0], "on" not in group[0][1])
        )
    )


def reading_text(reading: SideReading, gc: str) -> str:
    """Return a count with its growth: `0`, `32 cyclic`, `50, 44 leaked`, `2 blocks leaked`, `0 (bounded)`.

    Cyclic is not said where a collector runs: it frees that.
    """
    objects = _amount(OBJECTS, reading)
    if reading.kind == "leak":
        what = leaking(reading)
        if what is not LEAKED:
            leaked = f"{what.short(_amount(what, reading))} leaked"
            return leaked if objects == "0" else f"{objects}, {leaked}"
        leaked = _amount(LEAKED, reading)
        return f"{leaked} leaked" if objects == leaked else f"{objects}, {leaked} leaked"
    if reading.kind == "cyclic":
        return f"{objects} cyclic" if gc == "off" else objects
    return objects if reading.kind == "none" else f"{objects} ({reading.kind})"


def _amount(quantity: Quantity, reading: SideReading) -> str:
    amount = reading.amounts.get(quantity.name)
    if amount is None:
        return UNKNOWN
    error = f" ±{quantity.write(round(amount.error, 1))}" if amount.error >= LEAST_ERROR else ""
    return quantity.write(round(amount.value, 1) if error else amount.value) + error


def step_text(row: Row) -> str:
    """Return both readings, the kind of growth once where it is the same: `36 → 32 cyclic`."""
    before, after = (reading_text(side, row.gc) for side in (row.before, row.after))
    (first, _, kind), (last, _, other) = before.partition(" "), after.partition(" ")
    if kind != other or first.endswith(",") != last.endswith(","):
        return step(before, after)
    comma = "," if first.endswith(",") else ""
    return f"{step(first.rstrip(','), last.rstrip(','))}{comma} {kind}".rstrip()


def same_summary(comparison: Comparison) -> str:
    """Return how many rows get no line of their own, and what they still leave."""
    hidden = [row for row in comparison.rows if not row.significant]
    if not hidden:
        return ""
    following = sum(row.as_ok for row in hidden)
    clauses = []
    if len(hidden) > following:
        clauses.append(f"{counted(len(hidden) - following, 'cell')} the same")
    if following:
        clauses.append(f"{counted(following, 'cell')} that {does(following, 'change')} only as ok does")
    leaving = [row for row in hidden if row.after.objects > 0]
    if leaving:
        top = max(leaving, key=lambda row: row.after.objects)
        where = f"{top.scenario}, {top.connection}, gc {top.gc}"
        clauses.append(
            f"{len(leaving)} of them {does(len(leaving), 'leave')} objects, "
            f"up to {number(top.after.objects)} per request ({where})"
        )
    return "; ".join(clauses)


def open_files(comparison: Comparison) -> tuple[str, ...]:
    """Return which scenarios leave files open until a collection, with how many for each request."""
    by_text: dict[tuple[str, str], list[Row]] = {}
    for row in comparison.rows:
        if any(abs(count) >= FILES_TOLD for count in row.open_files):
            by_text.setdefault((row.scenario, step(*map(number, row.open_files))), []).append(row)
    return tuple(
        f"{scenario} ({_cells(part)}): {count} per request" for (scenario, count), part in by_text.items()
    )


def note(row: Row) -> str:
    """Return what else differs: what a connection leaves, and peak RSS where it is far apart."""
    quantities: dict[tuple[str, str], Quantity] = {}
    for quantity in PER_CONNECTION:
        if quantity.name in row.told:  # where all objects leak, they are told once
            quantities.setdefault(row.written(quantity), quantity)
    clauses = [f"{quantity.text(step(*pair))} per {quantity.per}" for pair, quantity in quantities.items()]
    if row.peaks:
        unit, name = (1024 * MIB, "GiB") if max(row.peaks) >= 1024 * MIB else (MIB, "MiB")
        clauses.append(f"peak {step(*(number(peak / unit) for peak in row.peaks))} {name}")
    return ", ".join(clauses)


def gaps(comparison: Comparison) -> tuple[Gap, ...]:
    """Return what could not be compared, one entry a reason."""
    by_reason: dict[tuple[str, str, str], list[Unmeasured]] = {}
    for cell in comparison.unmeasured:
        by_reason.setdefault((cell.gap, cell.side, cell.reason), []).append(cell)
    return tuple(
        Gap(
            f"{counted(len(cells), 'cell')} {gap} {'on both sides' if side == 'both' else side}: "
            f"{one_line(reason)}",
            f"{', '.join(dict.fromkeys(cell.scenario for cell in cells))} ({_cells(cells)})",
        )
        for (gap, side, reason), cells in by_reason.items()
    )


def facts(compared: Compared) -> tuple[Fact, ...]:
    """Return what is known about the two releases and what they ran on."""
    before, after = compared.before, compared.after
    pairs = (
        Fact(name, tell(before), tell(after))
        for name, tell in (
            ("release", lambda side: f"{side.stack.framework} {side.stack.release}"),
            ("released", lambda side: str(side.release.date or NOT_RELEASED)),
            ("yanked", _yanked),
            ("requires", _requires),
            ("measured on", lambda side: f"Python {side.stack.python}, lock {side.stack.lock}"),
        )
    )
    return tuple(fact for fact in pairs if {fact.before, fact.after} != {NOT_RELEASED})


def peaks(comparison: Comparison) -> tuple[Fact, ...]:
    """Return the largest peak RSS of both sides, of the cells where it can be compared."""
    most = _largest([row for row in comparison.rows if row.equally_long], "peak_rss_bytes")
    return (Fact("peak RSS, noisy", *(f"up to {size(peak)}" for peak in most)),) if most else ()


def dependencies(comparison: Compared) -> tuple[str, ...]:
    """Return one line on the packages that are the same, and one for each that is not, with the reason."""
    equal = f"{counted(len(comparison.held_equal), 'package')} held equal"
    return (
        f"{equal}; not equal:" if comparison.differences else f"{equal}.",
        *(
            f"{difference}: {'varied on purpose' if difference.asked else one_line(difference.reason)}"
            for difference in comparison.differences
        ),
    )


def _requires(side: Side) -> str:
    release = side.release
    if release.requires_python is None and release.date is None:
        return NOT_RELEASED
    return f"Python {one_line(release.requires_python)}" if release.requires_python else "any Python"


def _yanked(side: Side) -> str:
    if side.release.date is None:
        return NOT_RELEASED
    return f"yes: {side.release.why_yanked}" if side.release.yanked else "no"


def _any_request(row: Row) -> str:
    """Return what `ok` leaves in the row's kind of cell, and what of it is Python's own; empty: not known."""
    counts = [side.ok for side in (row.before, row.after)]
    if None in counts:
        return ""
    own = [side.ok_python for side in (row.before, row.after)]
    text = step(*(number(count or 0) for count in counts))
    return f"{text}, of which {step(*map(number, own))} Python's own" if any(own) else text


def _says(row: Row) -> tuple[Direction, str, str, str]:
    return row.direction, reading_text(row.before, row.gc), reading_text(row.after, row.gc), note(row)


def _hourly(rows: Iterable[Row]) -> str:
    sizes = [row.size for row in rows if row.size is not None]
    if not sizes:
        return UNKNOWN
    most = max(sizes, key=lambda estimate: max(estimate.before, estimate.after))
    return step(mib(most.before), mib(most.after))


def _most(rows: Iterable[Row], field: str, write: Callable[[float], str]) -> str:
    largest = _largest(rows, field)
    return step(*map(write, largest)) if largest else UNKNOWN


def _largest(rows: Iterable[Row], field: str) -> tuple[float, float] | None:
    """Return the largest value of a field before and after, of the rows where both sides have one."""
    pairs = ((getattr(row.before, field), getattr(row.after, field)) for row in rows)
    known = [pair for pair in pairs if None not in pair]
    return (max(before for before, _ in known), max(after for _, after in known)) if known else None


def _cells(cells: Iterable[Row | Unmeasured]) -> str:
    """Return connections and gc policies, as in `close, gc off and on`."""
    cells = tuple(cells)
    policies = tuple(dict.fromkeys(cell.gc for cell in cells))
    return f"{listed(_connections(cells))}, gc {listed(policies)}"


def _connections(cells: Iterable[Row | Unmeasured]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(cell.connection for cell in cells))
