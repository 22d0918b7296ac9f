from __future__ import annotations

import ast
import importlib
import math
import operator
import re
from pathlib import Path
from typing import Any

import pytest
from asv.config import Config  # type: ignore[import-untyped]

from outlive.asv import results
from outlive.project import Project
from outlive.records.measurement import USUAL_CONNECTIONS, Cell, Measurement
from outlive.service import app, scenarios
from outlive.worker import probe

CHECKOUT = Path(__file__).parents[2]
PROJECT = Project(CHECKOUT)
SUITE = CHECKOUT / "benchmarks"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Any:
    return load("_harness", monkeypatch)


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(CHECKOUT)
    return importlib.import_module(f"benchmarks.{name}")


@pytest.fixture(scope="module")
def listed() -> dict[str, dict[str, Any]]:
    return {benchmark["name"]: benchmark for benchmark in results.discovered(SUITE)}


def measurement(**fields: Any) -> Measurement:
    common: dict[str, Any] = {
        "framework": "flask",
        "release": "3.1.3",
        "python": "3.11",
        "app_version": 1,
        "scenario": "ok",
        "connection": "close",
        "gc": "off",
        "worker": "sync",
        "lock": "0" * 12,
        "status": "measured",
    }
    return Measurement(**common | fields)


def test_the_literals_repeat_what_the_harness_has(harness: Any) -> None:
    assert list(harness.SCENARIOS) == [scenario.name for scenario in scenarios.load(PROJECT.scenarios)]
    assert not set(USUAL_CONNECTIONS).symmetric_difference(harness.CONNECTIONS)
    assert harness.COUNTING == probe.COUNTING
    assert {
        framework: app.load(PROJECT, framework).app_version for framework in PROJECT.frameworks()
    } == harness.APP_VERSIONS


def test_the_requests_without_a_server_are_those_of_the_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {scenario.name: scenario for scenario in scenarios.load(PROJECT.scenarios)}
    for name, (path, status) in load("in_process", monkeypatch).SCENARIOS.items():
        assert (known[name].request.method, known[name].request.path) == ("GET", path)
        assert known[name].expect == (str(status),)


@pytest.mark.parametrize("path", sorted(SUITE.glob("*.py")), ids=operator.attrgetter("name"))
def test_the_oldest_python_of_a_release_can_read_the_suite(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))


def test_each_scenario_is_a_benchmark_of_its_own(listed: dict[str, dict[str, Any]]) -> None:
    read = {name: one for name, one in listed.items() if "reading" in one}
    classes = {name.rsplit(".", 1)[0] for name in read}
    assert {name for name in classes if "Aiohttp" in name} == {
        "memory.AiohttpBlocks",
        "memory.AiohttpHeap",
        "memory.AiohttpPeakRss",
        "objects.AiohttpLeaked",
        "objects.AiohttpLeakedOfAConnection",
        "objects.AiohttpSurvivors",
        "objects.AiohttpSurvivorsOfAConnection",
    }
    for framework in PROJECT.frameworks():
        names = {name for name in classes if framework.capitalize() in name}
        assert {name.replace(framework.capitalize(), "Aiohttp") for name in names} <= classes
        assert len(names) == 7
    connections = {name.rpartition("_not_found_")[2] for name in read if "Survivors.track_not_found_" in name}
    assert connections == {connection.replace("-", "_") for connection in USUAL_CONNECTIONS}
    assert "objects.FlaskLeakedOfAConnection.track_ok_keep_alive" in read
    assert "objects.FlaskLeakedOfAConnection.track_ok_close" not in read


def test_what_asv_shows_of_a_benchmark(listed: dict[str, dict[str, Any]]) -> None:
    one = listed["objects.FlaskSurvivors.track_method_not_allowed_keep_alive"]
    assert one["pretty_name"] == "flask: survivors, method-not-allowed, keep-alive"
    assert (one["unit"], one["version"]) == ("objects/request", "app 1, counting 1")


def test_one_measurement_serves_all(listed: dict[str, dict[str, Any]]) -> None:
    keys = {one.get("setup_cache_key") for name, one in listed.items() if ".track_" in name}
    assert len(keys) == 1
    assert keys != {None}


def test_each_reading_is_a_field_of_a_measurement(listed: dict[str, dict[str, Any]]) -> None:
    readings = {one["reading"] for one in listed.values() if "reading" in one}
    assert len(readings) == 7
    assert readings <= {*Measurement.__struct_fields__}


def test_exact_counts_have_no_parameters_and_noisy_ones_the_gc_policies(listed: dict[str, Any]) -> None:
    assert listed["objects.FlaskSurvivors.track_ok_close"]["gc"] == "off"
    assert listed["objects.FlaskLeaked.track_ok_close"]["gc"] == "on"
    assert not any(one["params"] for name, one in listed.items() if name.startswith("objects."))
    assert listed["memory.FlaskPeakRss.track_ok_close"]["params"] == [["'on'", "'off'"]]


class TestTracked:
    def track(self, harness: Any, running: str, measured: dict[str, Any]) -> float:
        harness.FRAMEWORK = running
        benchmark = harness.tracked(
            "flask",
            what="peak RSS",
            reading="peak_rss_bytes",
            unit="bytes",
            scenario="ok",
            connection="close",
            gc=("on", "off"),
        )
        found: float = benchmark(None, {("ok", "close", "on"): measured}, "on")
        return found

    def test_a_field(self, harness: Any) -> None:
        assert self.track(harness, "flask", {"status": "measured", "peak_rss_bytes": 1500}) == 1500

    def test_what_does_not_apply_is_nan(self, harness: Any) -> None:
        assert math.isnan(self.track(harness, "aiohttp", {}))
        assert math.isnan(self.track(harness, "flask", {"status": "unsupported", "peak_rss_bytes": None}))

    def test_a_cell_that_failed_fails(self, harness: Any) -> None:
        with pytest.raises(RuntimeError, match=r"^the worker died$"):
            self.track(harness, "flask", {"status": "failed", "reason": "the worker died"})


class TestValues:
    BENCHMARK = {  # noqa: RUF012
        "reading": "leaked_per_request",
        "scenario": "not-found",
        "connection": "close",
        "params": [],
        "gc": "on",
    }
    MEASURED = (
        measurement(scenario="not-found", gc="off", leaked_per_request=2.0),
        measurement(gc="on", leaked_per_request=0.0),
        measurement(scenario="not-found", gc="on", status="failed", reason="the worker died"),
    )

    def values(self, **fields: Any) -> list[float | None]:
        cells = {Cell(m.scenario, m.connection, m.gc): m for m in self.MEASURED}
        return results.values(self.BENCHMARK | fields, cells)

    def test_they_are_in_the_order_of_the_policies(self) -> None:
        assert self.values(params=[["'off'", "'on'"]]) == [2.0, None]

    def test_without_parameters_there_is_one(self) -> None:
        assert self.values() == [None]
        assert self.values(scenario="ok") == [0.0]

    def test_what_was_not_measured_is_nan(self) -> None:
        assert repr(self.values(connection="keep-alive")) == "[nan]"


def test_regressions_are_looked_for_in_exact_counts_only(listed: dict[str, Any]) -> None:
    conf = Config.load(str(CHECKOUT / "asv.conf.json"))
    (exact,), (noisy,) = conf.regressions_thresholds, conf.regressions_first_commits
    assert all(bool(re.match(exact, name)) != bool(re.match(noisy, name)) for name in listed)
    assert {name.split(".")[0] for name in listed if re.match(exact, name)} == {"objects"}
