"""What a report takes from stored load tests and comparisons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

import load_comparisons
from comparisons import side
from outlive.comparison.noisy import load as loadcomparison
from outlive.comparison.noisy.load import LoadComparison
from outlive.errors import FaultError
from outlive.loads import stored
from outlive.loads.store import LoadStore
from outlive.project import Project
from outlive.records.load import Deployment, Sample, Segment
from outlive.records.measurement import PythonRecord, StackRecord

NAME = "3.1.2-to-3.1.3-py3.11"
BEFORE, AFTER = side("flask", "3.1.2"), side("flask", "3.1.3")


def comparison(gc: str) -> LoadComparison:
    return loadcomparison.compare(BEFORE, AFTER, load_comparisons.runs(4, gc=gc))


def keep(project: Project, stack: StackRecord, gc: str, started: str, **fields: Any) -> Path:
    """Store a load test of the stack that started then, and return its file."""
    test = load_comparisons.measured(
        gc=gc, release=stack.release, segments=(Segment(started=started, seconds=1, requests=1),), **fields
    )
    return LoadStore(project, stack).keep(test)


def test_both_gc_policies_are_found_what_most_run_first(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for gc in ("off", "on", "periodic:100"):
        stored.keep(project, comparison(gc), NAME)
        for one in (BEFORE, AFTER):
            keep(project, one.stack, gc, "2026-01-01T00:00:00")
    loads = stored.gather(project, BEFORE.stack, AFTER.stack, NAME)
    assert [one.deployment.gc for one in loads.comparisons] == ["on", "off", "periodic:100"]
    assert [one.deployment.gc for one in loads.before] == ["on", "off", "periodic:100"]
    assert [one.release for one in loads.after] == ["3.1.3"] * 3


def test_the_newest_whole_test_of_a_kind_counts_and_only_where_both_sides_have_it(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for one in (BEFORE, AFTER):
        keep(project, one.stack, "off", "2026-01-01T00:00:00", throughput=100.0)
        keep(project, one.stack, "off", "2026-01-02T00:00:00", throughput=200.0)
        keep(project, one.stack, "off", "2026-01-03T00:00:00", throughput=300.0, status="failed", reason="x")
    keep(project, BEFORE.stack, "on", "2026-01-01T00:00:00")
    loads = stored.gather(project, BEFORE.stack, AFTER.stack, NAME)
    assert [one.throughput for one in (*loads.before, *loads.after)] == [200.0, 200.0]
    assert loads.before[0].deployment == Deployment(worker="gthread", gc="off")
    assert loads.comparisons == ()


def test_a_comparison_of_other_packages_is_not_of_this_pair(tmp_path: Path) -> None:
    project = Project(tmp_path)
    stored.keep(project, comparison("off"), NAME)
    other = msgspec.structs.replace(AFTER.stack, lock="f" * 12)
    assert not stored.gather(project, BEFORE.stack, other, NAME)


def test_a_comparison_is_found_whichever_interpreters_it_names(tmp_path: Path) -> None:
    project = Project(tmp_path)
    path = stored.keep(project, comparison("off"), NAME)
    python = PythonRecord(version="3.11.9", build="main", compiler="GCC")
    for stacks in ((BEFORE.stack, AFTER.stack), (BEFORE.stack, named(AFTER.stack, python))):
        assert len(stored.gather(project, *stacks, NAME).comparisons) == 1
    document = json.loads(path.read_text())
    document["comparison"]["after"]["stack"]["interpreters"] = [msgspec.to_builtins(python)]
    path.write_text(json.dumps(document))
    assert len(stored.gather(project, BEFORE.stack, AFTER.stack, NAME).comparisons) == 1


def named(stack: StackRecord, python: PythonRecord) -> StackRecord:
    return msgspec.structs.replace(stack, interpreters=(python,))


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    project = Project(tmp_path)
    path = stored.keep(project, comparison("off"), NAME)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(FaultError, match="is not a results file: ") as caught:
        stored.gather(project, BEFORE.stack, AFTER.stack, NAME)
    assert "\n" not in str(caught.value)


def test_numbers_that_nobody_measured_are_refused(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for one in (BEFORE, AFTER):
        keep(project, one.stack, "off", "2026-01-01T00:00:00", throughput=1e300)
    with pytest.raises(FaultError, match=r"^load tests of 3\.1\.2-to-3\.1\.3-py3\.11: throughput is 1e\+300"):
        stored.gather(project, BEFORE.stack, AFTER.stack, NAME)


def test_a_long_test_keeps_no_more_samples_than_a_plot_shows() -> None:
    samples = [
        Sample(segment=0, seconds=at, requests=at, rss=at, pss=at, cpu=0, workers=()) for at in range(1000)
    ]
    thin = stored.thinned(samples)
    assert len(thin) <= stored.MOST_SAMPLES
    assert thin[-1] == samples[-1]
    assert stored.thinned(samples[:3]) == tuple(samples[:3])
    assert stored.thinned([]) == ()
