"""The headline of a comparison: one sentence, built by rules, that claims no more than was measured. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from outlive.comparison.cells import BASELINE, Row, Unmeasured
from outlive.records.measurement import StackRecord
from outlive.records.release import Release
from outlive.records.stack import Difference
from outlive.wording import ARROW, NO_VERSION, counted, listed, number, one_line, step

MOST_NAMES = 3


def subject(before: StackRecord, after: StackRecord, differences: Sequence[Difference]) -> str:
    """Return what is compared, as in `aiohttp 3.10.10 → 3.10.11` or `flask 3.1.3, Python 3.11 → 3.12`."""
    if before.framework == after.framework:
        parts = [f"{before.framework} {step(before.release, after.release)}"]
    else:
        parts = [f"{before.framework} {before.release} {ARROW} {after.framework} {after.release}"]
    parts += [
        f"{one.package} {step(one.before or NO_VERSION, one.after or NO_VERSION)}"
        for one in differences
        if one.asked
    ]
    if before.python != after.python:
        parts.append(f"Python {before.python} {ARROW} {after.python}")
    return ", ".join(parts)


def withdrawn(releases: Iterable[Release]) -> tuple[str, ...]:
    """Return one sentence for each reason for which one of the releases is yanked."""
    by_reason: dict[str, list[str]] = {}
    for release in dict.fromkeys(releases):
        if release.yanked:
            by_reason.setdefault(one_line(release.yanked_reason or ""), []).append(str(release))
    return tuple(
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} yanked"
        + (f": {reason}" if reason else ", no reason is given")
        for reason, names in by_reason.items()
    )


def headline(
    about: str,
    rows: Sequence[Row],
    gaps: Sequence[Unmeasured],
    differences: Sequence[Difference],
    releases: Iterable[Release],
) -> str:
    """Return the sentence, followed by one for each reason for which a release is yanked."""
    yanked = "".join(f". {sentence}" for sentence in withdrawn(releases))
    end = "" if yanked else "."
    return f"{about}: {changes(rows, gaps, differences)}{yanked}{end}"


def changes(
    rows: Sequence[Row], gaps: Sequence[Unmeasured] = (), differences: Sequence[Difference] = ()
) -> str:
    """Return what changes, without a subject and a full stop."""
    claims = list(_claims(rows))
    apart = sum(not one.asked for one in differences)
    if apart and any(row.direction != "same" for row in rows):
        differ = "differs" if apart == 1 else "differ"
        packages = "1 other package" if apart == 1 else f"{apart} other packages"
        claims.append(f"{packages} {differ} too")
    lost = [gap for gap in gaps if gap.gap != "unsupported" or gap.side != "both"]
    failed = sum(gap.gap == "failed" for gap in lost)
    if failed:
        claims.append(f"{counted(failed, 'cell')} failed")
    if len(lost) > failed:
        claims.append(f"{counted(len(lost) - failed, 'cell')} could not be compared")
    return "; ".join(claims)


def _claims(rows: Sequence[Row]) -> Iterator[str]:
    if not rows:
        yield "no cell was measured on both sides, so nothing is known"
        return
    changed = [row for row in rows if row.direction != "same"]
    cells = counted(len(rows), "cell")
    if not changed:
        yield "no difference in the only cell" if len(rows) == 1 else f"no difference in any of {cells}"
        yield from _clauses(rows)
        yield from _state(rows)
        return
    yield from _clauses(rows)
    following = sum(row.follows_ok for row in rows)
    if following:
        change = "changes" if following == 1 else "change"
        yield f"{counted(following, 'other cell')} {change} only as ok does"
    worse = sum(row.direction == "worse" for row in rows)
    if worse:
        yield f"of {cells} {worse} got worse and {len(changed) - worse} better"
    elif not any(row.mixed for row in rows):
        yield f"nothing got worse in {cells}"


def _clauses(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a clause for each kind of change, the gravest first, and of `ok` apart from all others."""
    for kind in _VERBS:
        for of_ok in (True, False):
            part = [row for row in rows if _kind(row) == kind and (row.scenario == BASELINE) == of_ok]
            if part:
                yield _clause(kind, part, rows)
    if mixed := [row for row in rows if row.mixed and row.direction == "better"]:
        yield f"but {_clause('more', mixed, rows)}"


def _clause(kind: str, part: Sequence[Row], rows: Sequence[Row]) -> str:
    names = tuple(dict.fromkeys(row.scenario for row in part))
    verb = _VERBS[kind][len(names) > 1]
    return f"{listed(names, MOST_NAMES)} {verb} ({_details(kind, part)}{_where(part, rows)})"


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


def _kind(row: Row) -> str | None:
    if row.direction == "same":
        return "still-leaks" if row.still_leaks else None
    worse = row.direction == "worse"
    if row.still_leaks:
        return "leaks-more" if worse else "leaks-less"
    if "leak" in {row.before.growth, row.after.growth} and row.before.growth != row.after.growth:
        return "leaks-now" if row.after.growth == "leak" else "leaks-no-longer"
    if row.mixed or not row.judged_change:
        return "grows" if worse else "grows-not"
    return "more" if worse else "less"


def _details(kind: str, part: Sequence[Row]) -> str:
    if kind in {"grows", "grows-not"}:
        return listed(tuple(dict.fromkeys(step(row.before.growth, row.after.growth) for row in part)))
    if "leak" not in kind:
        return _figure(part, "objects")
    if any(row.before.leaked or row.after.leaked for row in part):
        return _figure(part, "leaked")
    return "memory that holds no gc-tracked objects"


def _figure(part: Sequence[Row], count: Literal["objects", "leaked"]) -> str:
    """Return before and after of all rows, or of the one that changes most; above `ok` where `ok` changes."""
    ok, above = ("ok", "above_ok") if count == "objects" else ("ok_leaked", "leaked_above_ok")
    moved = any(getattr(row.before, ok) != getattr(row.after, ok) for row in part)
    field = above if moved else count
    values = [tuple(float(getattr(side, field) or 0) for side in (row.before, row.after)) for row in part]
    before, after = max(values, key=lambda value: (abs(value[1] - value[0]), value))
    most = "up to " if len(set(values)) > 1 else ""
    beyond = " above ok" if moved else ""
    return f"{most}{step(number(before), number(after))} objects per request{beyond}"


def _where(part: Sequence[Row], rows: Sequence[Row]) -> str:
    """Return in which cells of its scenarios a clause holds: nothing where it holds in all of them."""
    names = {row.scenario for row in part}
    peers = [row for row in rows if row.scenario in names]
    connections, policies = {row.connection for row in part}, {row.gc for row in part}
    covered = [row for row in peers if row.connection in connections and row.gc in policies]
    if len(covered) != len(part):
        return f" in {len(part)} of {len(peers)} cells"
    on = f" on {listed(sorted(connections))}" if connections != {row.connection for row in peers} else ""
    policy = f" with gc {listed(sorted(policies))}" if policies != {row.gc for row in peers} else ""
    return on + policy


def _state(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what both sides leave alike, where nothing differs."""
    off = [row for row in rows if row.gc == "off"]
    if not off or any(row.still_leaks for row in rows):
        return
    top = max(off, key=lambda row: row.after.objects)
    if top.after.objects <= 0:
        yield "neither leaves objects behind, even with gc off"
        return
    ok = "" if top.after.ok is None else f"; ok: {number(top.after.ok)}"
    frees = ", cyclic garbage: a collection frees it" if all(row.after.leaked <= 0 for row in off) else ""
    yield (
        f"both leave up to {number(top.after.objects)} objects per request with gc off "
        f"({top.scenario} on {top.connection}{ok}){frees}"
    )
