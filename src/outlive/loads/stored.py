"""Reads the stored load tests of a pair of stacks, and stores comparisons over rounds.

Load tests are in `loads/` of a results folder (see `outlive.loads.store`); comparisons by `compare --load`
are in `reports/<framework>/load/<name>-<gc>.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from outlive.comparison.noisy.load import LoadComparison, Loads, faults
from outlive.comparison.pair import Compared
from outlive.errors import FaultError
from outlive.files import JsonDocument, decode, write_text
from outlive.loads.store import LoadStore
from outlive.project import Project
from outlive.records.load import Deployment, LoadMeasurement, Sample, Traffic
from outlive.records.measurement import StackRecord
from outlive.records.remedy import Remedy

MOST_SAMPLES = 240
"""Most samples of one load test in a report: a plot has no pixels for more."""


class _Kept(JsonDocument, frozen=True, kw_only=True):
    comparison: LoadComparison


def keep(project: Project, comparison: LoadComparison, name: str) -> Path:
    """Store a comparison under load for the report `name`, in place of one with the same gc policy."""
    policy = re.sub(r"\W", "-", comparison.deployment.gc)
    path = _folder(project.measured, comparison.after.stack.framework) / f"{name}-{policy}.json"
    write_text(path, _Kept(comparison=comparison).to_json())
    return path


def gather(
    project: Project, before: StackRecord, after: StackRecord, name: str, remedy: Remedy | None = None
) -> Loads:
    """Return the stored load tests of two stacks that were tested alike, and their comparisons.

    The newest test of each kind counts. Raises FaultError if a file cannot be read or cannot be right.
    """
    kinds = [_by_kind(LoadStore(project, stack, remedy).load()) for stack in (before, after)]
    shared = sorted(kinds[0].keys() & kinds[1].keys(), key=lambda kind: (kind[0].gc != "on", str(kind)))
    paths = {
        path.name: path
        for results in reversed(project.results)
        for path in sorted(_folder(results, after.framework).glob(f"{name}-*.json"))
    }
    comparisons = [decode(path, _Kept).comparison for path in paths.values()]
    comparisons = [comparison for comparison in comparisons if _concerns(comparison, before, after)]
    comparisons.sort(key=lambda comparison: comparison.deployment.gc != "on")  # the usual policy first
    loads = Loads(
        comparisons=tuple(comparisons),
        before=tuple(kinds[0][kind] for kind in shared),
        after=tuple(kinds[1][kind] for kind in shared),
    )
    for fault in faults(loads):
        raise FaultError(f"load tests of {name}: {fault}; remove them to measure again")
    return loads


def thinned(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return at most MOST_SAMPLES evenly spaced samples, the last included, without single processes."""
    every = max(-(-len(samples) // MOST_SAMPLES), 1)
    return tuple(msgspec.structs.replace(sample, workers=()) for sample in samples[::-1][::every][::-1])


def _by_kind(tests: Iterable[LoadMeasurement]) -> dict[tuple[Deployment, Traffic], LoadMeasurement]:
    """Return the newest test of each kind; `tests` are oldest first."""
    return {
        (test.deployment, test.traffic): msgspec.structs.replace(test, samples=thinned(test.samples))
        for test in tests
        if test.status == "measured"
    }


def _concerns(comparison: Compared, before: StackRecord, after: StackRecord) -> bool:
    """Return whether a comparison is of these two stacks, whichever interpreters they name."""
    stacks = (comparison.before.stack, comparison.after.stack, before, after)
    compared = [msgspec.structs.replace(stack, interpreters=()) for stack in stacks]
    return compared[:2] == compared[2:]


def _folder(results: Path, framework: str) -> Path:
    return results / "reports" / framework / "load"
