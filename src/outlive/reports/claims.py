"""Claims of changelogs, held against what was measured. Pure.

A claim is compared with the measured change of the scenarios that it is about, from the release before
it to its own or, if that was not measured, between the two stacks compared. Cells are judged by
`outlive.comparison.cells`:

- `contradicted`: some cells got much worse, none better: they leak and did not, or leave MUCH_MORE.
- `confirmed`: each cell that left objects before got better, none got worse; what leaked no longer leaks, and
  the other cells leave at most MOST_LEFT of what they left.
- `partly`: some cells got better; or all of them, but other releases in between may have contributed.
- `not seen`: everything else. Nothing changed, or a little more is left, or other releases may have made it
  worse, or none of the scenarios was measured, as is common for what is not about a server's requests
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

Seen = Literal["confirmed", "partly", "not seen", "contradicted"]
MOST_LEFT = 0.5
"""Share of the objects above `ok` that a release may still leave for its claim to count as confirmed: one
that says that it breaks cycles and leaves most of them is right only in part."""
MUCH_MORE = 1.1
"""Times the objects above `ok` from which on more of them contradict a claim: a fix has some of its own."""
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
    """Between which releases something was measured, and how many others came out between them."""

    before: str
    after: str
    others: int

    def __str__(self) -> str:
        return step(self.before, self.after)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A claim held against what was measured. `evidence` says on what, `span` between which releases.

    Where `measured` is false nothing was that it is about.
    """

    release: str
    claim: Claim
    seen: Seen
    evidence: str
    span: str
    measured: bool = True


def about(claim: Claim, names: Iterable[str]) -> tuple[str, ...]:
    """Return which of the scenarios a claim is about; all where its words name none."""
    patterns = list(claim.elsewhere) or [
        one for words, found in ABOUT if words.search(claim.text) for one in found
    ]
    known = tuple(dict.fromkeys(name for name in names if name != BASELINE))
    return tuple(name for name in known if not patterns or any(fnmatchcase(name, one) for one in patterns))


def hold(release: str, claim: Claim, rows: Sequence[Row], span: Span) -> Held:
    """Return a claim beside what `rows`, which are of `span`, show."""

    def held(seen: Seen, evidence: str) -> Held:
        return Held(release=release, claim=claim, seen=seen, evidence=evidence, span=str(span))

    names = about(claim, (row.scenario for row in rows))
    relevant = [row for row in rows if row.scenario in names]
    if not relevant:
        which = f" ({', '.join(claim.elsewhere)})" if claim.elsewhere else ""
        evidence = f"no scenario that it concerns was measured{which}"
        return msgspec.structs.replace(held("not seen", evidence), measured=False)
    better = [row for row in relevant if row.direction == "better"]
    worse = [row for row in relevant if row.direction == "worse"]
    if worse and not better:
        more = f"more is left: {_examples(worse)}"
        if span.others:
            return held("not seen", f"{more}; {counted(span.others, 'other release')} may have caused it")
        if any(map(_much_worse, worse)):
            return held("contradicted", more)
        return held("not seen", f"a little {more}")
    if not better:
        return held("not seen", f"no difference in {listed(names, MOST_SCENARIOS)}")
    others = f"; {counted(span.others, 'other release')} may have contributed" if span.others else ""
    if not worse and all(map(_cleared, relevant)):
        return held("partly" if others else "confirmed", f"less is left: {_examples(better)}{others}")
    leaving = sum(_left(row)[0] > 0 or row in better for row in relevant)
    but = f"; more: {_examples(worse)}" if worse else ""
    return held(
        "partly", f"less is left in {len(better)} of {leaving} cells: {_examples(better)}{but}{others}"
    )


def _left(row: Row) -> tuple[float, float]:
    """Return what a row leaves above `ok` before and after, or all of it where `ok` is not known."""
    return row.before.above_ok, row.after.above_ok


def _cleared(row: Row) -> bool:
    """Return whether a cell is rid of what it left, if it left anything."""
    before, after = _left(row)
    if before <= 0 and row.before.kind != "leak":
        return True
    if row.before.kind == "leak":
        return row.after.kind != "leak"
    return row.direction == "better" and after <= MOST_LEFT * before


def _much_worse(row: Row) -> bool:
    """Return whether a cell leaks that did not, or leaves much more than before."""
    before, after = _left(row)
    if before == after and row.told:
        before, after = _told(row)
    return (row.after.kind == "leak") > (row.before.kind == "leak") or after > max(MUCH_MORE * before, before)


def _told(row: Row) -> tuple[float, float]:
    """Return before and after of what gave the direction."""
    name = NAMED[row.told[0]].name
    return row.before.value(name) or 0.0, row.after.value(name) or 0.0


def _examples(rows: Sequence[Row]) -> str:
    """Return the largest changes, one for each scenario, as in `not-found 47 → 43`."""
    most: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: -abs(row.change)):
        most.setdefault(row.scenario, row)
    return listed([f"{name} {_change(row)}" for name, row in most.items()], MOST_SCENARIOS)


def _change(row: Row) -> str:
    """Return the objects left above `ok`; where these are as before, what else gave the direction."""
    before, after = _left(row)
    if before != after:
        return step(number(before), number(after))
    if said := note(row):
        return said
    if row.before.objects != row.after.objects or not row.told:
        return step(number(row.before.objects), number(row.after.objects))
    one = NAMED[row.told[0]]
    return f"{step(*map(one.write, _told(row)))} {one.noun}"
