"""Which leaks and rings are new, gone, changed or the same on the other side of a comparison. Pure.

Only cells that both sides measured and explained say anything. What several rings hold goes only when the
last of them does, so a fingerprint counts as there in each cell that has it, the shortest ring or not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from outlive.records.measurement import Connection, Leak, Measurement
from outlive.retention.growth import errors

Verdict = Literal["new", "changed", "same", "gone"]
VERDICTS: tuple[Verdict, ...] = ("new", "changed", "same", "gone")


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that has a fingerprint: the objects that it keeps before and after, None where it is not.

    They are right to `error`, both sides together.
    """

    scenario: str
    connection: Connection
    gc: str
    before: float | None
    after: float | None
    error: float = 0.0

    @property
    def same(self) -> bool:
        """Whether both sides have it with as many objects."""
        if self.before is None or self.after is None:
            return self.before is self.after
        return abs(self.after - self.before) <= self.error


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fingerprint.

    `changed` means that it is on both sides, but in other cells or with other numbers of objects. `leak` is
    as the newer side has it, if it does, in the cell where it keeps most; `further` there means that it is
    nowhere the shortest ring, so that another fingerprint tells of the same objects.
    """

    verdict: Verdict
    leak: Leak
    cells: tuple[Seen, ...]

    @property
    def before(self) -> tuple[float, ...]:
        """The objects per request before, of the cells that have it."""
        return tuple(cell.before for cell in self.cells if cell.before is not None)

    @property
    def after(self) -> tuple[float, ...]:
        """The objects per request after, of the cells that have it."""
        return tuple(cell.after for cell in self.cells if cell.after is not None)


def changes(pairs: Iterable[tuple[Measurement, Measurement]]) -> tuple[Change, ...]:
    """Return what became of each fingerprint of cells measured before and after, what is new first.

    Cells with a side that grows and could not be explained are left out.
    """
    cells: dict[str, list[Seen]] = {}
    examples: dict[str, list[tuple[bool, Leak]]] = {}
    for before, after in pairs:
        if not (is_known(before) and is_known(after)):
            continue
        sides = _by_fingerprint(before.leaks), _by_fingerprint(after.leaks)
        for fingerprint in dict.fromkeys((*sides[0], *sides[1])):
            old, new = (side.get(fingerprint) for side in sides)
            seen = Seen(
                scenario=before.scenario,
                connection=before.connection,
                gc=before.gc,
                before=old.objects_per_request if old else None,
                after=new.objects_per_request if new else None,
                error=sum((*errors(before), *errors(after))),
            )
            cells.setdefault(fingerprint, []).append(seen)
            examples.setdefault(fingerprint, []).extend(
                (newer, leak) for newer, leak in ((False, old), (True, new)) if leak
            )
    found = [_change(cells[fingerprint], examples[fingerprint]) for fingerprint in cells]
    return tuple(
        sorted(
            found,
            key=lambda one: (
                VERDICTS.index(one.verdict),
                -max((*one.before, *one.after)),
                one.leak.fingerprint,
            ),
        )
    )


def is_known(one: Measurement) -> bool:
    """Tell whether the fingerprints of a cell are known: what it leaves, if anything, is explained."""
    return one.status == "measured" and one.explained and not one.unexplained


def _by_fingerprint(leaks: Iterable[Leak]) -> dict[str, Leak]:
    return {leak.fingerprint: leak for leak in leaks}


def _change(cells: Sequence[Seen], examples: Sequence[tuple[bool, Leak]]) -> Change:
    _, leak = max(examples, key=lambda one: (one[0], one[1].objects_per_request))
    growths = {newer: {leak.growth for side, leak in examples if side is newer} for newer in (False, True)}
    if all(cell.before is None for cell in cells):
        verdict: Verdict = "new"
    elif all(cell.after is None for cell in cells):
        verdict = "gone"
    else:
        same = all(cell.same for cell in cells) and growths[False] == growths[True]
        verdict = "same" if same else "changed"
    further = all(leak.further for _, leak in examples)
    return Change(verdict=verdict, leak=msgspec.structs.replace(leak, further=further), cells=tuple(cells))
