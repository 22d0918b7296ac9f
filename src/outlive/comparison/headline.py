"""What changes in a comparison: a few sentences, built by rules, that claim no more than was measured. Pure.

Those who run with the collector on come first, and what changes for those who do not stands beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from outlive.comparison.cells import BASELINE, Row, Unmeasured
from outlive.comparison.changes import (
    LEAKED,
    NAMED,
    OBJECTS,
    OPEN_FILES,
    PER_CONNECTION,
    QUANTITIES,
    Quantity,
)
from outlive.comparison.sides import SideReading
from outlive.comparison.sizes import Size
from outlive.records.measurement import GC_POLICIES, StackRecord
from outlive.records.release import Release
from outlive.records.stack import Difference
from outlive.wording import ARROW, capital, counted, does, listed, number, size, step

MOST_NAMES = 3
NOTHING = Size(0.0, 0.0)
UNTRACKED = "in no object that the collector tracks"


class Sentence(msgspec.Struct, frozen=True):
    """Clauses that hold under one condition, as in `with gc on`; an empty `lead` is no condition.

    As a string it is one line. As a list it is a `head` and its `points`. Neither ends in a full stop.
    """

    clauses: tuple[str, ...]
    lead: str = ""

    def __str__(self) -> str:
        """Return the sentence as one line that starts in lower case."""
        return ", ".join(filter(None, [self.lead, "; ".join(self.clauses)]))

    @property
    def head(self) -> str:
        """The line of the list: the condition, or the whole sentence if it has one clause."""
        return capital(f"{self.lead}:" if self.points else str(self))

    @property
    def points(self) -> tuple[str, ...]:
        """The lines below the head."""
        return self.clauses if len(self.clauses) > 1 else ()


def one_paragraph(sentences: Iterable[Sentence]) -> str:
    """Return the sentences in one line, without a capital at its start and a full stop at its end."""
    first, *others = map(str, sentences)
    return ". ".join([first, *map(capital, others)])


def subject(before: StackRecord, after: StackRecord, differences: Sequence[Difference]) -> str:
    """Return what is compared, as in `aiohttp 3.10.10 → 3.10.11` or `flask 3.1.3, Python 3.11 → 3.12`."""
    if before.framework == after.framework:
        parts = [f"{before.framework} {step(before.release, after.release)}"]
    else:
        parts = [f"{before.framework} {before.release} {ARROW} {after.framework} {after.release}"]
    parts += [str(difference) for difference in differences if difference.asked]
    parts.append(f"Python {step(before.python, after.python)}")
    practices = [stack.practice or "no practice" for stack in (before, after)]
    if before.practice or after.practice:
        parts.append(f"with {step(*practices)}")
    return ", ".join(parts)


def withdrawn(releases: Iterable[Release]) -> tuple[str, ...]:
    """Return one sentence for each reason for which one of the releases is yanked."""
    by_reason: dict[str, list[str]] = {}
    for release in dict.fromkeys(releases):
        if release.yanked:
            by_reason.setdefault(release.why_yanked, []).append(str(release))
    return tuple(
        f"{listed(names)} {does(len(names), 'are', 'is')} yanked: {reason}"
        for reason, names in by_reason.items()
    )


def policies(rows: Iterable[Row | Unmeasured]) -> tuple[str, ...]:
    """Return the gc policies of rows as they are told: on first, for nearly everybody runs it."""
    present = {row.gc for row in rows}
    return (*(policy for policy in GC_POLICIES if policy in present), *sorted(present - set(GC_POLICIES)))


ONE_STACK = "both sides are one stack, measured twice"
SAME = "both sides are the same measurements, so they cannot differ"


def untouched(unimported: Sequence[str]) -> str:
    """Return what it means that packages were installed and nothing imported them."""
    them = "it" if len(unimported) == 1 else "them"
    return f"installed but never imported: {listed(unimported)}, so this says nothing about {them}"


def changes(
    rows: Sequence[Row], gaps: Sequence[Unmeasured] = (), differences: Sequence[Difference] = ()
) -> tuple[Sentence, ...]:
    """Return what changes: a sentence for each gc policy, or for several that are alike, then the rest."""
    by_clauses: dict[tuple[str, ...], list[str]] = {}
    for gc in policies(rows):
        by_clauses.setdefault(tuple(_clauses([row for row in rows if row.gc == gc])), []).append(gc)
    sentences = []
    if not rows:
        sentences.append("no cell was measured on both sides")
    apart = sum(not difference.asked for difference in differences)
    if apart and any(row.direction != "same" for row in rows):
        sentences.append(f"{counted(apart, 'other package')} also {does(apart, 'differ')}")
    lost = [gap for gap in gaps if not gap.nowhere]
    failed = sum(gap.gap == "failed" for gap in lost)
    if failed:
        sentences.append(f"{counted(failed, 'cell')} failed")
    if len(lost) > failed:
        sentences.append(f"{counted(len(lost) - failed, 'cell')} could not be compared")
    return (
        *(Sentence(clauses, f"with gc {listed(names)}") for clauses, names in by_clauses.items()),
        *(Sentence((sentence,)) for sentence in sentences),
    )


def leaking(reading: SideReading) -> Quantity:
    """Return what it is that leaks: objects, or memory that is in none."""
    for quantity in QUANTITIES:
        if quantity.leaks is not None and (reading.value(quantity.name) or 0.0) >= quantity.leaks:
            return quantity
    return LEAKED


def _clauses(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what changes in the rows of one gc policy."""
    deciding = [row for row in rows if row.decides]
    changed = [row for row in deciding if row.direction != "same"]
    cells = counted(len(deciding), "cell")
    if deciding and not changed:
        yield f"nothing changes in {cells}"
    yield from _by_kind(deciding)
    yield from _residue(deciding)
    if not changed:
        yield from _state(deciding)
    if following := sum(row.as_ok for row in changed):
        yield f"{counted(following, 'other cell')} {does(following, 'change')} only as ok does"
    if changed:
        better = sum(row.direction == "better" for row in changed)
        worse = len(changed) - better
        if worse and better:
            yield f"worse in {worse} and better in {better} of {cells}"
        else:
            name, other = ("worse", "better") if worse else ("better", "worse")
            where = "the only cell" if len(deciding) == 1 else f"{len(changed)} of {cells}, {other} in none"
            yield f"{name} in {where}"
    shown = [row for row in rows if not row.decides and row.direction != "same"]
    for clause in _by_kind(shown):
        yield f"for development only, {clause}"
    if peaks := [(row, row.peaks) for row in rows if row.peaks]:
        top, most = max(peaks, key=lambda pair: abs(pair[1][1] - pair[1][0]))
        others = f" and {len(peaks) - 1} more" if len(peaks) > 1 else ""
        yield f"peak RSS {step(*map(size, most))} ({top.scenario} on {top.connection}{others}, one run each)"


def _residue(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what connections leave beside their requests, unless `_by_kind` tells it: leaks come first."""
    for quantity in PER_CONNECTION:
        part = [row for row in rows if quantity.name in row.told and quantity is _residue_of(row)]
        for more in (True, False):
            if scenarios := [row for row in part if (_apart(quantity, row) > 0) == more]:
                names = sorted({row.scenario: None for row in scenarios}, key=BASELINE.__ne__)
                verb, its = does(len(names), "leave"), "its" if len(names) == 1 else "their"
                figure = _most(
                    quantity, max(scenarios, key=lambda row: abs(_apart(quantity, row))), scenarios
                )
                change = f"{verb} {'more' if more else 'less'} per connection, beside {its} requests"
                yield f"{listed(names, MOST_NAMES)} {change} ({figure})"


def _residue_of(row: Row) -> Quantity | None:
    """Return the first quantity of connections that differs, None if the row is told by it."""
    first = next((quantity for quantity in PER_CONNECTION if quantity.name in row.told), None)
    return None if first is LEAKED_PER_CONNECTION and row.by == first.name else first


def _by_kind(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a clause for each kind of change, the gravest first, and of `ok` apart from all others."""
    own = [row for row in rows if not row.as_ok]
    for kind in _VERBS:
        for of_ok in (True, False):
            part = [row for row in own if kind in _kinds(row) and (row.scenario == BASELINE) == of_ok]
            if part:
                yield _clause(kind, part, rows)


def _clause(kind: str, part: Sequence[Row], rows: Sequence[Row]) -> str:
    names = tuple(dict.fromkeys(row.scenario for row in part))
    verb = _VERBS[kind][len(names) > 1]
    return f"{listed(names, MOST_NAMES)} {verb}{_where(part, rows)} ({_figure(kind, part)})"


_VERBS = {
    "leaks-now": ("now leaks", "now leak"),
    "leaks-more": ("leaks more", "leak more"),
    "more": ("leaves more", "leave more"),
    "grows": ("grows where it did not", "grow where they did not"),
    "leaks-no-longer": ("no longer leaks", "no longer leak"),
    "leaks-less": ("leaks less", "leak less"),
    "less": ("leaves less", "leave less"),
    "grows-not": ("grows less", "grow less"),
    "still-leaks": ("leaks before and after", "leak before and after"),
}


LEAKED_PER_CONNECTION, AFTER_CONNECTION = PER_CONNECTION
_FREED = {OBJECTS.name, AFTER_CONNECTION.name, OPEN_FILES.name}
"""What a collection frees, at least in part: if a row that leaks changes by it, its leak does not."""


def _kinds(row: Row) -> tuple[str, ...]:
    """Return the kind of change of a row, and that it leaks as before if the change is not in its leak."""
    kind = _kind(row)
    if kind is None:
        return ()
    if row.by == AFTER_CONNECTION.name:  # told by `_residue`
        return ("still-leaks",) if row.still_leaks else ()
    return (kind, "still-leaks") if row.still_leaks and row.by in _FREED else (kind,)


def _kind(row: Row) -> str | None:
    worse = row.direction == "worse"
    if row.direction == "same":
        return "still-leaks" if row.still_leaks else None
    if row.still_leaks and row.by not in _FREED:
        return "leaks-more" if worse else "leaks-less"
    if row.by == "class" and "leak" in {row.before.kind, row.after.kind}:
        return "leaks-now" if worse else "leaks-no-longer"
    if row.by == "class" and (not row.change or (row.change > 0) != worse):
        return "grows" if worse else "grows-not"
    return "more" if worse else "less"


def figure(rows: Sequence[Row]) -> str:
    """Return what changes most in rows, as the headline tells it: `32 → 7 objects per request, 48 → 17 …`."""
    kind = _kind(max(rows, key=lambda row: abs(row.size.change) if row.size else 0.0)) or ""
    return _figure(kind, [row for row in rows if _kind(row) == kind])


def _figure(kind: str, part: Sequence[Row]) -> str:
    """Return before and after of all rows, or of the one with most to tell, with what it is per hour."""
    if kind in {"grows", "grows-not"}:
        return listed(tuple(dict.fromkeys(step(row.before.kind, row.after.kind) for row in part)))
    quantity, top = _top(part, leaks="leak" in kind, state=kind == "still-leaks")
    parts = [f"{_most(quantity, top, part)} per {quantity.per}"]
    if quantity.leaks is not None and quantity is not LEAKED:
        parts.append(UNTRACKED)
    parts += _sizes(quantity, top, part)
    if contrary := [opposite for opposite in top.contrary if opposite is not LEAKED]:
        parts += [f"but {_step(opposite, top)} per {opposite.per}" for opposite in contrary[:1]]
    elif kind == "leaks-no-longer" and quantity is LEAKED and top.after.objects > 0:
        stay = does(top.after.objects, "stay")
        parts.append(f"but {counted(top.after.objects, 'object')} {stay} until a collection")
    return ", ".join(parts)


def _sizes(quantity: Quantity, top: Row, part: Sequence[Row]) -> Iterator[str]:
    """Yield what the amounts of `top` are per hour; of a leak, the garbage that stays with it comes after."""
    size = _size(quantity, top)
    if size is None or not (size.before or size.after):
        return
    others = len({str(_size(quantity, row)) for row in part}) > 1
    yield f"{_place(top, part) if others and _alike(quantity, part) else ''}{size}"
    if top.size is not None and size.amounts != top.size.amounts:
        word = f": {top.size.word}" if ARROW in top.size.amounts and size.word != top.size.word else ""
        yield f"{top.size.amounts} with cyclic garbage{word}"


def _size(quantity: Quantity, row: Row) -> Size | None:
    """Return what stays of a row per hour; if `quantity` leaks, only what no collection frees."""
    return row.size if quantity.leaks is None else row.leak


def _most(quantity: Quantity, top: Row, part: Sequence[Row]) -> str:
    """Return the amounts of `top`, with its name if other rows of `part` have other amounts."""
    amounts = quantity.text(step(*top.written(quantity)))
    return amounts if _alike(quantity, part) else f"{_place(top, part)}{amounts}"


def _place(top: Row, part: Sequence[Row]) -> str:
    """Return which of the rows `top` is, as in `most in upload on close: `."""
    places = [f"in {top.scenario}"] if len({row.scenario for row in part}) > 1 else []
    places += [f"on {top.connection}"] if len({row.connection for row in part}) > 1 else []
    return f"most {' '.join(places)}: "


def _alike(quantity: Quantity, part: Sequence[Row]) -> bool:
    """Return whether all rows of `part` have the same amounts, as they are written."""
    return len({row.written(quantity) for row in part}) == 1


def _top(rows: Sequence[Row], *, leaks: bool = False, state: bool = False) -> tuple[Quantity, Row]:
    """Return the row that changes most, and by what, or by what `leaks`: that goes before what it costs.

    Of a `state` that does not change, it is the row that leaves most.
    """

    def most(told: tuple[Quantity, Row]) -> tuple[bool, float, float, float]:
        quantity, row = told
        change, estimate = abs(_apart(quantity, row)), _size(quantity, row) or NOTHING
        size = {"worse": estimate.change, "better": -estimate.change, "same": abs(estimate.change)}[
            row.direction
        ]
        stays = estimate.after
        if state:
            return (quantity is LEAKED, max(row.amounts(quantity)), stays, 0.0)
        first = (change, size) if quantity.leaks is not None else (size, change)
        return (quantity is LEAKED, *first, stays)

    return max(((_quantity(row, leaks=leaks), row) for row in rows), key=most)


def _quantity(row: Row, *, leaks: bool) -> Quantity:
    """Return what a row is told by: what leaks, or what gave the direction."""
    if leaks or ("leak" in {row.before.kind, row.after.kind} and row.by not in _FREED):
        return leaking(row.after if row.after.kind == "leak" else row.before)
    return OBJECTS if row.by in {"class", ""} else NAMED[row.by]


def _apart(quantity: Quantity, row: Row) -> float:
    before, after = row.amounts(quantity)
    return after - before


def _step(quantity: Quantity, row: Row) -> str:
    return quantity.text(step(*row.written(quantity)))


def _where(part: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return in which cells of its scenarios a clause holds: nothing where it holds in all of them."""
    names = {row.scenario for row in part}
    peers = [row for row in rows if row.scenario in names]
    connections = {row.connection for row in part}
    covered = [row for row in peers if row.connection in connections]
    if len(covered) != len(part):
        return f" in {len(part)} of {counted(len(peers), 'cell')}"
    return f" on {listed(sorted(connections))}" if connections != {row.connection for row in peers} else ""


def _state(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what both sides leave alike, where nothing differs."""
    if not rows or any(row.still_leaks for row in rows):
        return
    top = max(rows, key=lambda row: row.after.objects)
    if top.after.objects <= 0:
        yield "nothing is left behind, before or after"
        return
    ok = "" if top.after.ok is None else f"; ok: {number(top.after.ok)}"
    frees = "" if any(row.after.leaked > 0 for row in rows) else ", cyclic garbage: a collection frees it"
    where = f"{top.scenario} on {top.connection}{ok}"
    objects = counted(top.after.objects, "object")
    stay = "stays" if objects == "1 object" else "stay"
    yield f"up to {objects} per request {stay} ({where}){frees}"


def largest(rows: Sequence[Row]) -> Row | None:
    """Return the row whose MiB per hour change most, None where there is none.

    If they are alike or unknown, it is the one whose leaked objects change most, or else all its objects.
    """

    def most(row: Row) -> tuple[float, float, float]:
        size = abs(row.size.change) if row.size else 0.0
        return size, abs(_apart(LEAKED, row)), abs(row.change)

    return max(rows, key=most, default=None)
