"""What docs/advice.md quotes: what results/ has of remedies and practices. A stack is one of STACKS."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from outlive.comparison.cells import BASELINE
from outlive.comparison.noisy.noise_text import bounds, value
from outlive.comparison.noisy.remedies import METRICS
from outlive.files import decode
from outlive.markdown import table as markdown_table
from outlive.project import Project
from outlive.records.measurement import Document, Measurement
from outlive.releases.catalogue import Catalogue
from outlive.replay.store import read
from outlive.reports import remedies_text as report
from outlive.reports.remedies import Relief, ReliefDocument, RemedyRow, reworded
from outlive.service import remedies
from outlive.stacks import locks
from outlive.wording import number, step

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "results"
STACKS = {
    "flask": ("flask", "3.1.3", "3.13"),
    "aiohttp": ("aiohttp", "3.14.5", "3.13"),
}
UNKNOWN = "not measured yet"
CONFIRMED, PARTLY, NOT_CONFIRMED = "**confirmed**", "**partly**", "**not confirmed**"
PART = 0.5
"""Share of what a failing scenario leaves that may stay where a remedy helps partly."""
ERRORS = 10
"""Errors' worth of objects from which on what a practice keeps are errors; less is a library's own work."""
COSTS = ("peak-RSS", "CPU-per-request", "throughput", "p99")
ABOUT_A_RUNNING_COLLECTOR = {"freeze"}
SAID = {"changed": "", "no change seen": "no change", "inconclusive": "inconclusive"}
METRIC = {metric.name.replace(" ", "-"): metric for metric in METRICS}


@cache
def relief(stack: str) -> Relief:
    """Return what is stored about a stack."""
    framework, release, python = STACKS[stack]
    (path,) = (RESULTS / "remedies" / framework / release).glob(f"py{python}-*.json")
    return reworded(decode(path, ReliefDocument).relief, remedies.load(Project.find(HERE), framework))


def rows(stack: str, remedy: str) -> tuple[RemedyRow, RemedyRow]:
    """Return the rows of the plain release and of a remedy."""
    by_name = {row.remedy: row for row in relief(stack).rows}
    return by_name[None], by_name[remedy]


def table(stack: str) -> str:
    """Return the table of all remedies."""
    return report.render(relief(stack))


def release(framework: str, version: str, python: str, scenario: str) -> str:
    """Return what a plain release leaves of a scenario with gc off, over connections that close."""
    found = plain(framework, version, python)[scenario]
    leaked = found.leaked_per_request or 0
    whole = number(found.survivors_per_request or 0)
    return f"{whole}, {number(leaked)} of them for good" if leaked else whole


@cache
def plain(framework: str, version: str, python: str) -> dict[str, Measurement]:
    """Return what is stored of a plain release with gc off, over connections that close, by scenario."""
    project = Project.find(HERE).publishing()
    lock = locks.read_era_lock(project, Catalogue.load(project, framework).find(version), python)
    assert lock
    folder = RESULTS / "measurements" / framework / version
    document: Document = read(folder / f"py{python}-{lock.digest}.json")
    return {
        one.scenario: one
        for one in document.measurements
        if (one.connection, one.gc) == ("close", "off") and one.worker in {"sync", "asyncio"}
    }


def mean(stack: str, remedy: str) -> str:
    """Return what a request of the traffic leaves on average, without and with a remedy."""
    plain, treated = rows(stack, remedy)
    assert plain.left
    assert treated.left
    return step(number(plain.left.mean), number(treated.left.mean))


def left(stack: str, remedy: str, scenario: str) -> str:
    """Return what a scenario leaves, without and with a remedy."""
    plain, treated = rows(stack, remedy)
    assert plain.left
    assert treated.left
    return step(number(plain.left.scenarios[scenario]), number(treated.left.scenarios[scenario]))


def verdict(stack: str, remedy: str) -> str:
    """Return whether what failing requests leave beyond a plain 200 is gone, less, or as much as before."""
    without, treated = rows(stack, remedy)
    if treated.unsupported:
        return "cannot be done"
    assert without.left
    assert treated.left
    objects = without.left.scenarios
    return judged(objects, treated.left.scenarios, objects[BASELINE])


def upgraded(framework: str, before: str, after: str, python: str) -> str:
    """Return the same of an upgrade; that leaks for good are gone, or less, is a part of it."""
    old, new = plain(framework, before, python), plain(framework, after, python)
    names = [name for name in old if name in new]
    objects, others = ({name: side[name].survivors_per_request or 0 for name in names} for side in (old, new))
    leaks, rest = ({name: side[name].leaked_per_request or 0 for name in names} for side in (old, new))
    whole = judged(objects, others, others[BASELINE])
    if whole == NOT_CONFIRMED and any(leaks.values()) and judged(leaks, rest, 0) != NOT_CONFIRMED:
        return PARTLY
    return whole


def judged(before: Mapping[str, float], after: Mapping[str, float], ok: float) -> str:
    """Return what becomes of what scenarios leave above a plain 200; `ok` is what that leaves afterwards."""
    above = {name: count - before[BASELINE] for name, count in before.items() if count > before[BASELINE]}
    rest = {name: after[name] - ok for name in above}
    if all(count <= 0 for count in rest.values()):
        return CONFIRMED
    return PARTLY if any(rest[name] <= PART * above[name] for name in above) else NOT_CONFIRMED


def practice(stack: str, name: str) -> str:
    """Return whether a practice keeps more: for good, up to a bound, as garbage, or not at all."""
    without, treated = rows(stack, name)
    assert without.left
    assert treated.left
    if treated.left.leaked > without.left.leaked:
        return CONFIRMED
    if treated.left.kept >= ERRORS * max(without.left.scenarios.values()):
        return f"{CONFIRMED}, bounded"
    return f"{PARTLY}, as garbage" if treated.left.mean > without.left.mean else NOT_CONFIRMED


def growth(stack: str) -> str:
    """Return the table of what remedies do to growth with gc off and, where it is known, what they cost."""
    without, *treated = (one for one in relief(stack).rows if one.kind == "remedy" and not one.unsupported)
    header = ("remedy", "growth", "left per request", *(name.replace("-", " ") for name in COSTS))
    body = []
    for row in treated:
        if row.remedy not in ABOUT_A_RUNNING_COLLECTOR:
            objects = number(row.left.mean) if row.left else "same"
            decided = {one.metric: one for one in row.off.decided} if row.off else {}
            costs = (report.change(decided[METRIC[name]]) if decided else "" for name in COSTS)
            body.append((row.remedy or "", _growth(without, row), objects, *costs))
    return "\n".join(markdown_table(header, body, right=len(header) - 2))


def _growth(without: RemedyRow, row: RemedyRow) -> str:
    """Return what a remedy does to growth: ends it, lessens it, bounds it."""
    assert without.left
    if row.left:
        if not row.left.mean:
            return "ends it"
        less = 1 - row.left.mean / without.left.mean
        return f"{100 * less:.0f} % less" if less > 0 else "not less"
    if row.off is None:
        return UNKNOWN
    (peak,) = (one for one in row.off.decided if one.metric == METRIC["peak-RSS"])
    return "bounds it" if peak.direction == "better" else "not seen to bound it"


def recommended(stack: str) -> str:
    """Return which remedy to take, and why."""
    advice = relief(stack).advice
    return f"{f'`{advice.remedy}`' if advice.remedy else 'none'}: {'; '.join(advice.reasons)}"


def rounds(stack: str) -> str:
    """Return how many rounds of how many requests the load tests were, at least."""
    trials = [one for row in relief(stack).rows for one in (row.off, row.on) if one]
    if not trials:
        return UNKNOWN
    requests = min(one.traffic.requests or 0 for one in trials)
    return f"{min(one.rounds for one in trials)} rounds of {requests:,} requests"


def costs(stack: str, remedy: str, policy: report.Policy) -> str:
    """Return memory and time under load with a remedy."""
    if report.trial(rows(stack, remedy)[1], policy) is None:
        return UNKNOWN
    memory = load(stack, remedy, policy, "peak-RSS")
    changes = (f"{name.replace('-', ' ')} {change(stack, remedy, policy, name)}" for name in COSTS[1:])
    return f"peak memory {memory}, {', '.join(changes)}"


def load(stack: str, remedy: str, policy: report.Policy, metric: str) -> str:
    """Return the means of a metric under load, without and with a remedy."""
    found, tried = METRIC[metric], report.trial(rows(stack, remedy)[1], policy)
    if tried is None:
        return UNKNOWN
    return step(*(value(found, means[found.name]) for means in (tried.plain, tried.means)))


def change(stack: str, remedy: str, policy: report.Policy, metric: str) -> str:
    """Return the interval of a metric's change, and what is said of it."""
    tried = report.trial(rows(stack, remedy)[1], policy)
    if tried is None:
        return UNKNOWN
    (found,) = (one for one in tried.decided if one.metric == METRIC[metric])
    if found.change is None:
        return f"not known ({found.reason})"
    return f"{bounds(found.metric, found.change)} ({SAID[found.decision] or found.direction})"


def bounded(stack: str, remedy: str, policy: report.Policy, metric: str) -> str:
    """Return whether a remedy makes a metric better under load."""
    tried = report.trial(rows(stack, remedy)[1], policy)
    if tried is None:
        return UNKNOWN
    (found,) = (one for one in tried.decided if one.metric == METRIC[metric])
    if found.decision == "inconclusive":
        return SAID[found.decision]
    return CONFIRMED if found.direction == "better" else NOT_CONFIRMED


def kept(stack: str, remedy: str) -> str:
    """Return how many objects stay for good with a remedy, though they do not grow with requests."""
    treated = rows(stack, remedy)[1].left
    assert treated
    return f"{treated.kept:,}"


def leaked(stack: str, remedy: str) -> str:
    """Return what a request of the traffic leaves for good on average, without and with a remedy."""
    plain, treated = rows(stack, remedy)
    assert plain.left
    assert treated.left
    return step(number(plain.left.leaked), number(treated.left.leaked))
