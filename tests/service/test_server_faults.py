"""What goes wrong while measuring: a clear reason, other cells go on, and nothing is left behind."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from measuring import FRAMEWORKS, SCENARIOS, cell, measured, planted, reference, served
from outlive.errors import FaultError
from outlive.records.measurement import CONNECTIONS, Connection, Measurement
from outlive.replay import client
from outlive.replay.measure import measure
from outlive.replay.subject import Task
from outlive.service import gunicorn, wire

pytestmark = pytest.mark.real

KEYS = [cell("ok"), cell("not-found"), cell("ok", "keep-alive")]
RUN = """
import sys
sys.path[:0] = {path!r}
from measuring import cell, measured, reference
cells = [cell(name) for name in ("ok", "not-found", "upload")]
print("up", flush=True)
for _ in range(1000):
    measured(reference("flask"), *cells)
"""


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary folders of servers are made here, and gone in the end."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.glob("outlive-*")) == []


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    yield
    assert [child.cmdline() for child in psutil.Process().children() if "gunicorn" in child.cmdline()] == []


def reasons(found: list[Measurement]) -> list[str | None]:
    return [one.reason for one in found]


def gunicorns(folder: Path) -> list[psutil.Process]:
    """Return the live servers whose temporary files are in `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            ended = process.status() == psutil.STATUS_ZOMBIE
            if not ended and process.environ().get("TMPDIR", "").startswith(f"{folder}/outlive-"):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


class TestStart:
    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
            ("app = 1 / 0", "ZeroDivisionError: division by zero"),
            ("def app(:", "SyntaxError: invalid syntax"),
            ("raise SystemExit", "it ended itself with exit code 0 while it was loaded"),
            ("raise SystemExit(3)", "it ended itself with exit code 3 while it was loaded"),
            (
                "import sys; sys.exit('no key')",
                "it ended itself with exit code 1 while it was loaded: no key",
            ),
            ("raise KeyboardInterrupt", "it raised KeyboardInterrupt while it was loaded"),
        ],
    )
    def test_an_app_that_cannot_be_imported(self, tmp_path: Path, source: str, reason: str) -> None:
        (tmp_path / "broken.py").write_text(source)
        found = measured(served("flask", "broken:app", tmp_path), *KEYS)
        assert reasons(found) == [f"flask app does not start: {reason} (broken.py, line 1)"] * 3
        assert {one.status for one in found} == {"failed"}

    @pytest.mark.parametrize(
        ("end", "how"), [("_exit(3)", "ended with status 3"), ("abort()", "was killed by signal 6")]
    )
    def test_an_app_that_ends_at_once_and_says_nothing(self, tmp_path: Path, end: str, how: str) -> None:
        (tmp_path / "broken.py").write_text(f"import os\nos.{end}")
        (found,) = measured(served("flask", "broken:app", tmp_path), KEYS[0])
        assert found.reason == f"flask app does not start: it {how} while it was loaded: it said nothing"

    @pytest.mark.parametrize("preload", [True, False])
    @pytest.mark.parametrize(
        ("code", "line"),
        [
            ("raise SystemExit(7)", 1),
            ("def end():\n    raise SystemExit(7)", 2),
            ("def end(app):\n    raise SystemExit(7)", 2),
        ],
    )
    def test_a_practice_that_ends_the_process(
        self, tmp_path: Path, code: str, line: int, preload: bool
    ) -> None:
        practice = tmp_path / "practice.py"
        practice.write_text(code)
        subject = reference("flask")
        worker = msgspec.structs.replace(subject.app.workers[0], preload=preload)
        worker = worker.told(OUTLIVE_PRACTICES=f"{practice}:end")
        app = msgspec.structs.replace(subject.app, workers=(worker,))
        (found,) = measured(msgspec.structs.replace(subject, app=app), KEYS[0])
        ended = "it ended itself with exit code 7 while it was loaded"
        assert found.reason == f"flask app does not start: {ended} (practice.py, line {line})"

    def test_an_app_that_never_starts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gunicorn, "BOOT_LIMIT", 0.5)
        (tmp_path / "slow.py").write_text("import time\ntime.sleep(600)")
        (found,) = measured(served("flask", "slow:app", tmp_path), KEYS[0])
        assert found.reason is not None
        assert found.reason.startswith("no worker within 0.5 s: ")

    def test_an_app_whose_workers_end_again_and_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gunicorn, "BOOT_LIMIT", 3.0)
        (tmp_path / "broken.py").write_text(
            "import os\nos.register_at_fork(after_in_child=lambda: os._exit(9))\napp = print"
        )
        (found,) = measured(served("flask", "broken:app", tmp_path), KEYS[0])
        assert found.reason == "no worker within 3 s: the last one died (exit code 9)"

    def test_another_app_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "broken.py").write_text("import no_such_module")
        tasks = [
            Task(served("flask", "broken:app", tmp_path), (KEYS[0],)),
            Task(reference("flask"), (KEYS[0],)),
        ]
        found = measure(tasks, SCENARIOS, 1, lambda _: None)
        assert [one.status for one in found] == ["failed", "measured"]


@pytest.mark.parametrize("framework", FRAMEWORKS)
class TestWhileMeasuring:
    def others_go_on(self, framework: str, plant: str, connection: Connection = "close") -> str:
        """Return why `ok` failed, when `malformed-request`, which meets no plant, did not."""
        spared = "malformed-request"
        cells = (cell(spared, connection), cell("ok", connection), cell(spared, connection, "on"))
        found = measured(planted(framework, plant), *cells)
        assert [one.status for one in found] == ["measured", "failed", "measured"]
        assert found[1].reason is not None
        return found[1].reason

    @pytest.mark.parametrize("connection", CONNECTIONS)
    def test_the_worker_is_killed(self, framework: str, connection: Connection) -> None:
        assert self.others_go_on(framework, "die", connection) == (
            "the worker died (SIGKILL: perhaps out of memory)"
        )

    def test_the_worker_exits(self, framework: str) -> None:
        assert self.others_go_on(framework, "exit_with_3") == "the worker died (exit code 3)"

    def test_the_master_is_killed(self, framework: str) -> None:
        assert self.others_go_on(framework, "kill_the_master") == (
            "the worker died (gunicorn's master was killed by signal 9)"
        )

    def test_an_answer_does_not_come(self, framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (client, wire):
            monkeypatch.setattr(module, "TIMEOUT", 1.0)
        assert self.others_go_on(framework, "hang") == "ok: no answer within 1 s: the server hangs"

    def test_a_wrong_answer_is_never_a_measurement(self, framework: str) -> None:
        assert self.others_go_on(framework, "wrong_answer") == (
            "ok was answered '500', not '200': the app or the server is wrong"
        )


def test_a_master_that_dies_between_two_cells_is_replaced(folders: Path) -> None:
    results: list[Measurement] = []

    def done(measurement: Measurement) -> None:
        results.append(measurement)
        if len(results) == 1:
            for process in gunicorns(folders):
                process.kill()

    measure([Task(reference("flask"), (cell("ok"), cell("not-found")))], SCENARIOS, 1, done)
    assert [(one.scenario, one.status) for one in results] == [("ok", "measured"), ("not-found", "measured")]


def test_an_interruption_ends_all_servers(folders: Path) -> None:
    def interrupted(measurement: Measurement) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure([Task(reference("flask"), (cell("ok"), cell("not-found")))], SCENARIOS, 2, interrupted)
    assert gunicorns(folders) == []


@pytest.mark.parametrize(("number", "tidy"), [(signal.SIGINT, True), (signal.SIGKILL, False)])
def test_a_harness_that_is_ended_leaves_no_process(
    tmp_path: Path, number: signal.Signals, tidy: bool
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    source = str(Path(gunicorn.__file__).parents[1])
    code = RUN.format(path=[str(Path(__file__).parents[1]), source])
    harness = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with harness:
        assert harness.stdout
        assert harness.stdout.readline() == b"up\n"
        wait_for(lambda: len(gunicorns(folder)) >= 2)  # a master and its worker
        harness.send_signal(number)
        harness.wait(20)
        wait_for(lambda: not gunicorns(folder))
    assert (list(folder.glob("outlive-*")) == []) == tidy


def wait_for(condition: Callable[[], bool], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_an_error_of_ours_is_not_taken_for_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[gunicorn.Server] = []
    start = gunicorn.Server.__enter__

    def counted(self: gunicorn.Server) -> gunicorn.Server:
        started.append(self)
        return start(self)

    monkeypatch.setattr(gunicorn.Server, "__enter__", counted)

    def no_room(_: Measurement) -> None:
        raise FaultError("results: the disk is full")

    with pytest.raises(FaultError, match=r"^results: the disk is full$"):
        measure([Task(reference("flask"), tuple(KEYS))], SCENARIOS, 1, no_room)
    assert len(started) == 1


def test_a_graph_that_cannot_be_written_is_no_leak_without_explanation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gunicorn.Server, "graph_path", Path("/dev/full/graph.json"))
    with pytest.raises(NotADirectoryError, match=r"graph\.json"):
        measured(planted("flask", "cycle"), cell())


def test_few_open_files_and_a_long_path_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard))
    try:
        (found,) = measured(reference("flask"), cell())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (found.status, found.reason) == ("measured", None)
