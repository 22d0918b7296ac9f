"""What is stored of a pair of stacks under load: single load tests, and comparisons over rounds.

Load tests are `results/loads` (see `outlive.load.record`); a comparison of `compare --load` is kept as
`results/reports/<framework>/load/<name>-<gc>.json`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from outlive import plausible
from outlive.comparison import Compared
from outlive.errors import FaultError
from outlive.headline import withdrawn
from outlive.load.record import Deployment, LoadMeasurement, LoadStore, Sample
from outlive.load.traffic import Traffic
from outlive.loadcomparison import LoadComparison
from outlive.measurement import SCHEMA_VERSION, StackRecord
from outlive.project import Project
from outlive.releases import write_text
from outlive.store import decode

MOST_SAMPLES = 240
"""Looks at the server that a report keeps of one load test: more than a plot has pixels to show."""


class Loads(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of both sides under load; `before` and `after` have tests of the same kinds, in order."""

    comparisons: tuple[LoadComparison, ...] = ()
    before: tuple[LoadMeasurement, ...] = ()
    after: tuple[LoadMeasurement, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self.comparisons or self.before)


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    schema_version: int = SCHEMA_VERSION
    comparison: LoadComparison


def keep(project: Project, comparison: LoadComparison, name: str) -> Path:
    """Store a comparison under load for the report `name`, in place of an earlier one with its gc policy."""
    policy = re.sub(r"\W", "-", comparison.deployment.gc)
    path = _folder(project, comparison.after.stack.framework) / f"{name}-{policy}.json"
    kept = msgspec.json.format(msgspec.json.encode(_Kept(comparison=comparison)), indent=1)
    write_text(path, kept.decode() + "\n")
    return path


def gather(project: Project, before: StackRecord, after: StackRecord, name: str) -> Loads:
    """Return what is stored of two stacks under load, where both were tested alike.

    Of several tests of one kind the newest counts. Raises FaultError for a file that cannot be read, or
    cannot be right.
    """
    kinds = [_by_kind(LoadStore(project, stack).load()) for stack in (before, after)]
    shared = sorted(kinds[0].keys() & kinds[1].keys(), key=lambda kind: (kind[0].gc != "on", str(kind)))
    found = []
    for path in sorted(_folder(project, after.framework).glob(f"{name}-*.json")):
        comparison = decode(path, _Kept).comparison
        if _of(comparison, before, after):
            found.append(comparison)
    found.sort(key=lambda one: one.deployment.gc != "on")  # what most run comes first
    loads = Loads(
        comparisons=tuple(found),
        before=tuple(kinds[0][kind] for kind in shared),
        after=tuple(kinds[1][kind] for kind in shared),
    )
    for fault in faults(loads):
        raise FaultError(f"load tests of {name}: {fault}; remove them to measure again")
    return loads


def faults(loads: Loads) -> Iterator[str]:
    """Yield what no loads of ours can hold."""
    if len(loads.before) != len(loads.after):
        yield "its load tests are not in pairs"
    if any(not sum(count for _, count in latencies(test)) for test in (*loads.before, *loads.after)):
        yield "a load test has no latencies"
    yield from plausible.faults(loads)


def said(comparison: LoadComparison) -> str:
    """Return what the rounds say: the headline without what is said of the releases anyway."""
    text = comparison.headline.removeprefix(f"{comparison.subject} under load: ")
    for sentence in withdrawn((comparison.before.release, comparison.after.release)):
        text = text.replace(f". {sentence}", "")
    return text.rstrip(".")


def latencies(measurement: LoadMeasurement) -> tuple[tuple[float, int], ...]:
    """Return the histogram of all its scenarios: (upper bound in seconds, answers), lowest bound first."""
    counts: Counter[float] = Counter()
    for one in measurement.scenarios:
        counts.update(dict(one.histogram))
    return tuple(sorted(counts.items()))


def thinned(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return at most MOST_SAMPLES of them, evenly, the last one among them; without single processes."""
    every = -(-len(samples) // MOST_SAMPLES)
    kept = samples[::-1][::every][::-1] if every else ()
    return tuple(msgspec.structs.replace(sample, workers=()) for sample in kept)


def _by_kind(tests: Iterable[LoadMeasurement]) -> dict[tuple[Deployment, Traffic], LoadMeasurement]:
    """Return the newest test of each kind, oldest come first."""
    return {
        (test.deployment, test.traffic): msgspec.structs.replace(test, samples=thinned(test.samples))
        for test in tests
        if test.status == "measured"
    }


def _of(comparison: Compared, before: StackRecord, after: StackRecord) -> bool:
    return (comparison.before.stack, comparison.after.stack) == (before, after)


def _folder(project: Project, framework: str) -> Path:
    return project.results / "reports" / framework / "load"
