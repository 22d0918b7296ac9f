from __future__ import annotations

import ast
import importlib
import math
import operator
import re
from pathlib import Path
from typing import Any

import pytest

from outlive.asv import results
from outlive.project import Project
from outlive.records.measurement import USUAL_CONNECTIONS, Cell, Collector, Measurement
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


def test_what_asv_lists(listed: dict[str, dict[str, Any]]) -> None:
    told = {name: (one["pretty_name"], one["unit"], one["version"]) for name, one in listed.items()}
    counted = "app 1, counting 1"
    assert {name: each for name, each in told.items() if "Aiohttp" in name} == {
        "collector.Aiohttp.track_gc_pause": ("aiohttp: gc pauses", "ms/1,000 requests", counted),
        "in_process.Aiohttp.peakmem_requests": ("aiohttp: peak memory without a server", "bytes", "app 1"),
        "memory.Aiohttp.track_blocks": ("aiohttp: allocated blocks", "blocks/request", counted),
        "memory.Aiohttp.track_heap": ("aiohttp: C heap", "bytes/request", counted),
        "memory.Aiohttp.track_peak_rss": ("aiohttp: peak memory of the worker", "bytes", counted),
        "objects.Aiohttp.track_cyclic": ("aiohttp: cyclic garbage", "objects/request", counted),
        "objects.Aiohttp.track_leaked": ("aiohttp: leaked objects", "objects/request", counted),
        "objects.Aiohttp.track_leaked_of_a_connection": (
            "aiohttp: leaked objects of a connection",
            "objects/connection",
            counted,
        ),
        "objects.Aiohttp.track_survivors": ("aiohttp: survivors", "objects/request", counted),
        "objects.Aiohttp.track_survivors_of_a_connection": (
            "aiohttp: survivors of a connection",
            "objects/connection",
            counted,
        ),
    }
    of_aiohttp = {name for name in told if "Aiohttp" in name}
    for framework in PROJECT.frameworks():
        name = framework.capitalize()
        assert {each for each in told if f".{name}." in each} == {
            each.replace("Aiohttp", name) for each in of_aiohttp
        }
        assert {one["framework"] for each, one in listed.items() if f".{name}." in each} == {framework}


def test_one_measurement_serves_all(listed: dict[str, dict[str, Any]]) -> None:
    keys = {one.get("setup_cache_key") for name, one in listed.items() if ".track_" in name}
    assert len(keys) == 1
    assert keys != {None}


def test_each_reading_is_a_field_of_a_measurement(listed: dict[str, dict[str, Any]]) -> None:
    fields = {*Measurement.__struct_fields__, *(f"collector.{name}" for name in Collector.__struct_fields__)}
    readings = {one["reading"] for one in listed.values() if "reading" in one}
    assert len(readings) == 9
    assert readings <= fields


def test_the_parameters(listed: dict[str, dict[str, Any]]) -> None:
    leaked = listed["objects.Flask.track_leaked"]
    assert leaked["param_names"] == ["scenario", "connection", "gc"]
    assert leaked["params"][1:] == [["'keep-alive'", "'close'", "'client-close'"], ["'on'", "'off'"]]
    assert listed["objects.Flask.track_survivors"]["params"][2] == ["'off'"]
    assert listed["collector.Flask.track_gc_pause"]["params"][2] == ["'on'"]


class TestTracked:
    def track(self, harness: Any, running: str, measured: dict[str, Any]) -> float:
        harness.FRAMEWORK = running
        benchmark = harness.tracked("flask", what="pauses", reading="collector.longest_pause_ms", unit="ms")
        found: float = benchmark(None, {("ok", "close", "on"): measured}, "ok", "close", "on")
        return found

    def test_a_field(self, harness: Any) -> None:
        measured = {"status": "measured", "collector": {"longest_pause_ms": 1.5}}
        assert self.track(harness, "flask", measured) == 1.5

    def test_what_does_not_apply_is_nan(self, harness: Any) -> None:
        assert math.isnan(self.track(harness, "aiohttp", {}))
        assert math.isnan(self.track(harness, "flask", {"status": "unsupported", "collector": None}))

    def test_a_cell_that_failed_fails(self, harness: Any) -> None:
        with pytest.raises(RuntimeError, match=r"^the worker died$"):
            self.track(harness, "flask", {"status": "failed", "reason": "the worker died"})


class TestValues:
    BENCHMARK = {  # noqa: RUF012
        "framework": "flask",
        "reading": "leaked_per_request",
        "params": [["'ok'", "'not-found'"], ["'close'"], ["'on'", "'off'"]],
    }

    def values(self, framework: str, *measured: Measurement) -> list[float | None]:
        cells = {Cell(m.scenario, m.connection, m.gc): m for m in measured}
        return results.values(self.BENCHMARK, framework, cells)

    def test_they_are_in_the_order_of_the_parameters(self) -> None:
        found = self.values(
            "flask",
            measurement(scenario="not-found", leaked_per_request=2.0),
            measurement(gc="on", leaked_per_request=0.0),
            measurement(status="failed", reason="the worker died"),
        )
        assert repr(found) == "[0.0, None, nan, 2.0]"

    def test_the_other_framework_has_none(self) -> None:
        assert repr(self.values("aiohttp", measurement(leaked_per_request=1.0))) == "[nan, nan, nan, nan]"


def test_the_thresholds_of_regressions_are_of_benchmarks_that_there_are(listed: dict[str, Any]) -> None:
    patterns = re.findall(r'^ {8}"(.+)": [0-9.]+,?$', (CHECKOUT / "asv.conf.json").read_text(), re.MULTILINE)
    assert len(patterns) == 3
    for pattern in patterns:
        assert any(re.match(pattern.replace("\\\\", "\\"), name) for name in listed)
