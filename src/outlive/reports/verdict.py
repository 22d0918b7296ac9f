"""The verdict on an upgrade: one of six words for each gc policy and for each scenario. Pure.

The overall verdict is that of the policy that leads: `on` if it was asked for, because nearly everybody runs
it. Only cells that were asked for count, except those for development only. The first rule that holds
decides:

1. `WITHDRAWN`, overall only: the release to upgrade to is yanked. The verdict names the nearest and the
   newest release that are not.
2. `NOT ENOUGH DATA`: no cell was measured on both sides.
3. `HOLD`: a cell starts to leak, leaks more by an amount that is not `negligible` (what a collection frees
   does not count), or leaves more by a `large` amount.
   Also if a metric is certain to be worse under load by LOAD_HOLDS or more with this policy.
4. `NOT ENOUGH DATA`: a scenario lost one of its cells, or a policy has fewer than LEAST_MEASURED of its.
5. `UPGRADE WITH A SETTING`: a leak is gone or smaller, or cells leave noticeably less, and a setting
   contains what got worse or still leaks.
6. `UPGRADE`: the same, and nothing got noticeably worse or leaks.
7. `NO REASON EITHER WAY`: nothing changed, or too little.

`changes` decides the direction of a cell, and `sizes` by how much it changed. Load tests are noisy: they can
weaken a verdict but never make one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from outlive.comparison.cells import Row, Unmeasured
from outlive.comparison.headline import policies
from outlive.comparison.noisy.load import LoadComparison
from outlive.comparison.noisy.noise_text import changed_by
from outlive.comparison.sizes import LARGE
from outlive.records.release import Release
from outlive.reports import reasons
from outlive.wording import counted, does, listed

Verdict = Literal[
    "UPGRADE", "UPGRADE WITH A SETTING", "NO REASON EITHER WAY", "HOLD", "WITHDRAWN", "NOT ENOUGH DATA"
]
Setting = Literal["collect", "restart", "room"]

LEAST_MEASURED = 0.75
"""Share of the requested cells that both sides must have for a verdict other than HOLD: a missing quarter of
the traffic could hide anything. A few cells that an old release cannot serve do not prevent a verdict, but
the report names them."""

LOAD_HOLDS = 0.1
"""Fraction by which memory, latency or throughput must get worse under load, over the whole interval, to hold
an upgrade: a tenth more servers, or delays that users notice. Smaller changes are only shown."""

LEAST_GAIN = 0.2
"""Fraction of what a cell leaves that must go to make an upgrade worthwhile if no leak is fixed: after a
smaller gain, workers need restarting almost as often."""


ADVICE: dict[Setting, str] = {
    "collect": "keep the collector on, or collect periodically: that frees what got worse",
    "restart": "restart workers after a number of requests (max_requests), because it still leaks",
    "room": "leave room for growth that stops by itself, such as a cache that fills",
}
SCOPE = (
    "The verdict considers only memory after failed requests{}. It ignores security fixes, end of "
    "support and everything else that an upgrade brings."
)
SURE = ", down to a leak of 1 object per {} requests"


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict on some cells. `because` is the rule that gave it, in words; the counts are of cells."""

    verdict: Verdict
    because: str
    settings: tuple[Setting, ...]
    better: int
    worse: int
    same: int
    lost: int


class OfScenario(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict on one scenario with the policy that leads."""

    scenario: str
    judged: Judged


class OfPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The verdict for those who run with one gc policy."""

    gc: str
    judged: Judged


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The verdicts on an upgrade.

    `leads` is the gc policy whose verdict is `overall`; `evidence` is that verdict if the release were not
    withdrawn. `nearest` is the release to take instead of a withdrawn one, None if it is not withdrawn or
    there is none. `wanted` is the number of cells that decide, `measured` how many of them both sides have.
    """

    overall: Judged
    evidence: Judged
    leads: str
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
    python: str,
    loads: Iterable[LoadComparison] = (),
) -> Judgement:
    """Return the verdicts on upgrading to `after`.

    `releases` are all of the framework, to find the nearest one that is not withdrawn and supports `python`.
    """
    releases, loads = tuple(releases), tuple(loads)
    lost = [gap for gap in unmeasured if not gap.nowhere]
    deciding = [row for row in rows if row.decides]
    order = policies([*deciding, *lost, *unmeasured])
    by_policy = tuple(
        OfPolicy(
            gc=gc,
            judged=_loaded(
                _judged(
                    [row for row in deciding if row.gc == gc],
                    sum(gap.gc == gc for gap in lost),
                    LEAST_MEASURED,
                ),
                [load for load in loads if load.deployment.gc == gc],
            ),
        )
        for gc in order
    )
    leads = order[0] if order else "on"
    evidence = by_policy[0].judged if by_policy else _judged((), 0, LEAST_MEASURED)
    nearest = nearest_kept(after, releases, python) if after.yanked else None
    overall = evidence
    if after.yanked:
        newest = newest_kept(releases, python)
        addition = f", {newest} the newest" if newest != nearest else ""
        instead = f"; {nearest} is the nearest release that was not yanked{addition}" if nearest else ""
        overall = msgspec.structs.replace(
            evidence, verdict="WITHDRAWN", because=f"{after} is yanked{instead}", settings=()
        )
    return Judgement(
        overall=overall,
        evidence=evidence,
        leads=leads,
        nearest=nearest,
        wanted=len(deciding) + len(lost),
        measured=len(deciding),
        policies=by_policy,
        scenarios=tuple(
            OfScenario(
                scenario=name,
                judged=_judged(
                    [row for row in rows if row.scenario == name and row.gc == leads],
                    sum(gap.scenario == name and gap.gc == leads for gap in lost),
                    1.0,
                ),
            )
            for name in dict.fromkeys([row.scenario for row in rows] + [gap.scenario for gap in unmeasured])
        ),
    )


def nearest_kept(release: Release, releases: Iterable[Release], python: str) -> str | None:
    """Return the version to take instead of a withdrawn release: the next higher, else the next lower.

    It is stable, not yanked and supports `python`.
    """
    usable = _usable(releases, python)
    higher = [candidate.version for candidate in usable if candidate.parsed > release.parsed]
    lower = [candidate.version for candidate in usable if candidate.parsed < release.parsed]
    return next(iter([*higher, *reversed(lower)]), None)


def newest_kept(releases: Iterable[Release], python: str) -> str | None:
    """Return the newest stable version that is not withdrawn and supports `python`."""
    return next((release.version for release in reversed(_usable(releases, python))), None)


def _usable(releases: Iterable[Release], python: str) -> list[Release]:
    """Return the releases to take instead of a withdrawn one, lowest version first."""
    stable = [release for release in releases if not release.yanked and not release.parsed.is_prerelease]
    return sorted(
        (release for release in stable if release.supports(python)), key=lambda release: release.parsed
    )


def leaks_differ(row: Row) -> bool:
    """Return whether a row's leak changes: it starts, stops, grows or shrinks."""
    return row.direction != "same" and (row.by.startswith("leaked") or _leak_turns(row))


def matters(row: Row) -> bool:
    """Return whether a row changes by enough to be a reason to act."""
    if row.direction == "same":
        return False
    if row.size is None or _leak_matters(row):
        return True
    little = row.direction == "better" and -row.size.change < LEAST_GAIN * row.size.before
    return row.size.word != "negligible" and (leaks_differ(row) or not little)


def _leak_matters(row: Row) -> bool:
    """Return whether a row's leak starts or stops, or changes by more than a negligible amount.

    What a collection frees does not count, even where none runs: it is no leak.
    """
    if _leak_turns(row):
        return True
    return leaks_differ(row) and (row.leak is None or row.leak.word != "negligible")


def _leak_turns(row: Row) -> bool:
    """Return whether a leak starts or stops."""
    return (row.before.kind == "leak") != (row.after.kind == "leak")


def _judged(rows: Sequence[Row], lost: int, least: float) -> Judged:
    better = [row for row in rows if row.direction == "better"]
    worse = [row for row in rows if row.direction == "worse"]
    enough = len(rows) >= least * (len(rows) + lost)
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
    if not rows:
        return "NOT ENOUGH DATA", "no cell was measured on both sides", ()
    grave = [row for row in worse if _leak_matters(row)]
    heavy = [row for row in worse if row not in grave and (row.size is None or row.size.change >= LARGE)]
    if grave or heavy:
        others = [row for row in worse if row not in grave and row not in heavy]
        turned = [row for row in grave if _leak_turns(row)]
        growing = [row for row in grave if not _leak_turns(row)]
        text = reasons.graver(rows, turned=turned, leaking=growing, heavy=heavy, others=others, better=better)
        return "HOLD", text, () if grave else _settings((), worse)
    if not enough:
        return "NOT ENOUGH DATA", f"{counted(lost, 'cell')} of {len(rows) + lost} could not be compared", ()
    gains = [row for row in better if matters(row)]
    costs = [row for row in worse if matters(row)]
    if not gains:
        return "NO REASON EITHER WAY", reasons.little(rows, better, worse, LEAST_GAIN), _settings((), costs)
    settings = _settings(rows, costs)
    improvement = f"{reasons.of(better, rows)} got better{reasons.by(better)}{reasons.rest(better)}"
    if not settings:
        harm = f"{len(worse)} worse by a negligible amount" if worse else "none worse"
        return "UPGRADE", f"{improvement}, {harm}", ()
    slight = len(worse) - len(costs)
    problems = [f"{len(costs)} worse{reasons.by(costs)}"] if costs else []
    problems += [f"{slight} worse by a negligible amount"] if slight else []
    if "restart" in settings:
        leaking = sum(row.after.kind == "leak" for row in rows)
        problems.append(f"{leaking} still {does(leaking, 'leak')}")
    return "UPGRADE WITH A SETTING", f"{improvement}, {listed(problems)}", settings


def _settings(rows: Sequence[Row], worse: Sequence[Row]) -> tuple[Setting, ...]:
    """Return the settings that contain what got worse, and the leaks of all `rows`."""
    settings: list[Setting] = []
    if any(_is_freed(row) for row in worse):
        settings.append("collect")
    if any(row.after.kind == "leak" for row in (*rows, *worse)):
        settings.append("restart")
    if any(not _is_freed(row) and row.after.kind != "leak" for row in worse):
        settings.append("room")
    return tuple(settings)


def _is_freed(row: Row) -> bool:
    """Return whether a collection frees what a row leaves more of."""
    before, after = (side.objects - side.leaked for side in (row.before, row.after))
    return after > before or row.after.kind == "cyclic"


def _loaded(judged: Judged, loads: Sequence[LoadComparison]) -> Judged:
    """Return the verdict, changed to HOLD if a metric got worse under load with the same gc policy."""
    heavier = [text for comparison in loads if (text := _heavier(comparison))]
    if not heavier or judged.verdict == "HOLD":
        return judged
    because = f"under load {listed(heavier)}; {judged.because}"
    return msgspec.structs.replace(judged, verdict="HOLD", because=because, settings=())


def _heavier(comparison: LoadComparison) -> str:
    """Return the metrics of all scenarios together that are surely worse by LOAD_HOLDS, or "" if none is."""
    changes = []
    for decided in comparison.decided:
        metric, change = decided.metric, decided.change
        if decided.direction != "worse" or metric.scenario or metric.scale != "ratio" or change is None:
            continue
        if (change.low if metric.higher_is == "worse" else -change.high) >= LOAD_HOLDS:
            changes.append(f"{metric.name} {changed_by(decided)}")
    return listed(changes)


TONES: dict[Verdict, str] = {
    "UPGRADE": "good",
    "UPGRADE WITH A SETTING": "setting",
    "NO REASON EITHER WAY": "same",
    "HOLD": "hold",
    "WITHDRAWN": "withdrawn",
    "NOT ENOUGH DATA": "unknown",
}
SIGNS: dict[Verdict, str] = {
    "UPGRADE": "✓",
    "UPGRADE WITH A SETTING": "✓",
    "NO REASON EITHER WAY": "=",
    "HOLD": "!",
    "WITHDRAWN": "✕",
    "NOT ENOUGH DATA": "?",
}
