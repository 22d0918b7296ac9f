"""The gate: its proof, its verdicts for people and machines, and real releases going green and red."""

from __future__ import annotations

import datetime as dt
import json
import re
import shlex
import shutil
import time
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import pytest
from click.testing import CliRunner, Result

from comparisons import cell, lost
from gates import (
    CHECKOUT,
    EXPIRED,
    FAILED,
    INCONCLUSIVE,
    LIMITS,
    NO_LIMIT,
    OVER,
    UNDER,
    WITHIN,
    control,
    gate,
    limits,
    replayed,
    screen,
)
from goldens import same_as_golden
from outlive.commands.first_steps.gate import gate_command
from outlive.errors import ExitCode, OutliveError
from outlive.gates import proof
from outlive.gates import run as gates
from outlive.gates.judge import stale
from outlive.gates.junit_sarif import junit, sarif
from outlive.gates.run import Gate, GateDocument
from outlive.gates.text import reproduce, summary
from outlive.project import Project
from outlive.records.measurement import Phase
from outlive.records.stack import Package, Stack
from outlive.releases.catalogue import Catalogue
from outlive.retention.growth import PhaseTally, analyse, plan
from outlive.stacks import environments
from outlive.stacks.prepare import prepare
from outlive.worker.plant import Plant


def phase(requests: int, survivors: int = 0, leaked: int = 0) -> Phase:
    return Phase(
        requests=requests,
        survivors=survivors,
        leaked=leaked,
        blocks=0,
        blocks_kept=0,
        heap=None,
        heap_kept=None,
        rss=None,
        fds=None,
        threads=1,
    )


class TestPlant:
    def test_it_leaves_a_cycle_each_and_an_object_each_hundredth_time(self) -> None:
        plant = Plant(["leak", "cycle"])
        for _ in range(250):
            plant.leave()
        assert len(plant.kept) == 2

    def test_only_what_is_named_is_planted(self) -> None:
        plant = Plant(["cycle"])
        for _ in range(250):
            plant.leave()
        assert not plant.kept
        assert not plant.held

    def test_memory_is_held_and_work_takes_time_of_the_processor(self) -> None:
        plant = Plant(["memory:5000", "work:0.002"])
        assert len(plant.held) == 5000
        before = time.thread_time()
        plant.leave()
        assert time.thread_time() > before
        assert not plant.kept


class TestProof:
    """Warm-up ends after 21 requests: the leaks of phases 503 and 1009 are those of requests 100 to 1500."""

    PLAIN = cell("ok", 7)

    def control(self, *leaked: int, cycle: int = 2, growth: str = "leak", gc: str = "off") -> proof.Control:
        lengths = (503, 1009)
        phases = tuple(phase(n, n * (7 + cycle) + k, k) for n, k in zip(lengths, leaked, strict=True))
        plain = msgspec.structs.replace(self.PLAIN, gc=gc, phases=(phase(101, 707), phase(211, 1477)))
        return proof.control(plain, msgspec.structs.replace(plain, phases=phases, growth=growth))

    @pytest.mark.parametrize("gc", ["off", "on"])
    def test_what_was_planted_must_be_seen_to_the_object(self, gc: str) -> None:
        found = self.control(5, 10, gc=gc)
        assert (found.fault, found.leak, found.leak_expected, found.cycle) == (None, 5 / 506, 5 / 506, 2)

    @pytest.mark.parametrize(
        ("leaked", "cycle", "fault"),
        [
            ((5, 9), 2, "planted 0.01 leaked objects per request, found 0.008"),
            ((0, 0), 2, "planted 0.01 leaked objects per request, found 0"),
            ((5, 10), 1, "planted 2 cyclic objects per request, found 1"),
            ((5, 10), 0, "planted 2 cyclic objects per request, found 0"),
        ],
    )
    def test_anything_else_is_a_fault(self, leaked: tuple[int, int], cycle: int, fault: str) -> None:
        assert self.control(*leaked, cycle=cycle).fault == fault

    def test_a_leak_that_is_not_called_one_is_a_fault(self) -> None:
        assert not self.control(5, 10, growth="bounded").seen

    def test_so_is_a_server_that_cannot_be_measured(self) -> None:
        found = proof.control(self.PLAIN, lost("ok", "the worker died"))
        assert found.fault == "ok could not be measured: the worker died"

    def test_counts_where_the_planted_leak_falls(self) -> None:
        phases = [phase(53), phase(211), phase(101)]  # requests 22-74, 75-285, 286-386
        assert [proof.planted_in(phases, which) for which in range(3)] == [0, 2, 1]

    def test_a_leak_as_small_as_is_said_is_seen_wherever_it_falls(self) -> None:
        missed = [
            (every, first)
            for every in range(1, proof.SURE_TO_SEE + 1)
            for first in range(every)
            if simulated(every, first) != "leak"
        ]
        assert missed == []


def simulated(every: int, first: int) -> str:
    """Return the growth of a leak of one object for each so many requests."""
    tallies: list[PhaseTally] = []
    served = first
    while lengths := plan([tally.phase for tally in tallies], collecting=True):
        for requests in lengths:
            leaked = (served + requests) // every - served // every
            served += requests
            tallies.append(PhaseTally(phase(requests, leaked, leaked), {}, {}))
    return analyse(tallies, collecting=True).growth


class TestExitCode:
    @pytest.mark.parametrize(
        ("run", "code"),
        [
            (gate(WITHIN), ExitCode.FINE),
            (gate(WITHIN, OVER), ExitCode.REGRESSION),
            (gate(WITHIN, UNDER), ExitCode.REGRESSION),
            (gate(WITHIN, stale=(EXPIRED,)), ExitCode.REGRESSION),
            (gate(WITHIN, FAILED), ExitCode.FAULT),
            (gate(WITHIN, INCONCLUSIVE), ExitCode.INCONCLUSIVE),
            (gate(OVER, FAILED, INCONCLUSIVE), ExitCode.REGRESSION),
            (gate(FAILED, INCONCLUSIVE), ExitCode.FAULT),
            (gate(OVER, controls=(control("planted 2, saw 1"),)), ExitCode.FAULT),
            (gate(WITHIN, replayed=replayed(OVER)), ExitCode.FINE),
            (gate(WITHIN, replayed=replayed()), ExitCode.FAULT),
        ],
    )
    def test_of_a_run(self, run: Gate, code: ExitCode) -> None:
        assert run.code == code

    def test_of_several_runs_is_the_gravest(self) -> None:
        assert gates.code([gate(WITHIN), gate(FAILED), gate(OVER)]) == ExitCode.REGRESSION
        assert gates.code([gate(WITHIN), gate(INCONCLUSIVE)]) == ExitCode.INCONCLUSIVE
        assert gates.code([gate(WITHIN), gate(WITHIN)]) == ExitCode.FINE


RUNS = {
    "green": gate(WITHIN, replayed=replayed(OVER)),
    "red": gate(WITHIN, NO_LIMIT, UNDER, OVER, FAILED, INCONCLUSIVE, stale=(EXPIRED,)),
    "many": gate(*[OVER] * 7, source="dist/aiohttp-1-py3-none-any.whl", planted=True),
    "unproved": gate(controls=(control("planted 2 cyclic objects per request, found 1"),)),
    "proves-nothing": gate(WITHIN, replayed=replayed()),
    "unlimited": gate(NO_LIMIT, limited=False),
}


@pytest.mark.parametrize("name", RUNS)
def test_screen(name: str) -> None:
    same_as_golden(f"gate-{name}.txt", screen(RUNS[name]))


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("name", RUNS)
def test_a_screen_has_the_width_of_its_terminal(name: str, width: int) -> None:
    said = screen(RUNS[name], width)
    assert " ".join(said.split()) == " ".join(screen(RUNS[name]).split())
    for line in said.splitlines():
        # commands, links and paths are whole, so that one can copy them
        assert len(line) <= width or line.startswith("    again: ") or len(line.split()) <= 2


@pytest.mark.parametrize("name", ["red", "unlimited", "many"])
def test_what_is_to_be_accepted_has_no_verdict_and_no_exit_code(name: str) -> None:
    said = screen(RUNS[name], accepting=True)
    assert said.startswith("TO BE ACCEPTED  aiohttp 1")
    assert "RED" not in said
    assert "Exit code" not in said
    assert "again: outlive gate aiohttp" in said


@pytest.mark.parametrize("name", ["green", "red", "unlimited"])
def test_step_summary(name: str) -> None:
    same_as_golden(f"gate-{name}.md", summary([RUNS[name]]))


class TestJUnit:
    def test_has_one_case_for_each_cell(self) -> None:
        suite = ET.fromstring(junit([RUNS["red"]])).find("testsuite")
        assert suite is not None
        cases = {case.get("name"): [child.tag for child in case] for case in suite}
        assert cases == {
            "proof x close x off": [],
            "not-found x close x off": ["failure"],
            "bad-json x close x off": ["failure"],
            "upload x close x off": ["failure"],
            "abort-upload x close x off": ["error"],
            "upload-too-large x close x off": ["error"],
            "limit of close, gc off, Python 3.11, >=1: not-found, upload*": ["failure"],
        }
        counts = {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")}
        assert counts == {"tests": "8", "failures": "4", "errors": "2", "skipped": "0"}

    def test_says_what_is_wrong_and_what_to_do(self) -> None:
        failure = ET.fromstring(junit([gate(OVER)])).find("*/testcase/failure")
        assert failure is not None
        assert failure.get("message") == "leaves 34.5 objects per request, 33 allowed"
        assert (failure.text or "").splitlines()[-1] == (
            "outlive gate aiohttp==1 --gc off --scenario not-found --connection close --python 3.11"
        )

    def test_characters_that_xml_cannot_hold_are_left_out(self) -> None:
        bad = msgspec.structs.replace(FAILED, what="died\x00\x1b[31m")
        assert ET.fromstring(junit([gate(bad)])).find("*/testcase/error") is not None


class TestSarif:
    def test_names_the_rule_and_the_line_of_the_limit(self) -> None:
        (result,) = json.loads(sarif([gate(OVER)]))["runs"][0]["results"]
        location = result["locations"][0]["physicalLocation"]
        assert (result["ruleId"], result["level"]) == ("over", "error")
        assert location["artifactLocation"]["uri"] == "releases/aiohttp/limits.toml"
        assert location["region"]["startLine"] == 11

    def test_fingerprints_are_the_same_for_other_numbers_and_releases(self) -> None:
        other = msgspec.structs.replace(gate(OVER).stack, release="2", lock="f" * 12)
        moved = msgspec.structs.replace(OVER, objects=99.0, place=None)
        assert fingerprints(gate(OVER)) == fingerprints(gate(moved, stack=other))

    def test_fingerprints_of_entries_that_expire_on_the_same_day_differ(self) -> None:
        text = LIMITS + LIMITS.replace('"close"', '"keep-alive"')
        cells = [cell("not-found", 33), cell("not-found", 33, connection="keep-alive")]
        both = stale(limits(text), cells, ["1"], dt.date(2028, 1, 1))
        assert len(set(fingerprints(gate(stale=both)))) == 2

    def test_fingerprints_of_different_cells_differ(self) -> None:
        assert len(set(fingerprints(RUNS["red"]))) == 6

    def test_a_message_has_all_that_the_screen_has(self) -> None:
        (result,) = json.loads(sarif([gate(OVER)]))["runs"][0]["results"]
        assert result["message"]["text"] == (
            "not-found, close, gc off: leaves 34.5 objects per request, 33 allowed. "
            "Left: 1.5 list, 12 frame and 1 dict. "
            "Why the limit is there: a traceback and its frames refer to each other "
            "(https://github.com/aio-libs/aiohttp/issues/1). "
            "Next: `outlive explain` shows what keeps them; if they are intended, --accept writes "
            "releases/aiohttp/limits.toml:11 and you add the reason. "
            "Again: outlive gate aiohttp==1 --gc off --scenario not-found --connection close --python 3.11"
        )

    @pytest.mark.parametrize("name", ["unproved", "proves-nothing"])
    def test_a_gate_that_proves_nothing_is_a_result(self, name: str) -> None:
        (result,) = json.loads(sarif([RUNS[name]]))["runs"][0]["results"]
        assert (result["ruleId"], result["level"]) == ("proof", "error")

    def test_the_next_release_is_in_the_same_category(self) -> None:
        other = gate(WITHIN, stack=msgspec.structs.replace(gate().stack, release="2"))
        (one,), (next_one,) = categories(gate(WITHIN)), categories(other)
        assert one == next_one == "outlive-gate/aiohttp/py3.11/gc-off"
        assert len(set(categories(gate(WITHIN), other))) == 2

    def test_every_rule_is_described(self) -> None:
        (run,) = json.loads(sarif([RUNS["red"]]))["runs"]
        described = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
        assert {result["ruleId"] for result in run["results"]} <= described


def categories(*runs: Gate) -> list[str]:
    """Return the categories as GitHub reads them."""
    ids = [run["automationDetails"]["id"] for run in json.loads(sarif(runs))["runs"]]
    return [one.rpartition("/")[0] for one in ids]


def fingerprints(run: Gate) -> list[str]:
    results = json.loads(sarif([run]))["runs"][0]["results"]
    return [result["partialFingerprints"]["outlive/v1"] for result in results]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout without limits and results."""
    for name in ("apps", "loadtests", "releases"):
        shutil.copytree(CHECKOUT.root / name, tmp_path / name)
    for path in tmp_path.glob("releases/*/limits.toml"):
        path.unlink()
    monkeypatch.setenv("OUTLIVE_ROOT", str(tmp_path))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def run_gate(*words: str) -> tuple[int, str]:
    found: Result = CliRunner().invoke(gate_command, words, standalone_mode=False)
    if isinstance(found.exception, OutliveError):
        return int(found.exception.exit_code), str(found.exception)
    if found.exception:
        raise found.exception
    return int(found.return_value), found.stdout


class TestCommand:
    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["flask==3.1.3,", "--gc", "off"], 2, "'' is not NAME==VERSION"),
            (["flask", "--gc", "off", "--scenario", "not-fond"], 2, "no scenario 'not-fond'; try not-found"),
            (["flask", "--gc", "off", "--accept", "--plant"], 2, "--accept and --plant exclude each other"),
            (
                ["flask==3.1.2", "--gc", "off", "--unreleased", "x.whl"],
                2,
                "--unreleased takes the framework's name",
            ),
            (
                ["flask", "--gc", "off", "--unreleased", "x.whl"],
                2,
                "flask@x.whl: there is no such file",
            ),
            (
                ["aiohttp==3.11.13", "--gc", "off", "--python", "3.11"],
                5,
                "aiohttp 3.11.13 is yanked: Regression",
            ),
            (
                ["flask", "--gc", "off", "--limits", "none.toml"],
                2,
                "--limits none.toml: there is no such file; --accept writes it",
            ),
            (["bottle", "--gc", "off"], 2, "no framework 'bottle' has a catalogue"),
        ],
    )
    def test_wrong_words_are_one_line(self, project: Path, words: list[str], code: int, message: str) -> None:
        found, said = run_gate(*words)
        assert found == code
        assert message in said
        assert "\n" not in said

    def test_a_yanked_release_is_gated_where_that_is_asked_for(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gates, "run", lambda *_args, **_kwargs: gate(WITHIN))
        words = ("aiohttp==3.11.13", "--gc", "off", "--python", "3.11")
        assert run_gate(*words)[0] == 5
        assert run_gate(*words, "--allow-yanked")[0] == 0

    def test_the_step_summary_is_added_to_what_is_there(
        self, project: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gates, "run", lambda *_args, **_kwargs: gate(INCONCLUSIVE))
        step = project / "step.md"
        step.write_text("before\n")
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(step))
        assert run_gate("aiohttp", "--gc", "off", "--python", "3.11")[0] == 3
        assert step.read_text().startswith("before\n### outlive gate: aiohttp 1")

    def test_limits_of_a_project_of_ones_own_are_read_from_there(self, project: Path) -> None:
        mine = project / "mine.toml"
        mine.write_text("[[limits]]\ngc = 1\n")
        code, said = run_gate("flask", "--gc", "off", "--limits", str(mine))
        assert (code, said.partition(": Expected")[0]) == (2, f"{mine}: not a limits file")

    def test_a_malformed_limits_file_is_one_line(self, project: Path) -> None:
        (project / "releases" / "flask" / "limits.toml").write_text("[[limits]]\ngc = 1\n")
        code, said = run_gate("flask", "--gc", "off")
        assert (code, said.partition(": Expected")[0]) == (2, "releases/flask/limits.toml: not a limits file")

    @pytest.mark.parametrize(
        ("content", "said"),
        [(b"\xff\xfe", "not a limits file: it is not UTF-8 text"), (None, "cannot be read: Is a directory")],
    )
    def test_a_limits_file_that_is_none_is_one_line(
        self, project: Path, content: bytes | None, said: str
    ) -> None:
        path = project / "releases" / "flask" / "limits.toml"
        path.unlink(missing_ok=True)
        path.write_bytes(content) if content else path.mkdir()
        assert run_gate("flask", "--gc", "off") == (2, f"releases/flask/limits.toml: {said}")


FEW = ("--scenario", "ok", "--scenario", "not-found", "--connection", "close", "--python", "3.11")


@pytest.mark.real
class TestRealReleases:
    def test_flask_is_green_with_its_own_limits_and_red_with_a_planted_leak(self, project: Path) -> None:
        code, said = run_gate("flask", "--gc", "off", *FEW, "--accept")
        assert code == 0, said
        summary_file, json_file = project / "summary.md", project / "gate.json"
        code, said = run_gate(
            "flask", "--gc", "off", *FEW, "--summary", str(summary_file), "--json", str(json_file)
        )
        assert (code, said.split()[0]) == (0, "GREEN"), said
        assert "both found exactly" in said
        assert summary_file.read_text().startswith("### outlive gate: flask")
        document = msgspec.json.decode(json_file.read_bytes(), type=GateDocument)
        assert document.exit_code == 0
        code, said = run_gate("flask", "--gc", "off", *FEW, "--plant")
        assert (code, said.split()[0]) == (1, "RED"), said
        for scenario in ("ok", "not-found"):
            objects, allowed, types = over(said, scenario)
            assert objects - allowed == pytest.approx(0.01), said
            assert types.startswith("0.01 outlive_plant.PlantedLeak"), said

    def test_aiohttp_3_10_10_is_red_against_the_limits_of_3_11_18(self, project: Path) -> None:
        assert run_gate("aiohttp==3.11.18", "--gc", "on", *FEW, "--accept")[0] == 0
        code, said = run_gate("aiohttp==3.11.18", "--gc", "on", *FEW, "--prove", "aiohttp==3.10.10")
        assert code == 0, said
        assert "prove: aiohttp==3.10.10,python==3.11 fails, as it must: 1 of 2 cells over" in said
        code, said = run_gate("aiohttp==3.10.10", "--gc", "on", *FEW)
        assert code == 1, said
        assert "limits: none in releases/aiohttp/limits.toml is for aiohttp 3.10.10 on Python 3.11" in said

    def test_flask_is_red_against_the_limits_of_one_that_drops_its_reference(self, project: Path) -> None:
        wheel = patched_flask(project)
        words = ("flask", "--gc", "off", "--scenario", "ok", "--scenario", "handler-error", *FEW[4:])
        code, said = run_gate(*words, "--unreleased", str(wheel), "--accept")
        assert code == 0, said
        code, said = run_gate(*words, "--unreleased", str(wheel))
        assert (code, said.split()[0]) == (0, "GREEN"), said
        code, said = run_gate(*words)
        assert (code, said.split()[0]) == (1, "RED"), said
        assert ": 1 of 2 cells over the limit" in said
        objects, allowed, types = over(said, "handler-error")
        assert objects > allowed + 50
        assert "frame" in types

    def test_limits_can_be_those_of_a_project_of_ones_own(self, project: Path) -> None:
        mine = project / "mine.toml"
        words = ("flask", "--gc", "off", *FEW[:2], *FEW[4:], "--limits", str(mine))
        assert run_gate(*words, "--accept")[0] == 0
        assert not (project / "releases" / "flask" / "limits.toml").exists()
        mine.write_text(mine.read_text().replace("ok = ", "ok = 1"))
        code, said = run_gate(*words)
        assert code == 1, said
        assert f"    limit: {mine}:" in said
        assert f"--limits {mine}\n" in said

    def test_a_release_that_is_not_bad_proves_nothing(self, project: Path) -> None:
        code, said = run_gate("aiohttp==3.11.18", "--gc", "on", *FEW, "--prove", "aiohttp==3.11.17")
        assert (code, said.split()[0]) == (4, "FAULT"), said
        assert "passes these limits" in said


def over(said: str, scenario: str) -> tuple[float, float, str]:
    """Return what the screen says of a cell over its limit: its objects, those allowed, and the types."""
    cell = rf"^▲ {scenario}, \S+: leaves (\S+) objects per request, (\S+) allowed\n    types: (.*)$"
    found = re.search(cell, said, re.MULTILINE)
    assert found is not None, said
    return float(found[1]), float(found[2]), found[3]


def patched_flask(folder: Path) -> Path:
    """Return a wheel of the newest Flask whose `wsgi_app` does not keep the error that it handled."""
    project = Project(folder)
    newest = Catalogue.load(project, "flask").newest()
    prepared = prepare(project, Stack("flask", newest.version), "3.11")
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    (packages,) = environment.path.glob("lib/python*/site-packages")
    wheel = folder / f"flask-{newest.version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("flask", f"flask-{newest.version}.dist-info"):
            for path in sorted((packages / name).rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    text = path.read_text()
                    if path == packages / "flask" / "app.py":
                        assert KEEPS in text
                        text = text.replace(KEEPS, DROPS)
                    archive.writestr(path.relative_to(packages).as_posix(), text)
    return wheel


KEEPS = "            ctx.pop(error)\n"
DROPS = f"{KEEPS}            error = None\n"


def test_the_committed_limits_are_well_formed() -> None:
    from outlive.gates import limits
    from outlive.service import scenarios

    known = scenarios.load(CHECKOUT.scenarios)
    for framework in CHECKOUT.frameworks():
        found = limits.load(CHECKOUT, framework, known)
        assert found.entries, f"no limits for {framework}"
        assert not [entry for entry in found.entries if "say here why" in entry.reason]


def test_the_command_that_gates_a_cell_again_keeps_pins_and_what_was_allowed() -> None:
    pins = (Package("multidict", "6.3.2"),)
    found = gate(OVER, pins=pins, allow_yanked=True)
    words = shlex.split(reproduce(found, found.failing[0]))
    stack = Stack.parse(words[2])
    assert (stack.framework, stack.release, stack.pins) == (found.stack.framework, found.stack.release, pins)
    assert "--allow-yanked" in words
