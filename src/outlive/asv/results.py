"""Writes results in asv's format: one file per release, with the names and values of `asv run`.

Each benchmark names its field of a measurement (`reading`) and its framework.
"""

from __future__ import annotations

import ast
import copy
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import asv_runner  # type: ignore[import-untyped]
import msgspec
from asv import environment, util  # type: ignore[import-untyped]
from asv.benchmarks import Benchmarks  # type: ignore[import-untyped]
from asv.config import Config  # type: ignore[import-untyped]
from asv.machine import Machine, MachineCollection  # type: ignore[import-untyped]
from asv.repo import get_repo  # type: ignore[import-untyped]
from asv.results import Results  # type: ignore[import-untyped]
from asv.runner import BENCHMARK_RUN_SCRIPT, BenchmarkResult  # type: ignore[import-untyped]

from outlive import processes, temporary
from outlive.asv import plugin
from outlive.errors import FaultError
from outlive.files import write_bytes
from outlive.project import Project
from outlive.records.measurement import Cell, Measurement
from outlive.records.release import Release
from outlive.releases.lineage import tag
from outlive.wording import one_line

Value = float | None
"""asv's value for a cell: nan is not applicable or not measured, None is failed."""
NOISY = "peak_rss_bytes"
"""The reading that is this machine's own: asv would compare another machine's with it."""


class AsvResults:
    """asv's results for releases on one Python on this machine; only one process may write them at a time."""

    def __init__(self, project: Project, python: str) -> None:
        """Raise FaultError if asv cannot read the suite."""
        plugin.setup()
        conf = Config.load(str(project.root / "asv.conf.json"))
        for name in ("repo", "benchmark_dir", "results_dir", "env_dir"):  # to asv relative to its own folder
            setattr(conf, name, str(project.root / getattr(conf, name)))
        self._conf = conf
        self._repo = get_repo(conf)
        (self._environment,) = environment.get_environments(conf, [f"outlive:{python}"])
        self._machine = _machine()
        self._save(self._machine.save)
        listed = discovered(Path(conf.benchmark_dir))
        self._save(lambda folder: Benchmarks(_writing_to(folder, conf), listed).save())
        suite = Benchmarks(conf, listed)
        self._names = set(suite)
        self._benchmarks = [benchmark for benchmark in suite.values() if "reading" in benchmark]

    def write(self, release: Release, measurements: Iterable[Measurement]) -> None:
        """Update asv's file of `release` to these `measurements`; an up-to-date file is not written.

        Results of benchmarks that are no longer in the suite are removed.
        """
        cells = {Cell.of(m): m for m in measurements}
        commit = self._repo.get_hash_from_name(tag(release))
        env = self._environment
        params = {**vars(self._machine), "python": env.python, **env.requirements}
        date = self._repo.get_date(commit)
        kept = Results(params, env.requirements, commit, date, env.python, env.name, env.env_vars)
        try:
            kept.load_data(self._conf.results_dir)
        except util.UserError as error:
            raise FaultError(f"{one_line(str(error))}: restore it, or remove it to write it anew") from None
        gone = set(kept.get_all_result_keys()) - self._names
        for name in gone:
            kept.remove_result(name)
        changed = bool(gone)
        for benchmark in self._benchmarks:
            if benchmark["framework"] != release.framework:
                continue
            new = values(benchmark, cells)
            if not _has(kept, benchmark, new):
                nothing = [None] * len(new)
                kept.add_result(benchmark, BenchmarkResult(new, nothing, nothing, 0, "", None))
                changed = True
        if changed:
            self._save(kept.save)

    def _save(self, save: Callable[[str], object]) -> None:
        """Have asv save into a folder, and write each file to its results as a whole: asv itself does not."""
        with temporary.folder() as folder:
            save(str(folder))
            for path in folder.rglob("*.json"):
                write_bytes(Path(self._conf.results_dir, path.relative_to(folder)), path.read_bytes())


def _writing_to(folder: str, conf: Config) -> Config:
    other = copy.copy(conf)
    other.results_dir = folder
    return other


def values(benchmark: Mapping[str, Any], cells: Mapping[Cell, Measurement]) -> list[Value]:
    """Return the values of a benchmark, as listed by asv, for its gc policy or for each of its policies."""
    policies = [ast.literal_eval(text) for axis in benchmark["params"] for text in axis] or [benchmark["gc"]]
    named = (Cell(benchmark["scenario"], benchmark["connection"], policy) for policy in policies)
    return [_value(cells.get(cell), benchmark["reading"]) for cell in named]


def _value(measurement: Measurement | None, reading: str) -> Value:
    if measurement is not None and measurement.status == "failed":
        return None
    if measurement is not None and measurement.origin and reading == NOISY:
        return math.nan
    value: Value = getattr(measurement, reading, None)
    return math.nan if value is None else value


def _has(kept: Results, benchmark: Mapping[str, Any], found: list[Value]) -> bool:
    name = benchmark["name"]
    if name not in kept.get_all_result_keys() or kept.benchmark_version.get(name) != benchmark["version"]:
        return False
    return repr(kept.get_result_value(name, benchmark["params"])) == repr(found)  # nan equals nan here


def _machine() -> Machine:
    """Return asv's record of this machine, made with its defaults if there is none."""
    name = Machine.get_unique_machine_name()
    try:
        MachineCollection.load(name)
    except util.UserError:
        MachineCollection.save(name, Machine.get_defaults() | {"machine": name})
    return Machine.load()


def discovered(suite: Path) -> list[dict[str, Any]]:
    """Return the benchmarks that asv's own discovery lists; it needs no release."""
    with temporary.folder() as folder:
        listed = folder / "benchmarks.json"
        path = str(Path(asv_runner.__file__).parents[1])
        argv = [sys.executable, BENCHMARK_RUN_SCRIPT, "discover", suite, listed]
        done = processes.run(argv, cwd=folder, env={"PYTHONPATH": path})
        if done.returncode:
            raise FaultError(f"asv cannot read the benchmarks in {suite}: {processes.complaint(done)}")
        return msgspec.json.decode(listed.read_bytes(), type=list[dict[str, Any]])
