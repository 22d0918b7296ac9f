"""The verdict on an upgrade: one of six words for all, for each gc policy and for each scenario. Pure.

A verdict is about memory after failed requests, on the scenarios that were measured, and never stronger than
the data. The first rule that holds decides:

1. `WITHDRAWN`, overall only: the release to upgrade to is yanked. The nearest that is not is named.
2. `NOT ENOUGH DATA`: no cell was measured on both sides.
3. `HOLD`: a cell got worse that no collection helps (it leaks, or leaks more), or cells got worse and none
   better.
   Overall also where something got surely worse under load by LOAD_HOLDS or more.
4. `NOT ENOUGH DATA`: for a scenario, one of its cells was lost; overall, fewer than LEAST_MEASURED of all.
5. `UPGRADE WITH A SETTING`: cells got better, and a setting keeps at bay what got worse or still leaks.
6. `UPGRADE`: cells got better, none worse, none leaks.
7. `NO DIFFERENCE SEEN`: nothing changed beyond what `ok` itself changes.

What got better and worse is decided by `cells`; it counts here where the whole count goes the same way
as what is above `ok`. A load test is noisy: it can weaken a verdict but never
make one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Literal

import msgspec

from outlive.comparison.cells import RANK, Direction, Row, Unmeasured
from outlive.comparison.load import LoadComparison
from outlive.comparison.noise_text import changed_by
from outlive.records.measurement import ASKED, GC_POLICIES
from outlive.records.release import Release
from outlive.wording import counted, listed

Verdict = Literal[
    "UPGRADE", "UPGRADE WITH A SETTING", "NO DIFFERENCE SEEN", "HOLD", "WITHDRAWN", "NOT ENOUGH DATA"
]
VERDICTS: tuple[Verdict, ...] = (
    "UPGRADE",
    "UPGRADE WITH A SETTING",
    "NO DIFFERENCE SEEN",
    "HOLD",
    "WITHDRAWN",
    "NOT ENOUGH DATA",
)
Setting = Literal["collect", "restart", "room"]

LEAST_MEASURED = 0.75
"""Share of all cells that both sides must have for an overall verdict other than HOLD. Below it a quarter of
the traffic could hide anything; a few cells that one old release cannot serve do not take the verdict away,
but they are named beside it."""

LOAD_HOLDS = 0.1
"""Part by which memory, latency or throughput must be worse under load, with the whole interval, to hold an
upgrade: a tenth more servers, or answers that users wait for. Less is told beside the verdict."""

ADVICE: dict[Setting, str] = {
    "collect": "keep the collector on, or collect periodically: a collection frees what got worse",
    "restart": "restart workers after a number of requests (max_requests): it still leaks",
    "room": "leave room for growth that stops by itself, such as a cache that fills",
}


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict on some cells. `because` is the rule that gave it, in words; counts are of cells."""

    verdict: Verdict
    because: str
    settings: tuple[Setting, ...]
    better: int
    worse: int
    same: int
    lost: int


class OfScenario(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one scenario."""

    scenario: str
    judged: Judged


class OfPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict for those who run with one gc policy."""

    gc: str
    judged: Judged


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on an upgrade.

    `evidence` is the overall verdict without regard to withdrawal; `nearest` is the release to take instead
    of a withdrawn one, None where it is not withdrawn or there is none. `wanted` are all cells that an
    overall verdict is about, `measured` those that both sides have.
    """

    overall: Judged
    evidence: Judged
    nearest: str | None
    wanted: int
    measured: int
    policies: tuple[OfPolicy, ...]
    scenarios: tuple[OfScenario, ...]


def judge(
    rows: Sequence[Row],
    unmeasured: Sequence[Unmeasured],
    after: Release,
    *,
    releases: Iterable[Release],
    expected: Sequence[str],
    python: str,
    loads: Iterable[LoadComparison] = (),
) -> Judgement:
    """Return the verdicts on upgrading to `after`.

    `releases` are all that there are, for the nearest that is not withdrawn and supports `python`; `expected`
    are the names of the scenarios that a whole comparison has.
    """
    lost = [gap for gap in unmeasured if not _nowhere(gap)]
    seen = tuple(dict.fromkeys([row.scenario for row in rows] + [gap.scenario for gap in unmeasured]))
    names = {*expected, *seen}
    nowhere = sum(_nowhere(gap) for gap in unmeasured)
    wanted = max(len(names) * len(ASKED) * len(GC_POLICIES) - nowhere, len(rows) + len(lost))
    evidence = _judged(rows, wanted - len(rows), enough=len(rows) >= LEAST_MEASURED * wanted)
    heavier = [said for comparison in loads if (said := _heavier(comparison))]
    if heavier and evidence.verdict != "HOLD":
        because = f"under load {listed(heavier)}; {evidence.because}"
        evidence = msgspec.structs.replace(evidence, verdict="HOLD", because=because, settings=())
    nearest = nearest_kept(after, releases, python) if after.yanked else None
    overall = evidence
    if after.yanked:
        instead = f"; the nearest release that is not is {nearest}" if nearest else ""
        overall = msgspec.structs.replace(
            evidence, verdict="WITHDRAWN", because=f"{after} is yanked{instead}", settings=()
        )
    return Judgement(
        overall=overall,
        evidence=evidence,
        nearest=nearest,
        wanted=wanted,
        measured=len(rows),
        policies=_by_policy(rows, lost, wanted),
        scenarios=tuple(
            OfScenario(
                scenario=name,
                judged=_judged(
                    [row for row in rows if row.scenario == name],
                    missing := sum(gap.scenario == name for gap in lost),
                    enough=not missing,
                ),
            )
            for name in seen
        ),
    )


def nearest_kept(release: Release, releases: Iterable[Release], python: str) -> str | None:
    """Return the version to take instead of a withdrawn release: the next higher, else the next lower.

    It is stable, not yanked and supports `python`.
    """
    usable = [
        one
        for one in releases
        if not one.yanked and not one.parsed.is_prerelease and one.supports(python) and one != release
    ]
    higher = [one for one in usable if one.parsed > release.parsed]
    lower = [one for one in usable if one.parsed < release.parsed]
    if higher:
        return min(higher, key=lambda one: one.parsed).version
    return max(lower, key=lambda one: one.parsed).version if lower else None


def way(row: Row) -> Direction:
    """Return which way a row went for the reader: `same` where its whole count does not go that way.

    With `ok` at 8 instead of 0, a scenario that leaves nothing as before is better above `ok`, and nobody is
    better off.
    """
    signs = (
        RANK[row.after.growth] - RANK[row.before.growth],
        row.after.objects - row.before.objects,
        row.after.leaked - row.before.leaked,
    )
    own = next((sign for sign in signs if sign), 0)
    along = own > 0 if row.direction == "worse" else own < 0
    return row.direction if along else "same"


def helpless(row: Row) -> bool:
    """Return whether a row that got worse did so in a way that no collection helps: leaks now, or more."""
    if row.gc != "off":
        return True
    began = row.after.growth == "leak" and row.before.growth != "leak"
    above = (row.before.leaked_above_ok, row.after.leaked_above_ok)
    before, after = above if None not in above else (row.before.leaked, row.after.leaked)
    return began or (after or 0) > (before or 0)


def _judged(rows: Sequence[Row], lost: int, *, enough: bool) -> Judged:
    better = [row for row in rows if way(row) == "better"]
    worse = [row for row in rows if way(row) == "worse"]
    verdict, because, settings = _decide(rows, better, worse, lost, enough=enough)
    return Judged(
        verdict=verdict,
        because=because,
        settings=settings,
        better=len(better),
        worse=len(worse),
        same=len(rows) - len(better) - len(worse),
        lost=lost,
    )


def _decide(
    rows: Sequence[Row], better: Sequence[Row], worse: Sequence[Row], lost: int, *, enough: bool
) -> tuple[Verdict, str, tuple[Setting, ...]]:
    cells = counted(len(rows), "cell")
    if not rows:
        return "NOT ENOUGH DATA", "no cell was measured on both sides", ()
    if grave := [row for row in worse if helpless(row)]:
        return "HOLD", f"{_of(len(grave), cells)} got worse in a way that no collection helps", ()
    if worse and not better:
        return "HOLD", f"{_of(len(worse), cells)} got worse, none better", _settings((), worse)
    if not enough:
        return "NOT ENOUGH DATA", f"{counted(lost, 'cell')} of {len(rows) + lost} could not be compared", ()
    if not better:
        leaking = sum(row.still_leaks for row in rows)
        still = f"; {counted(leaking, 'cell')} leak before and after" if leaking else ""
        return "NO DIFFERENCE SEEN", f"no difference in {cells}{still}", ()
    settings = _settings(rows, worse)
    said = f"{_of(len(better), cells)} got better"
    if not settings:
        return "UPGRADE", f"{said}, none worse", ()
    problems = [f"{len(worse)} worse"] if worse else []
    if "restart" in settings:
        problems.append(f"{sum(row.after.growth == 'leak' for row in rows)} still leak")
    return "UPGRADE WITH A SETTING", f"{said}, {listed(problems)}", settings


def _settings(rows: Sequence[Row], worse: Sequence[Row]) -> tuple[Setting, ...]:
    """Return what keeps at bay what got worse, and what of all `rows` still leaks."""
    found: list[Setting] = []
    if any(_freed(row) for row in worse):
        found.append("collect")
    if any(row.after.growth == "leak" for row in rows):
        found.append("restart")
    if any(not _freed(row) for row in worse):
        found.append("room")
    return tuple(found)


def _freed(row: Row) -> bool:
    """Return whether a collection frees what a row has more of."""
    before, after = (Fraction(side.objects) - Fraction(side.leaked) for side in (row.before, row.after))
    return after > before or row.after.growth == "cyclic"


def _heavier(comparison: LoadComparison) -> str:
    """Return what of all scenarios together got surely worse under load by LOAD_HOLDS; empty: nothing."""
    found = []
    for one in comparison.decided:
        metric, change = one.metric, one.change
        if one.direction != "worse" or metric.scenario or metric.scale != "ratio" or change is None:
            continue
        if (change.low if metric.higher_is == "worse" else -change.high) >= LOAD_HOLDS:
            found.append(f"{metric.name} {changed_by(one)}")
    return f"{listed(found)} with gc {comparison.deployment.gc}" if found else ""


def _by_policy(rows: Sequence[Row], lost: Sequence[Unmeasured], wanted: int) -> tuple[OfPolicy, ...]:
    """Return the verdict for each policy; each is wanted as often as the other ones."""
    policies = tuple(dict.fromkeys([*GC_POLICIES, *(row.gc for row in rows), *(gap.gc for gap in lost)]))
    found = []
    for gc in policies:
        own = [row for row in rows if row.gc == gc]
        missing = max(wanted // len(policies) - len(own), sum(gap.gc == gc for gap in lost))
        enough = len(own) >= LEAST_MEASURED * (len(own) + missing)
        found.append(OfPolicy(gc=gc, judged=_judged(own, missing, enough=enough)))
    return tuple(found)


def _nowhere(gap: Unmeasured) -> bool:
    """Return whether neither side can serve the cell, so that nobody misses it."""
    return gap.gap == "unsupported" and gap.side == "both"


def _of(count: int, cells: str) -> str:
    return f"{count} of {cells}"


TONES: dict[Verdict, str] = {
    "UPGRADE": "good",
    "UPGRADE WITH A SETTING": "setting",
    "NO DIFFERENCE SEEN": "same",
    "HOLD": "hold",
    "WITHDRAWN": "withdrawn",
    "NOT ENOUGH DATA": "unknown",
}
SIGNS: dict[Verdict, str] = {
    "UPGRADE": "✓",
    "UPGRADE WITH A SETTING": "✓",
    "NO DIFFERENCE SEEN": "=",
    "HOLD": "!",
    "WITHDRAWN": "✕",
    "NOT ENOUGH DATA": "?",
}
