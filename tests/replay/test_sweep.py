from __future__ import annotations

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from asv.results import Results  # type: ignore[import-untyped]
from click.testing import CliRunner

from outlive.asv import repository
from outlive.asv import results as asv_results
from outlive.commands.many_releases.sweep import sweep_command
from outlive.errors import FaultError, OutliveError, UsageError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.records.release import Release
from outlive.records.stack import Package, Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay import engine, place, sweep
from outlive.replay.engine import Progress
from outlive.replay.store import Store
from outlive.replay.subject import Task
from outlive.service import scenarios
from outlive.service.scenarios import Scenario
from outlive.stacks import environments, locks, pythons
from outlive.stacks.environments import Environment
from outlive.stacks.eras import Unavailable
from outlive.stacks.locks import Lock
from outlive.stacks.prepare import prepare
from outlive.stacks.pythons import Interpreter

CHECKOUT = Path(__file__).parents[2]
HERE = pythons.installed()[-1]
VERSIONS = ("3.0.0", "3.0.1", "3.1.0")


def release(version: str, **changes: Any) -> Release:
    uploaded = dt.datetime(2024, 1, 1 + VERSIONS.index(version), tzinfo=dt.UTC)
    facts: dict[str, Any] = {"wheels": ("py3",), "requires_python": None, **changes}
    return Release("flask", version, uploaded, yanked=False, yanked_reason=None, sdist=False, **facts)


@dataclass
class Lab:
    """A checkout with three releases; every cell gives 2 survivors without a server."""

    project: Project
    measured: list[tuple[str, str]] = field(default_factory=list)
    kept: list[tuple[str, int]] = field(default_factory=list)
    announced: int = 0
    broken: dict[str, str] = field(default_factory=dict)  # release: why it has no environment
    failing: str | None = None  # a scenario
    interrupted_after: int | None = None

    def ensure(self, lock: Lock, interpreter: Interpreter) -> Environment:
        if reason := self.broken.get(lock.release):
            raise FaultError(reason)
        return Environment(Path("environment"), Path("python"), lock)

    def measure(
        self, tasks: Sequence[Task], known: Iterable[Scenario], jobs: int, done: Callable[[Measurement], None]
    ) -> list[Measurement]:
        for task in tasks:
            for cell in task.cells:
                if len(self.measured) == self.interrupted_after:
                    raise KeyboardInterrupt
                worker = task.subject.app.worker(cell.connection)
                self.measured.append((task.subject.environment.lock.release, cell.scenario))
                fields: dict[str, Any] = {"status": "measured", "survivors_per_request": 2.0}
                if cell.scenario == self.failing:
                    fields = {"status": "failed", "reason": "the worker died"}
                done(task.subject.describe(cell, worker, **fields))
        return []

    def sweep(
        self, *versions: str, patterns: Sequence[str] = ("ok", "not-found"), **changes: Any
    ) -> sweep.Outcome:
        selected = scenarios.select(scenarios.load(self.project.scenarios), patterns)
        cells = engine.cells(selected, ["close"], ["off"])

        def start(cells: int) -> None:
            self.announced = cells

        def keep(release: Release, measurements: Sequence[Measurement]) -> None:
            self.kept.append((release.version, len(measurements)))

        found = sweep.releases(self.project, ["flask"], None)
        return sweep.sweep(
            self.project,
            [one for one in found if not versions or one.version in versions],
            HERE.minor,
            engine.CellRequest(selected, cells, **changes),
            Progress(start, lambda _: None),
            keep=keep,
        )

    def stored(self, version: str) -> set[str]:
        prepared = prepare(self.project, Stack("flask", version, HERE.minor))
        return {m.scenario for m in Store(self.project, prepared.record).load()}

    def unavailable(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = json.loads((self.project.measured / "unavailable.json").read_text())
        return found


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    root = tmp_path / "checkout"
    for folder in ("apps/flask", "loadtests", "benchmarks"):
        shutil.copytree(
            CHECKOUT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "by_hand")
        )
    (root / "releases").mkdir()
    (root / "releases/gunicorn.toml").write_text(f'[versions]\n"{HERE.minor}" = "27.0.1"\n')
    text = (CHECKOUT / "asv.conf.json").read_text().replace('["3.11"]', f'["{HERE.minor}"]')
    (root / "asv.conf.json").write_text(re.sub(r'"branches": .*', '"branches": ["flask"],', text))
    project = Project(root)
    releases = tuple(release(version) for version in VERSIONS)
    Catalogue.of("flask", releases).save(project)
    for one in releases:
        text = f"flask=={one.version} \\\n    --hash=sha256:{'0' * 64}\ngunicorn==27.0.1\n"
        packages = (Package("flask", one.version), Package("gunicorn", "27.0.1"))
        locks.write_era_lock(project, Lock("flask", one.version, HERE.minor, packages, text, None), one)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYENV_ROOT", os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")))
    monkeypatch.delenv("OUTLIVE_ROOT", raising=False)
    monkeypatch.chdir(root)
    (tmp_path / "home").mkdir()
    lab = Lab(project)
    monkeypatch.setattr(environments, "ensure", lab.ensure)
    monkeypatch.setattr(place, "measure", lab.measure)
    return lab


class TestReleases:
    def test_they_are_in_the_order_of_versions(self, lab: Lab) -> None:
        assert [one.version for one in sweep.releases(lab.project, [], None)] == list(VERSIONS)

    def test_from_a_version_on(self, lab: Lab) -> None:
        assert [one.version for one in sweep.releases(lab.project, ["flask"], "3.0.1")] == ["3.0.1", "3.1.0"]

    @pytest.mark.parametrize(
        ("since", "said"),
        [
            ("new", "--since takes a version, as in --since 3.11.0, not 'new'"),
            ("4", "there is no release of flask from 4 on"),
        ],
    )
    def test_nothing_is_a_usage_error(self, lab: Lab, since: str, said: str) -> None:
        with pytest.raises(UsageError) as caught:
            sweep.releases(lab.project, ["flask"], since)
        assert str(caught.value) == said


class TestSweep:
    def test_all_cells_are_measured_stored_and_kept(self, lab: Lab) -> None:
        assert lab.sweep() == sweep.Outcome(6, 0, ())
        assert lab.announced == len(lab.measured) == 6
        assert sorted(lab.kept) == [(version, 2) for version in VERSIONS]
        assert all(lab.stored(version) == {"ok", "not-found"} for version in VERSIONS)
        assert lab.unavailable() == []

    @pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.write_text("x"), Path.mkdir])
    def test_a_bad_list_of_what_is_unavailable_is_noticed_first(
        self, lab: Lab, make: Callable[[Path], object]
    ) -> None:
        path = sweep.unavailable_path(lab.project)
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        with pytest.raises(FaultError, match=r"unavailable\.json (cannot be read|is not a list)"):
            lab.sweep()
        assert lab.measured == []

    def test_what_is_stored_is_not_measured_but_kept(self, lab: Lab) -> None:
        lab.sweep("3.0.1")
        lab.measured.clear()
        lab.kept.clear()
        assert lab.sweep() == sweep.Outcome(4, 0, ())
        assert {version for version, _ in lab.measured} == {"3.0.0", "3.1.0"}
        assert sorted(lab.kept) == [(version, 2) for version in VERSIONS]

    def test_fresh_measures_again(self, lab: Lab) -> None:
        lab.sweep("3.0.1")
        assert lab.sweep("3.0.1", fresh=True).cells == 2

    def test_what_was_measured_before_an_interruption_is_stored(self, lab: Lab) -> None:
        lab.interrupted_after = 3
        with pytest.raises(KeyboardInterrupt):
            lab.sweep()
        lab.interrupted_after = None
        assert lab.sweep() == sweep.Outcome(3, 0, ())
        assert sorted(lab.measured) == sorted((v, s) for v in VERSIONS for s in ("ok", "not-found"))

    def test_a_release_without_an_environment_is_recorded_and_the_others_go_on(self, lab: Lab) -> None:
        lab.broken["3.0.1"] = "the disk is full"
        outcome = lab.sweep()
        lacking = Unavailable("flask", "3.0.1", HERE.minor, "the disk is full")
        assert outcome == sweep.Outcome(6, 2, (lacking,))
        assert [version for version, _ in lab.kept] == ["3.0.0", "3.1.0"]
        assert lab.unavailable() == [
            {"framework": "flask", "release": "3.0.1", "python": HERE.minor, "reason": "the disk is full"}
        ]

    def test_a_release_that_works_again_is_no_longer_recorded(self, lab: Lab) -> None:
        lab.broken.update(dict.fromkeys(("3.0.0", "3.0.1"), "the disk is full"))
        lab.sweep()
        lab.broken.clear()
        lab.sweep("3.0.1")
        assert [each["release"] for each in lab.unavailable()] == ["3.0.0"]

    def test_a_release_for_other_pythons_is_recorded_and_is_no_failure(self, lab: Lab) -> None:
        Catalogue.of("flask", (release("3.0.0", wheels=("cp34",)), release("3.0.1"))).save(lab.project)
        outcome = lab.sweep()
        assert outcome.failed == 0
        assert [each["reason"] for each in lab.unavailable()] == [
            f"flask 3.0.0 has no wheel for Python {HERE.minor}; it has wheels for 3.4"
        ]

    def test_cells_that_fail_are_named_and_measured_again(self, lab: Lab) -> None:
        lab.failing = "not-found"
        outcome = lab.sweep("3.1.0")
        assert (outcome.cells, outcome.failed) == (2, 1)
        assert [each.reason for each in outcome.unavailable] == ["not-found close gc off: the worker died"]
        assert lab.kept == [("3.1.0", 2)]
        assert lab.stored("3.1.0") == {"ok"}
        lab.failing = None
        assert lab.sweep("3.1.0") == sweep.Outcome(1, 0, ())

    def test_more_than_three_cells_are_counted(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(
            tasks: Sequence[Task], known: object, jobs: int, done: Callable[[Measurement], None]
        ) -> list[Measurement]:
            for task in tasks:
                for cell in task.cells:
                    done(task.subject.describe(cell, None, status="failed", reason="it did not start"))
            return []

        monkeypatch.setattr(place, "measure", fail)
        (lacking,) = lab.sweep("3.1.0", patterns=["*-error"]).unavailable
        assert lacking.reason == "7 cells: it did not start"

    def test_a_fault_of_the_harness_ends_it(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object) -> None:
            raise FaultError("nothing can be stored")

        monkeypatch.setattr(Store, "add", fail)
        with pytest.raises(OutliveError, match=r"^nothing can be stored$"):
            lab.sweep()


class TestAsvResults:
    def write(self, lab: Lab, *measured: Measurement) -> Path:
        results = asv_results.AsvResults(lab.project, HERE.minor)
        results.write(release("3.1.0"), measured)
        (found,) = (lab.project.published / "asv").glob(f"*/*-outlive-py{HERE.minor}.json")
        return found

    def measurement(self, lab: Lab, **fields: Any) -> Measurement:
        lab.sweep("3.1.0", patterns=["ok"])
        prepared = prepare(lab.project, Stack("flask", "3.1.0", HERE.minor))
        (found,) = Store(lab.project, prepared.record).load()
        return Measurement(**{name: getattr(found, name) for name in found.__struct_fields__} | fields)

    def test_asv_reads_them(self, lab: Lab) -> None:
        path = self.write(lab, self.measurement(lab))
        command = ["git", "-C", str(repository.path(lab.project)), "rev-parse", "flask-3.1.0"]
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        assert path.name == f"{commit[:8]}-outlive-py{HERE.minor}.json"
        results = Results.load(str(path), machine_name=path.parent.name)
        assert (results.commit_hash, results.params["python"]) == (commit, HERE.minor)
        assert results.get_result_value("objects.FlaskSurvivors.track_ok_close", []) == [2.0]
        assert repr(results.get_result_value("objects.FlaskSurvivors.track_not_found_close", [])) == "[nan]"
        assert results.benchmark_version["objects.FlaskSurvivors.track_ok_close"] == "app 1, counting 1"
        assert not any("Aiohttp" in name for name in results.get_all_result_keys())
        assert (lab.project.published / "asv/benchmarks.json").is_file()
        assert (path.parent / "machine.json").is_file()

    def test_a_file_that_says_so_already_is_untouched(self, lab: Lab) -> None:
        measured = self.measurement(lab)
        before = self.write(lab, measured).stat()
        after = self.write(lab, measured).stat()
        assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)

    def test_another_value_replaces_the_one_before(self, lab: Lab) -> None:
        self.write(lab, self.measurement(lab))
        path = self.write(lab, self.measurement(lab, survivors_per_request=3.0))
        results = Results.load(str(path))
        assert results.get_result_value("objects.FlaskSurvivors.track_ok_close", []) == [3.0]

    def test_what_the_suite_no_longer_has_goes(self, lab: Lab) -> None:
        path = self.write(lab, self.measurement(lab))
        held = json.loads(path.read_text())
        held["results"]["objects.Flask.track_survivors"] = held["results"][
            "objects.FlaskSurvivors.track_ok_close"
        ]
        path.write_text(json.dumps(held))
        self.write(lab, self.measurement(lab))
        assert "objects.Flask.track_survivors" not in Results.load(str(path)).get_all_result_keys()

    def test_a_file_is_written_whole_or_not_at_all(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(path: Path, content: bytes) -> None:
            raise FaultError("the disk is full")

        path = self.write(lab, self.measurement(lab))
        before = {each: each.read_bytes() for each in path.parents[1].rglob("*") if each.is_file()}
        monkeypatch.setattr(asv_results, "write_bytes", full)
        with pytest.raises(FaultError, match="the disk is full"):
            self.write(lab, self.measurement(lab, survivors_per_request=9.0))
        assert {each: each.read_bytes() for each in path.parents[1].rglob("*") if each.is_file()} == before

    def test_a_file_that_is_cut_is_a_clear_fault(self, lab: Lab) -> None:
        path = self.write(lab, self.measurement(lab))
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(FaultError, match=rf"{path}.*: restore it, or remove it to write it anew$"):
            self.write(lab, self.measurement(lab))

    def test_a_suite_that_cannot_be_read_is_a_clear_fault(self, lab: Lab) -> None:
        (lab.project.root / "benchmarks/objects.py").write_text("import nothing_such")
        with pytest.raises(FaultError) as caught:
            asv_results.AsvResults(lab.project, HERE.minor)
        assert str(caught.value) == (
            f"asv cannot read the benchmarks in {lab.project.root}/benchmarks: "
            "ModuleNotFoundError: No module named 'nothing_such'"
        )


class TestCommand:
    def run(self, *arguments: str) -> Any:
        options = ["--scenario", "ok", "--gc", "off", "--python", HERE.minor]
        return CliRunner().invoke(sweep_command, [*arguments, *options], standalone_mode=False)

    def test_what_a_user_sees(self, lab: Lab) -> None:
        done = self.run("flask", "--since", "3.0.1")
        assert done.return_value == 0
        assert done.stdout == f"2 releases on Python {HERE.minor}: 6 cells measured, 0 of them failed\n"
        assert len(list((lab.project.published / "asv").glob("*/*-outlive-*.json"))) == 2

    def test_what_failed_is_said_and_is_a_fault(self, lab: Lab) -> None:
        lab.broken["3.1.0"] = "the disk is full"
        done = self.run()
        assert done.return_value == 4
        assert done.stdout == (
            "not measured: flask 3.1.0: the disk is full\n"
            f"3 releases on Python {HERE.minor}: 9 cells measured, 3 of them failed\n"
        )


@pytest.mark.real
def test_a_sweep_and_asv_run_give_the_same_results(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    for folder in ("apps", "loadtests", "benchmarks", "releases"):
        shutil.copytree(
            CHECKOUT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__", "by_hand")
        )
    shutil.copyfile(CHECKOUT / "asv.conf.json", root / "asv.conf.json")
    kept = scenarios.load(root / "loadtests/scenarios.toml")[:2]
    keep_scenarios(root, [scenario.name for scenario in kept])
    home = tmp_path / "home"
    home.mkdir()
    environ = {name: value for name, value in os.environ.items() if name != "OUTLIVE_ROOT"}
    environ |= {"HOME": str(home), "XDG_CACHE_HOME": str(Path.home() / ".cache")}
    environ |= {"PYENV_ROOT": os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))}

    def call(*arguments: str) -> str:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call("outlive", "sweep", "flask", "--since", "3.1.3")
    (path,) = (root / "results/asv").glob("*/*-outlive-py3.11.json")
    swept = json.loads(path.read_text())
    said = call("asv", "run", "flask-3.1.2..flask-3.1.3", "--bench", "Flask")
    assert "in_process.Flask.peakmem_requests" in said
    ran = json.loads(path.read_text())
    assert {key: swept[key] for key in swept if key not in {"results", "durations"}} == {
        key: ran[key] for key in ran if key not in {"results", "durations"}
    }
    names = [name for name in ran["results"] if ".track_" in name]
    assert len(names) == 5 * 2 * 3 + 2 * 2  # readings, scenarios, connections; of a connection
    for name in names:  # values, parameters, version
        assert repr(ran["results"][name][:3]) == repr(swept["results"][name][:3])
    peaks = ran["results"]["in_process.Flask.peakmem_requests"][0]
    assert all(peak > 10e6 for peak in peaks)


def keep_scenarios(root: Path, names: Sequence[str]) -> None:
    toml = root / "loadtests/scenarios.toml"
    head, *parts = toml.read_text().split("[[scenario]]")
    toml.write_text(head + "".join(f"[[scenario]]{part}" for part in parts[: len(names)]))
    harness = root / "benchmarks/_harness.py"
    before, _, rest = harness.read_text().partition("SCENARIOS = (\n")
    after = rest.partition("\n)\n")[2]
    harness.write_text(f"{before}SCENARIOS = {tuple(names)!r}\n{after}")
