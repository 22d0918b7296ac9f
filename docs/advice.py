"""Writes docs/advice.md from its template and from what is stored in results/.

Run it after remedies were measured again: `python docs/advice.py`. In the template STACK is one of STACKS.

    {{ table STACK }}                            all remedies
    {{ release FRAMEWORK VERSION PYTHON SCENARIO }}  what a plain release leaves
    {{ mean STACK REMEDY }}                      objects per request of the traffic, without and with it
    {{ left STACK REMEDY SCENARIO }}             of one scenario
    {{ leaked STACK REMEDY }}                    what no collection frees of it
    {{ kept STACK REMEDY }}                      objects that stay, but do not grow with requests
    {{ verdict STACK REMEDY }}                   whether it does what it is said to
    {{ bounded STACK REMEDY off|on METRIC }}     whether it makes a metric better under load
    {{ load STACK REMEDY off|on METRIC }}        a metric under load, without and with it
    {{ change STACK REMEDY off|on METRIC }}      how it changed, an interval
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from outlive import locks
from outlive.measurement import Document
from outlive.project import Project
from outlive.quantities import bounds, value
from outlive.releases import Catalogue
from outlive.relief import Relief, ReliefDocument, Row
from outlive.report.relief import render
from outlive.store import decode, read
from outlive.trials import METRICS, Trial
from outlive.wording import number, step

HERE = Path(__file__).parent
PAGE = HERE / "advice.md"
RESULTS = HERE.parent / "results"
PLACE = re.compile(r"\{\{ (\w+) ([^}]+) \}\}")
STACKS = {
    "flask": ("flask", "3.1.3", "3.13"),
    "aiohttp": ("aiohttp", "3.14.5", "3.13"),
}
UNKNOWN = "not measured yet"
METRIC = {metric.name.replace(" ", "-"): metric for metric in METRICS}


def page() -> str:
    """Return the page as it has to be."""
    template = (HERE / "advice.md.in").read_text(encoding="utf-8")
    return PLACE.sub(lambda match: FILL[match[1]](*match[2].split()), template)


def relief(stack: str) -> Relief:
    """Return what is stored about a stack."""
    framework, release, python = STACKS[stack]
    (path,) = (RESULTS / "remedies" / framework / release).glob(f"py{python}-*.json")
    return decode(path, ReliefDocument).relief


def rows(stack: str, remedy: str) -> tuple[Row, Row]:
    """Return the rows of the plain release and of a remedy."""
    by_name = {row.remedy: row for row in relief(stack).rows}
    return by_name[None], by_name[remedy]


def table(stack: str) -> str:
    """Return the table of all remedies."""
    return render(relief(stack))


def release(framework: str, version: str, python: str, scenario: str) -> str:
    """Return what a plain release leaves of a scenario with gc off, over connections that close."""
    project = Project.find()
    lock = locks.read_era_lock(project, Catalogue.load(project, framework).find(version), python)
    assert lock
    folder = RESULTS / "measurements" / framework / version
    document: Document = read(folder / f"py{python}-{lock.digest}.json")
    (found,) = (
        one
        for one in document.measurements
        if (one.scenario, one.connection, one.gc) == (scenario, "close", "off")
        and one.worker in {"sync", "asyncio"}
    )
    leaked = found.leaked_per_request or 0
    whole = number(found.survivors_per_request or 0)
    return f"{whole}, {number(leaked)} of them for good" if leaked else whole


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
    plain, treated = rows(stack, remedy)
    assert plain.left
    assert treated.left
    ok = plain.left.scenarios["ok"]
    above = {name: count - ok for name, count in plain.left.scenarios.items() if count > ok}
    rest = {name: treated.left.scenarios[name] - ok for name in above}
    if all(count <= 0 for count in rest.values()):
        return "**confirmed**"
    return "**partly**" if any(rest[name] < above[name] / 2 for name in above) else "**not confirmed**"


def load(stack: str, remedy: str, policy: str, metric: str) -> str:
    """Return the means of a metric under load, without and with a remedy."""
    found, tried = METRIC[metric], trial(rows(stack, remedy)[1], policy)
    if tried is None:
        return UNKNOWN
    return step(*(value(found, means[found.name]) for means in (tried.plain, tried.means)))


def change(stack: str, remedy: str, policy: str, metric: str) -> str:
    """Return the interval of a metric's change, and what is said of it."""
    tried = trial(rows(stack, remedy)[1], policy)
    if tried is None:
        return UNKNOWN
    (found,) = (one for one in tried.decided if one.metric == METRIC[metric])
    assert found.change
    return f"{bounds(found.metric, found.change)} ({found.decision})"


def bounded(stack: str, remedy: str, policy: str, metric: str) -> str:
    """Return whether a remedy makes a metric better under load."""
    tried = trial(rows(stack, remedy)[1], policy)
    if tried is None:
        return UNKNOWN
    (found,) = (one for one in tried.decided if one.metric == METRIC[metric])
    if found.decision == "inconclusive":
        return "unsure"
    return "**confirmed**" if found.direction == "better" else "**not confirmed**"


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


def trial(row: Row, policy: str) -> Trial | None:
    """Return what a row gave under load with a gc policy, None where it was not put under it."""
    return row.off if policy == "off" else row.on


FILL: dict[str, Callable[..., str]] = {
    one.__name__: one for one in (table, release, mean, leaked, left, kept, verdict, bounded, load, change)
}

if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
