"""Load tests of real releases: ways to deploy them, what goes wrong meanwhile, a soak that is continued."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
from click import ClickException
from click.testing import CliRunner

from loads import load_measurement, load_test, scratch
from outlive.commands.one_stack_or_two.load import code, duration, load_command
from outlive.commands.parts.progress import LoadProgress
from outlive.errors import ExitCode, FaultError, UsageError
from outlive.loads import generator
from outlive.loads import run as running
from outlive.loads.generator import generate
from outlive.loads.plan import LoadTest
from outlive.loads.run import run
from outlive.loads.server import LoadServer
from outlive.loads.store import LoadStore, read
from outlive.project import Project
from outlive.records.load import Generated, LoadMeasurement, Sample
from outlive.service import app as apps
from outlive.stacks import environments

pytestmark = pytest.mark.real

STALL = 2.0
EXAMPLES = "periodic:1000, thresholds:50000,20,100"
HARNESS = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
from loads import load_test
from outlive.loads import run
from outlive.project import Project
run.KEEP_EVERY = 0.5
def watch(seen):
    print("seen", flush=True)
run.run(Project(Path({root!r})), load_test(gc="off", seconds=60.0), watch=watch)
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return scratch(tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert [child.cmdline() for child in psutil.Process().children() if is_ours(child)] == []
    assert list(folder.glob("outlive-*")) == []


def is_ours(process: psutil.Process) -> bool:
    return any("gunicorn" in word or "locust" in word for word in process.cmdline())


def kept(project: Project, test: LoadTest) -> list[LoadMeasurement]:
    return list(LoadStore(project, test.stack.record).load())


def test_what_is_served_is_measured_and_kept(project: Project) -> None:
    test = load_test(gc="off", requests=400)
    found = run(project, test, predictions={"ok": 8.0}, replayed=True)
    assert (found.status, found.reason, found.requests, found.unexpected) == ("measured", None, 400, 0)
    assert found.survivors_per_request == pytest.approx(26, rel=0.1)
    assert found.leaked_per_request == pytest.approx(0, abs=0.05)
    assert found.predicted_per_request is None  # not all scenarios are known
    assert found.replayed_per_request == pytest.approx(found.survivors_per_request, rel=0.05)
    assert found.collections.count == 0
    assert found.peak_rss_bytes is not None
    assert found.tree_peak_bytes is not None
    assert found.tree_peak_source
    assert found.server_cores > 0
    assert 0 < found.server_busiest <= 1
    assert 0 <= found.server_waiting < found.server_busiest
    assert [one.end for one in found.workers] == ["served"]
    assert found.samples[-1].requests == 400
    assert found.samples[-1].rss > found.samples[-1].pss > 0
    assert found.samples[-1].harness > psutil.Process().memory_info().rss / 2
    assert kept(project, test) == [found]


def test_a_short_test_leaves_what_the_same_mix_leaves_one_request_at_a_time(project: Project) -> None:
    """The sum of the scenarios, each by itself, is 7 % less: connections leave something, too."""
    found = run(project, load_test("aiohttp", "uvloop", gc="off", requests=400, clients=16), replayed=True)
    assert (found.status, found.reason) == ("measured", None)
    assert found.replayed_per_request == pytest.approx(found.survivors_per_request, rel=0.05)


def test_a_locustfile_sends_to_a_reference_app(project: Project, tmp_path: Path) -> None:
    """Scenarios of the framework's other apps cannot warm it up."""
    code = "from locust import HttpUser, task\nclass User(HttpUser):\n    @task\n    def ok(self):\n"
    (tmp_path / "user.py").write_text(f"{code}        self.client.get('/ok')\n")
    found = run(project, load_test(user=str(tmp_path / "user.py"), seconds=1.0))
    assert (found.status, found.reason, found.unexpected) == ("measured", None, 0)


def test_a_replay_that_fails_is_told_and_the_rest_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise FaultError("ok: the server hangs")

    monkeypatch.setattr("outlive.replay.mixed.send", broken)
    test = load_test(gc="off", requests=100)
    found = run(project, test, replayed=True)
    assert (found.status, found.reason) == ("failed", "one request at a time: ok: the server hangs")
    assert (found.requests, found.replayed_per_request) == (100, None)
    assert kept(project, test) == [found]


@pytest.mark.parametrize(
    ("framework", "worker"), [("flask", "gevent"), ("aiohttp", "uvloop"), ("flask", "sync")]
)
def test_workers_that_come_and_go(project: Project, framework: str, worker: str) -> None:
    recycled = {"workers": 2, "preload": worker != "gevent", "max_requests": 100, "graceful_timeout": 1}
    requests = 3000 if worker == "gevent" else 700  # which looks once a second whether it has to end
    found = run(project, load_test(framework, worker, **recycled, requests=requests, connection="close"))
    assert (found.status, found.reason) == ("measured", None)
    assert found.requests == requests
    if framework != "aiohttp":  # what it loses meanwhile is a finding, see docs/recycling.md
        assert found.unexpected == 0
    assert found.silence is not None
    assert 0 < found.silence < found.seconds
    assert found.restarts > 0
    assert {one.end for one in found.workers} <= {"served", "recycled"}
    assert found.survivors_per_request is None
    assert 2 <= len(found.workers) <= 2 + found.restarts  # the last may not have said hello


def test_workers_that_are_replaced_while_they_are_warmed_up(project: Project) -> None:
    found = run(project, load_test("flask", "gthread", max_requests=2, requests=20, scenarios=("ok",)))
    assert (found.status, found.reason, found.requests) == ("measured", None, 20)


def test_silence_while_workers_are_replaced_is_measured(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server is not taken for one that hangs before the time is over that its workers have to end."""
    stalls: list[float] = []

    def generated(*args: Any, stall: float, **options: Any) -> Generated:
        stalls.append(stall)
        return generate(*args, stall=stall, **options)

    monkeypatch.setattr(running, "generate", generated)
    run(project, load_test(requests=20, max_requests=100, graceful_timeout=7))
    run(project, load_test(requests=20, graceful_timeout=7))
    assert stalls == [generator.STALL + 7, generator.STALL]


def test_a_worker_that_is_not_to_be_had(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    test = load_test("flask", "gevent")
    app = (project.apps / "flask" / "app.toml").read_text()
    (project.root / "apps").unlink()
    (project.apps / "flask").mkdir(parents=True)
    (project.apps / "flask" / "v1.py").touch()
    (project.apps / "flask" / "app.toml").write_text(app.replace("gunicorn[gevent]", "gevent==0.1"))
    found = run(project, test)
    assert found.status == "unsupported"
    assert found.reason is not None
    assert found.reason.startswith("flask 3.1.3 on Python 3.11 cannot be served with gevent==0.1: ")
    assert kept(project, test) == []


def test_a_worker_that_nobody_knows(project: Project) -> None:
    with pytest.raises(UsageError, match=r"^no worker 'gthred' for flask; try gthread"):
        run(project, load_test(worker="gthred"))


class TestFaults:
    """Each is told, and what was seen before is kept."""

    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(running, "STALL", STALL)

    def reason(self, project: Project, harm: Callable[[], None]) -> str:
        """Return why the test failed when something was done to it after its first answers."""
        test = load_test(seconds=120.0, workers=2)
        done = False

        started: list[psutil.Process] = []

        def watch(seen: Sample) -> None:
            nonlocal done
            if seen.requests and not done:
                done = True
                started.extend(filter(is_ours, psutil.Process().children(recursive=True)))
                harm()

        found = run(project, test, watch=watch)
        assert done
        assert len(started) >= 4  # a master, two workers, locust
        assert psutil.wait_procs(started, timeout=20)[1] == []  # nor did one find another parent
        assert found.status == "failed"
        assert found.requests > 0
        assert found.samples
        assert found.seconds < 60
        assert kept(project, test) == [found]
        assert found.reason is not None
        return found.reason

    def test_it_is_reported_with_exit_code_4(
        self, project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """The whole command, whose worker dies in the middle."""
        monkeypatch.setenv("OUTLIVE_ROOT", str(project.root))
        monkeypatch.setattr("outlive.commands.one_stack_or_two.load.loads", self.killing)
        words = ["flask==3.1.3", "--python", "3.11", "--duration", "120s", "--clients", "4"]
        words += ["--json", str(tmp_path / "partial.json")]
        found = CliRunner().invoke(load_command, words, standalone_mode=False)
        assert found.return_value == ExitCode.FAULT
        assert "\n! failed: worker " in found.stdout
        (record,) = read(tmp_path / "partial.json").measurements
        assert record.status == "failed"
        assert record.requests > 0

    @contextlib.contextmanager
    def killing(self, *_: object) -> Iterator[LoadProgress]:
        def seen(sample: Sample) -> None:
            if sample.requests:
                self.process("gunicorn", worker=True).kill()

        yield cast("LoadProgress", SimpleNamespace(test=lambda *_: seen))

    def process(self, word: str, *, worker: bool = False) -> psutil.Process:
        (found,) = (one for one in psutil.Process().children() if word in " ".join(one.cmdline()))
        return found.children()[0] if worker else found

    def test_a_worker_is_killed(self, project: Project) -> None:
        worker = None

        def harm() -> None:
            nonlocal worker
            worker = self.process("gunicorn", worker=True)
            worker.kill()

        reason = self.reason(project, harm)
        assert worker is not None
        assert reason == f"worker {worker.pid} died (SIGKILL: perhaps out of memory)"

    def test_the_master_is_killed(self, project: Project) -> None:
        reason = self.reason(project, lambda: self.process("gunicorn").kill())
        assert reason == "gunicorn's master was killed by signal 9"

    def test_locust_is_killed(self, project: Project) -> None:
        reason = self.reason(project, lambda: self.process("locustfile").kill())
        assert reason.startswith("locust was killed by signal 9")

    def test_the_workers_are_stopped(self, project: Project) -> None:
        def harm() -> None:
            for worker in self.process("gunicorn").children():
                worker.suspend()

        reason = self.reason(project, harm)
        assert reason == "the server stopped answering: no request was answered for 2 s"

    def test_an_app_that_does_not_start(self, project: Project) -> None:
        (project.root / "apps").unlink()
        (project.apps / "flask").mkdir(parents=True)
        text = (Path(__file__).parents[2] / "apps" / "flask" / "app.toml").read_text()
        (project.apps / "flask" / "app.toml").write_text(text)
        (project.apps / "flask" / "v1.py").write_text("import no_such_module")
        test = load_test()
        found = run(project, test)
        assert found.status == "failed"
        assert found.reason == (
            "flask app does not start: ModuleNotFoundError: No module named 'no_such_module' (v1.py, line 1)"
        )


def test_a_soak_that_is_killed_is_kept_and_continued(project: Project) -> None:
    test = load_test(gc="off", seconds=60.0)
    paths = [str(Path(__file__).parents[1]), str(Path(running.__file__).parents[2])]
    code = HARNESS.format(path=paths, root=str(project.root))
    environment = os.environ | {"TMPDIR": str(project.root)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE) as harness:
        assert harness.stdout
        for _ in range(5):
            assert harness.stdout.readline() == b"seen\n"
        processes = [one for one in psutil.Process(harness.pid).children(recursive=True) if is_ours(one)]
        assert len(processes) >= 3  # a master, a worker, locust
        harness.send_signal(signal.SIGKILL)
        harness.wait(20)
    deadline = time.monotonic() + 10
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes):
        assert time.monotonic() < deadline
        time.sleep(0.1)

    (partial,) = kept(project, test)
    assert (partial.status, partial.reason) == ("partial", "the harness was ended in the middle")
    assert 0 < partial.seconds < 60
    earlier = LoadStore(project, test.stack.record).unfinished(test.deployment, test.traffic)
    assert earlier == partial

    def interrupt(seen: Sample) -> None:
        if seen.requests > partial.requests + 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(project, test, earlier=earlier, watch=interrupt)
    (found,) = kept(project, test)
    assert found.status == "partial"
    assert len(found.segments) == 2
    assert found.requests == partial.requests + found.segments[1].requests
    assert found.seconds > partial.seconds
    assert {one.segment for one in found.samples} == {0, 1}


def test_the_log_of_a_soak_stays_small(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlive.files.LONGEST_LOG", 2000)
    test = load_test()
    app = apps.load(project, "flask")
    environment = environments.ensure(test.stack.lock, test.stack.interpreter)
    with LoadServer(environment, app, project.apps / "flask", test.deployment) as server:
        server.boot()
        assert server.process is not None
        (line,) = server.lines
        with server._log_path.open("ab") as log:
            log.write(b"a traceback" * 200)
        server.look()
        assert server.log == ""
        assert line.pid
        psutil.Process(line.pid).kill()
        assert server.how_it_ended(line.pid) == "SIGKILL: perhaps out of memory"
        assert "\0" not in server.log


def test_exit_codes() -> None:
    measured, failed, unsupported = (
        load_measurement(status=status) for status in ("measured", "failed", "unsupported")
    )
    assert code([measured, unsupported]) == ExitCode.FINE
    assert code([measured, failed, unsupported]) == ExitCode.FAULT
    assert code([unsupported]) == ExitCode.UNAVAILABLE


class TestCommand:
    @pytest.fixture(autouse=True)
    def here(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OUTLIVE_ROOT", str(project.root))

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--gc", "periodic"], "gc policy 'periodic' does not have the form of periodic:1000"),
            (["--duration", "soon"], "'soon' is not a duration, as in 30s, 10m, 2h or 1h30m"),
            (["--duration", "9999999h"], "'9999999h' is not a duration, as in 30s, 10m, 2h or 1h30m"),
            (["--duration", "0s"], "'0s' is not a duration, as in 30s, 10m, 2h or 1h30m"),
            (
                ["--duration", "5s", "--requests", "5"],
                "--requests and --duration exclude each other: one of them ends the test",
            ),
            (["--worker-class", "gevnt"], "no worker 'gevnt' for flask; try gevent"),
            (["--user", "Errorheavy"], "no user 'Errorheavy'; try ErrorHeavy, ErrorStorm"),
            (["--rate", "-1"], "rate is -1: it must be more than 0, and finite"),
            (["--rate", "inf"], "rate is inf: it must be more than 0, and finite"),
            (["--gc", "offf"], f"no gc policy 'offf'; try on, off, freeze, {EXAMPLES}"),
            (["--python", "2.7"], "'2.7' is not a Python version, as in 3.11 or 3.12.1, nor a path"),
            (["--clients", "1", "--processes", "2"], "1 client cannot be spread over 2 workers"),
        ],
    )
    def test_bad_words_are_one_line(self, words: list[str], said: str) -> None:
        found = CliRunner().invoke(load_command, ["flask==3.1.3", *words], standalone_mode=False)
        assert isinstance(found.exception, UsageError)
        assert str(found.exception) == said

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["flask==3.1.3", "--requests", "0"], "'--requests': 0 is not in the range x>=1."),
            (
                ["flask==3.1.3", "--clients", "2000000"],
                "'--clients': 2000000 is not in the range 1<=x<=10000.",
            ),
            (["flask==9.9.9"], "flask has no release 9.9.9 in the catalogue; nearest: 3.1.3"),
            (["flask"], "'flask' is not NAME==VERSION, as in "),
            (["flsk==3.1.3"], "no framework 'flsk'; try flask"),
        ],
    )
    def test_what_does_not_exist_is_one_line(self, words: list[str], said: str) -> None:
        error = CliRunner().invoke(load_command, words, standalone_mode=False).exception
        assert isinstance(error, UsageError | ClickException)
        text = error.format_message() if isinstance(error, ClickException) else str(error)
        assert said in text
        assert "\n" not in text

    def test_two_policies_side_by_side(self, tmp_path: Path) -> None:
        file = tmp_path / "both.json"
        words = [
            "flask==3.1.3",
            "--python",
            "3.11",
            "--requests",
            "100",
            "--clients",
            "4",
            "--json",
            str(file),
        ]
        words += ["--gc", "on", "--gc", "periodic:20", "--scenario", "not-found"]
        words += ["--markdown", str(tmp_path / "both.md")]
        found = CliRunner().invoke(load_command, words, standalone_mode=False)
        assert found.return_value == ExitCode.FINE
        lines = found.stdout.splitlines()
        assert lines[0] == "flask 3.1.3, Python 3.11 · 1 gthread worker"
        assert [line.split()[0] for line in lines[3:6]] == ["gc", "on", "periodic:20"]
        policies = {one.deployment.gc: one for one in read(file).measurements}
        assert policies["periodic:20"].collections.count == 5
        rows = [line.split(" | ") for line in (tmp_path / "both.md").read_text().splitlines()]
        assert [(row[0], row[6]) for row in rows if row[0] == "| periodic:20"] == [("| periodic:20", "5")]


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("45", 45), ("10m", 600), ("2h", 7200), ("1h30m", 5400)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds
