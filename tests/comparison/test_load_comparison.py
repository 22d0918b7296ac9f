"""Comparisons under load: decisions from load tests, what users see of them, and the command."""

from __future__ import annotations

import io
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

import load_comparisons
from comparisons import side
from goldens import same_as_golden
from load_comparisons import SIDES, measured, runs
from loads import scratch
from outlive.commands.first_steps.compare import compare_command
from outlive.commands.parts import compare_load
from outlive.comparison.noisy import load_text as report
from outlive.comparison.noisy import metrics
from outlive.comparison.noisy.load import LoadComparison, LoadComparisonDocument, compare
from outlive.comparison.noisy.noise import Decided, Interval, Metric
from outlive.comparison.noisy.noise_text import bounds, difference, value
from outlive.comparison.noisy.rounds import Turn, order
from outlive.comparison.pair import Side
from outlive.errors import OutliveError
from outlive.loads.plan import LoadTest
from outlive.project import Project
from outlive.records.load import Deployment, LoadMeasurement, Traffic
from outlive.records.release import Release
from outlive.records.stack import Difference, Stack
from outlive.replay.store import provenance
from outlive.stacks.locks import Lock
from outlive.stacks.prepare import Pair, Prepared, prepare
from outlive.stacks.pythons import Interpreter

MADE = {"worse": load_comparisons.worse, "same": load_comparisons.same, "noisy": load_comparisons.noisy}


@pytest.fixture(scope="module", params=MADE)
def made(request: pytest.FixtureRequest) -> tuple[str, LoadComparison]:
    return request.param, MADE[request.param]()


def shown(comparison: LoadComparison, width: int = 80, *, everything: bool = False) -> str:
    file = io.StringIO()
    report.show(comparison, Console(file=file, width=width, force_terminal=False), everything=everything)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def decided(comparison: LoadComparison, name: str, scenario: str | None = None) -> Decided:
    (found,) = [
        one for one in comparison.decided if (one.metric.name, one.metric.scenario) == (name, scenario)
    ]
    return found


class TestGolden:
    @pytest.mark.parametrize("width", [80, 120])
    def test_terminal(self, made: tuple[str, LoadComparison], width: int) -> None:
        text = shown(made[1], width)
        assert max(map(len, text.splitlines())) <= width
        same_as_golden(f"compare-load-{made[0]}-{width}.txt", text)

    def test_markdown(self, made: tuple[str, LoadComparison]) -> None:
        same_as_golden(f"compare-load-{made[0]}.md", report.render(made[1]))

    def test_everything(self) -> None:
        same_as_golden("compare-load-same-all.txt", shown(load_comparisons.same(), 100, everything=True))


class TestDecisions:
    def test_a_planted_change_of_memory_and_latency_is_found(self) -> None:
        found = load_comparisons.worse()
        for name in ("peak RSS", "throughput", "p50", "p95", "p99"):
            assert decided(found, name).direction == "worse"
        assert decided(found, "growth per request").decision == "no change seen"
        assert decided(found, "p50", "not-found").direction == "worse"

    def test_a_stack_against_itself_shows_no_change(self) -> None:
        found = load_comparisons.same()
        assert {one.decision for one in found.decided} == {"no change seen"}
        assert found.headline == (
            "flask 3.1.2 → 3.1.3, Python 3.11 under load: no change seen in any of 8 metrics."
        )

    def test_other_packages_and_yanked_releases_are_told(self) -> None:
        sides = (side(release="3.11.13"), side(release="3.11.14", yanked="Regression"))
        apart = [Difference("multidict", "6.1.0", "6.2.0", "aiohttp 3.11.14 requires multidict>=6.2")]
        found = compare(*sides, runs(4), apart)
        assert found.headline.endswith("aiohttp 3.11.14 is yanked: Regression.")
        assert "multidict 6.1.0 → 6.2.0: aiohttp 3.11.14 requires multidict>=6.2" in shown(found)

    def test_no_whole_round_says_nothing(self) -> None:
        found = compare(*SIDES, runs(4)[:2], stopped="the worker died")
        assert (found.rounds, found.stopped) == (0, "the worker died")
        assert {one.decision for one in found.decided} == {"inconclusive"}
        assert "! stopped early: the worker died" in shown(found)


class TestCommand:
    """With load tests that are made up; what they are asked for is what matters."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[LoadTest]:
        monkeypatch.setenv("OUTLIVE_ROOT", str(scratch(tmp_path).root))  # nothing made up in our own results
        asked: list[LoadTest] = []

        def run(project: Project, test: LoadTest, *, watch: object) -> LoadMeasurement:
            asked.append(test)
            if test.traffic.user == "Steady" and len(asked) == 14:
                return measured(status="failed", reason="the server stopped answering")
            if test.traffic.user == "ErrorStorm" and len(asked) == 14:
                raise KeyboardInterrupt
            slow = 1.1 if test.stack.release.version == "3.1.3" else 1
            return measured(latency=slow, seed=len(asked), deployment=test.deployment, traffic=test.traffic)

        monkeypatch.setattr("outlive.loads.run.run", run)
        monkeypatch.setattr(
            "outlive.api.selection.prepare_pair",
            lambda *_, **__: Pair(stack("3.1.2"), stack("3.1.3"), ()),
        )
        return asked

    def test_the_stacks_take_turns_and_both_files_are_written(
        self, asked: list[LoadTest], tmp_path: Path
    ) -> None:
        code, said = invoke(
            *("--requests", "500", "--clients", "4", "--gc", "off", "--gc", "freeze"),
            *("--json", str(tmp_path / "found.json"), "--markdown", str(tmp_path / "found.md")),
        )
        assert code == 0
        turns = [test.stack.release.version[-1] for test in asked]
        assert "".join(turns) == "232232" * 8
        assert [test.deployment.gc for test in asked] == ["off"] * 24 + ["freeze"] * 24
        assert {(t.traffic.requests, t.traffic.clients, t.deployment.worker) for t in asked} == {
            (500, 4, "gthread")
        }
        assert said.count("worse: throughput") == 2
        document = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=LoadComparisonDocument)
        assert [one.deployment.gc for one in document.comparisons] == ["off", "freeze"]
        assert [len(runs) for runs in document.runs] == [24, 24]
        head = "### outlive: flask 3.1.2 → 3.1.3, Python 3.12 under load"
        assert (tmp_path / "found.md").read_text().count(head) == 2

    def test_without_more_words_the_collector_is_on(self, asked: list[LoadTest]) -> None:
        assert invoke("--rounds", "4")[0] == 0
        assert len(asked) == 12
        assert {test.deployment.gc for test in asked} == {"on"}

    def test_a_run_that_fails_ends_it_but_whole_rounds_are_told(
        self, asked: list[LoadTest], tmp_path: Path
    ) -> None:
        code, said = invoke("--user", "Steady", "--json", str(tmp_path / "found.json"))
        assert code == 4
        assert "! stopped early: round 5, after: flask 3.1.3 failed: the server stopped" in said
        assert "4 rounds of before, after and before again" in " ".join(said.split())
        assert (tmp_path / "found.json").exists()

    def test_an_interruption_tells_whole_rounds_too(self, asked: list[LoadTest], tmp_path: Path) -> None:
        with pytest.raises(click.Abort):
            invoke("--user", "ErrorStorm", "--json", str(tmp_path / "found.json"))
        document = msgspec.json.decode((tmp_path / "found.json").read_bytes(), type=LoadComparisonDocument)
        assert (document.comparisons[0].rounds, document.comparisons[0].stopped) == (4, "interrupted")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--rounds", "5"], "--rounds 5: the order is balanced for even numbers, from 4 on"),
            (["--rounds", "2"], "--rounds 2: the order is balanced for even numbers, from 4 on"),
            (
                ["--connection", "close", "--connection", "keep-alive"],
                "--connection: a load test has one kind of connection",
            ),
        ],
    )
    def test_wrong_words_are_one_line(self, asked: list[LoadTest], words: list[str], said: str) -> None:
        assert invoke(*words) == (2, said)
        assert asked == []

    def test_words_for_load_tests_need_one(self) -> None:
        found = CliRunner().invoke(
            compare_command, ["flask", "3.1.2", "3.1.3", "--rounds", "4"], standalone_mode=False
        )
        assert str(found.exception) == "--rounds, --requests and --rate are for a comparison with --load"


def stack(version: str) -> Prepared:
    release = Release("flask", version, None, ">=3.9", False, None, ("py3",), sdist=True)
    return Prepared(
        release, Interpreter("3.12.1", "/nowhere/python"), Lock("flask", version, "3.12", (), "", None)
    )


def invoke(*words: str) -> tuple[int, str]:
    command = ["flask", "3.1.2", "3.1.3", "--load", *words]
    found = CliRunner().invoke(compare_command, command, standalone_mode=False)
    if isinstance(found.exception, OutliveError):
        return int(found.exception.exit_code), str(found.exception)
    if found.exception:
        raise found.exception
    return int(found.return_value), found.stdout


@pytest.mark.real
def test_one_round_of_real_load_tests(tmp_path: Path) -> None:
    project = scratch(tmp_path)
    stack = prepare(project, Stack("flask", "3.1.3"), "3.11")
    pair, deployment = Pair(stack, stack, ()), Deployment(worker="gthread", gc="off")
    traffic = Traffic(requests=150, clients=4)
    runs = [
        compare_load._run(project, pair, turn, deployment=deployment, traffic=traffic, watch=lambda _: None)
        for turn in order(1)
    ]
    here = Side(stack.record, stack.release)
    found = compare(here, here, runs)
    assert found.rounds == 1
    names = {one.metric.name for one in found.decided}
    assert names >= {"peak RSS", "throughput", "p50", "objects left per request"}
    assert {one.reason for one in found.decided} == {"fewer than 4 rounds"}
    assert len(list(project.measured.glob("loads/flask/3.1.3/*.json"))) == 3


class TestReadings:
    def test_with_gc_off_what_is_left_counts_and_no_pauses(self) -> None:
        found = {metric.name: amount for metric, amount in metrics.readings(measured()).items()}
        assert found["objects left per request"] == 31.25
        assert "gc pause per 1000 requests" not in found

    def test_with_a_collector_what_is_leaked_counts_and_its_pauses(self) -> None:
        found = {metric.name: amount for metric, amount in metrics.readings(measured(gc="on")).items()}
        assert found["objects leaked per request"] == 0
        assert found["gc pause per 1000 requests"] == pytest.approx(0.04 * 1000 / 3450, rel=0.1)

    def test_what_is_not_known_is_no_reading(self) -> None:
        bare = measured(peak_rss_bytes=None, tree_peak_bytes=None, growth=None, survivors_per_request=None)
        overall = [metric.name for metric in metrics.readings(bare) if metric.scenario is None]
        assert overall == ["throughput", "p50", "p95", "p99"]

    def test_percentiles_need_requests_beyond_them(self) -> None:
        found = [(m.scenario, m.name) for m in metrics.readings(measured()) if m.scenario]
        assert [name for scenario, name in found if scenario == "ok"] == ["p50", "p95", "p99"]
        assert [name for scenario, name in found if scenario == "not-found"] == ["p50", "p95"]
        assert [name for scenario, name in found if scenario == "stream-error"] == ["p50"]


@pytest.mark.parametrize(
    ("metric", "interval", "change", "said"),
    [
        (metrics.THROUGHPUT, Interval(0.0512, 0.039, 0.0631), "+5.1 %", "+3.9 to +6.3 %"),
        (metrics.THROUGHPUT, Interval(-0.00001, -0.01, 12.3), "0 %", "-1.0 to +1230 %"),
        (metrics.GROWTH, Interval(95, -33, 2048), "+95 B", "-33 B to +2.0 KiB"),
        (metrics.PAUSES, Interval(0.0012, 0, 0.004), "+1.2 ms", "0 to +4 ms"),
        (metrics.SURVIVORS, Interval(-0.5, -1, 0), "-0.5", "-1 to 0"),
    ],
)
def test_changes_are_written_with_their_unit_once(
    metric: Metric, interval: Interval, change: str, said: str
) -> None:
    assert (difference(metric, interval.change), bounds(metric, interval)) == (change, said)


def test_values_are_written_with_their_unit() -> None:
    assert value(metrics.THROUGHPUT, 812.3) == "812/s"
    assert value(metrics.THROUGHPUT, 12.34) == "12.3/s"
    assert value(metrics.memory("peak RSS"), 64 * 1024**2) == "64.0 MiB"
    assert value(metrics.latency("p50"), 0.00421) == "4.21 ms"


def test_the_document_says_what_it_was_made_from() -> None:
    made = runs(4)
    document = LoadComparisonDocument(
        provenance=provenance([one.stack for one in SIDES]),
        comparisons=(compare(*SIDES, made),),
        runs=(tuple(made),),
    )
    again = msgspec.json.decode(document.to_json(), type=LoadComparisonDocument)
    assert again == document
    assert compare(*SIDES, again.runs[0]) == document.comparisons[0]
    assert again.runs[0][0].turn == Turn(1, "before")
    assert "LoadComparison" in msgspec.json.schema(LoadComparisonDocument)["$defs"]
