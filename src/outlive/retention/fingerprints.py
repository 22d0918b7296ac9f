"""Compares fingerprints: which leaks and rings are new, changed, the same or gone after a change. Pure.

Only cells that both sides measured and explained count. What several rings hold is freed only once the last
of them is gone, so a fingerprint counts in every cell that has it, even if it is not the shortest ring there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from outlive.records.measurement import Cell, Leak, Measurement
from outlive.retention.error import errors

Verdict = Literal["new", "changed", "same", "gone"]
VERDICTS: tuple[Verdict, ...] = ("new", "changed", "same", "gone")


class FingerprintCell(Cell, frozen=True, kw_only=True):
    """A cell with a fingerprint: the objects per request that it keeps on each side, None if it is not there.

    `error` is the sum of the errors of both numbers.
    """

    before: float | None
    after: float | None
    error: float = 0.0

    @property
    def same(self) -> bool:
        """Whether both sides have it with equally many objects."""
        if self.before is None or self.after is None:
            return self.before is self.after
        return abs(self.after - self.before) <= self.error


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one fingerprint.

    `changed` means that both sides have it, but in different cells or with different numbers of objects.
    `leak` is from the cell where it keeps most objects, on the newer side if that has it. Its `further` means
    that it is nowhere the shortest ring, so that another fingerprint describes the same objects.
    """

    verdict: Verdict
    leak: Leak
    cells: tuple[FingerprintCell, ...]

    @property
    def before(self) -> tuple[float, ...]:
        """The objects per request before, in each cell that has it."""
        return tuple(cell.before for cell in self.cells if cell.before is not None)

    @property
    def after(self) -> tuple[float, ...]:
        """The objects per request after, in each cell that has it."""
        return tuple(cell.after for cell in self.cells if cell.after is not None)


def changes(pairs: Iterable[tuple[Measurement, Measurement]]) -> tuple[Change, ...]:
    """Return the change of each fingerprint in cells that were measured before and after, new ones first.

    Cells are left out if either side grows and could not be explained.
    """
    cells: dict[str, list[FingerprintCell]] = {}
    examples: dict[str, list[tuple[bool, Leak]]] = {}
    for before, after in pairs:
        if not (is_known(before) and is_known(after)):
            continue
        sides = [{leak.fingerprint: leak for leak in side.leaks} for side in (before, after)]
        for fingerprint in dict.fromkeys((*sides[0], *sides[1])):
            old, new = (side.get(fingerprint) for side in sides)
            seen = FingerprintCell(
                before.scenario,
                before.connection,
                before.gc,
                before=old.objects_per_request if old else None,
                after=new.objects_per_request if new else None,
                error=sum((*errors(before), *errors(after))),
            )
            cells.setdefault(fingerprint, []).append(seen)
            examples.setdefault(fingerprint, []).extend(
                (newer, leak) for newer, leak in ((False, old), (True, new)) if leak
            )
    return tuple(
        sorted(
            (_change(cells[fingerprint], examples[fingerprint]) for fingerprint in cells),
            key=lambda change: (
                VERDICTS.index(change.verdict),
                -max((*change.before, *change.after)),
                change.leak.fingerprint,
            ),
        )
    )


def is_known(measurement: Measurement) -> bool:
    """Return whether a cell's fingerprints are known: it leaves nothing, or what it leaves is explained."""
    return measurement.status == "measured" and measurement.explained and not measurement.unexplained


def _change(cells: Sequence[FingerprintCell], examples: Sequence[tuple[bool, Leak]]) -> Change:
    _, leak = max(examples, key=lambda example: (example[0], example[1].objects_per_request))
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
