"""Claims of changelogs, held against measurements. Pure.

A claim is compared with the measured change of the scenarios that it is about, from the release before
it to its own or, if that was not measured, between the two stacks compared. Cells are judged by
`outlive.comparison.cells`:

- `contradicted`: no cell got better, and some got much worse: they started to leak, or leave MUCH_MORE.
- `confirmed`: each cell that left objects before got better, and none got worse. Cells that leaked no longer
  leak, and the others leave at most MOST_LEFT of what they left.
- `partly`: some cells got better; or all of them, but other releases in between may have contributed.
- `not seen`: everything else. Nothing changed, or a little more is left, or other releases may have made it
  worse. Or none of the scenarios was measured, as is common for claims that are not about a server's requests
  (`Claim.elsewhere`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from outlive.comparison.cells import BASELINE, Row
from outlive.comparison.changes import NAMED
from outlive.comparison.lines import note
from outlive.releases.claims import Claim
from outlive.wording import counted, listed, number, step

ClaimVerdict = Literal["confirmed", "partly", "not seen", "contradicted"]
MOST_LEFT = 0.5
"""Share of the objects above `ok` that a release may still leave for its claim to count as confirmed: a
release that claims to break cycles but leaves most of them is only partly right."""
MUCH_MORE = 1.1
"""Factor by which the objects above `ok` must grow to contradict a claim: a fix can add a few objects."""
MOST_SCENARIOS = 3  # named as evidence beside a claim
ABOUT: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), scenarios)
    for words, scenarios in (
        (r"\b404\b|not found|\bsystem routes?\b|match_?info", ("not-found",)),
        (
            r"\b405\b|method not allowed|not allowed method|\bsystem routes?\b",
            ("method-not-allowed", "upload-method-not-allowed"),
        ),
        (
            r"exceptions?\b|error handl|traceback",
            ("*-error", "bad-json", "not-found", "method-not-allowed", "upload-method-not-allowed"),
        ),
        (
            r"connections? (?:is |was |gets? )?(?:close|lost|drop)|disconnect|\baborted\b|cancel",
            ("abort-*", "truncated-body", "malformed-request"),
        ),
        (r"multipart|\buploads?\b|\bform\b", ("upload*", "abort-upload")),
        (r"\bparser\b|malformed|bad request", ("malformed-request", "truncated-body")),
        (r"\bstream(?:s|ed|ing)?\b|chunked", ("stream-error", "abort-response")),
        (r"\bjson\b", ("bad-json",)),
    )
)


class Span(msgspec.Struct, frozen=True):
    """The two releases that were measured, and the number of others that came out between them."""

    before: str
    after: str
    others: int

    def __str__(self) -> str:
        return step(self.before, self.after)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A claim held against measurements: `evidence` names the scenarios, `span` the releases.

    `measured` is false if no scenario that the claim is about was measured.
    """

    release: str
    claim: Claim
    seen: ClaimVerdict
    evidence: str
    span: str
    measured: bool = True


def about(claim: Claim, names: Iterable[str]) -> tuple[str, ...]:
    """Return the scenarios that a claim is about, all of them if its words point to none."""
    patterns = list(claim.elsewhere) or [
        scenario for words, scenarios in ABOUT if words.search(claim.text) for scenario in scenarios
    ]
    errors = dict.fromkeys(name for name in names if name != BASELINE)
    return tuple(
        name for name in errors if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
    )


def hold(release: str, claim: Claim, rows: Sequence[Row], span: Span) -> Held:
    """Return a claim held against `rows`, which compare the releases of `span`."""

    def held(seen: ClaimVerdict, evidence: str) -> Held:
        return Held(release=release, claim=claim, seen=seen, evidence=evidence, span=str(span))

    names = about(claim, (row.scenario for row in rows))
    relevant = [row for row in rows if row.scenario in names]
    if not relevant:
        subjects = f" ({', '.join(claim.elsewhere)})" if claim.elsewhere else ""
        evidence = f"no scenario that it concerns was measured{subjects}"
        return msgspec.structs.replace(held("not seen", evidence), measured=False)
    better = [row for row in relevant if row.direction == "better"]
    worse = [row for row in relevant if row.direction == "worse"]
    if worse and not better:
        more = f"more is left: {_examples(worse)}"
        if span.others:
            return held("not seen", f"{more}; {counted(span.others, 'other release')} may have caused it")
        if any(map(_is_much_worse, worse)):
            return held("contradicted", more)
        return held("not seen", f"a little {more}")
    if not better:
        return held("not seen", f"no difference in {listed(names, MOST_SCENARIOS)}")
    others = f"; {counted(span.others, 'other release')} may have contributed" if span.others else ""
    if not worse and all(map(_is_cleared, relevant)):
        return held("partly" if others else "confirmed", f"less is left: {_examples(better)}{others}")
    leaving = sum(_objects(row)[0] > 0 or row in better for row in relevant)
    more = f"; more: {_examples(worse)}" if worse else ""
    return held(
        "partly",
        f"less is left in {len(better)} of {counted(leaving, 'cell')}: {_examples(better)}{more}{others}",
    )


def _objects(row: Row) -> tuple[float, float]:
    """Return the objects above `ok` before and after, or all objects if `ok` is unknown."""
    return row.before.above_ok, row.after.above_ok


def _is_cleared(row: Row) -> bool:
    """Return whether a cell no longer leaves what it left, if it left anything."""
    before, after = _objects(row)
    if before <= 0 and row.before.kind != "leak":
        return True
    if row.before.kind == "leak":
        return row.after.kind != "leak"
    return row.direction == "better" and after <= MOST_LEFT * before


def _is_much_worse(row: Row) -> bool:
    """Return whether a cell starts to leak, or leaves much more than before."""
    before, after = _objects(row)
    if before == after and row.told:
        before, after = _amounts(row)
    return (row.after.kind == "leak") > (row.before.kind == "leak") or after > max(MUCH_MORE * before, before)


def _amounts(row: Row) -> tuple[float, float]:
    """Return the amounts before and after of the quantity that gave the direction."""
    name = NAMED[row.told[0]].name
    return row.before.value(name) or 0.0, row.after.value(name) or 0.0


def _examples(rows: Sequence[Row]) -> str:
    """Return the largest changes, one for each scenario, as in `not-found 47 → 43 objects`."""
    most: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: -abs(row.change)):
        most.setdefault(row.scenario, row)
    return listed([f"{name} {_change(row)}" for name, row in most.items()], MOST_SCENARIOS)


def _change(row: Row) -> str:
    """Return the change in objects above `ok`, or else in the quantity that gave the direction."""
    before, after = _objects(row)
    if before != after:
        return counted(step(number(before), number(after)), "object")
    if text := note(row):
        return text
    if row.before.objects != row.after.objects or not row.told:
        return counted(step(number(row.before.objects), number(row.after.objects)), "object")
    quantity = NAMED[row.told[0]]
    return quantity.text(step(*map(quantity.write, _amounts(row))))
