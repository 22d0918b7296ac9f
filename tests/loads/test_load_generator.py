"""A real locust against a server of ours: what is sent, what goes wrong, and that nothing is left."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from loading import Lingering, Stall, Stub
from measuring import CHECKOUT
from outlive.errors import FaultError, UsageError
from outlive.loads.generator import generate, patience
from outlive.records.load import Generated, Traffic
from outlive.records.measurement import ASKED, Connection
from outlive.service.users import weights

WEIGHTS = weights(CHECKOUT.loadtests, "ErrorHeavy")
ENDLESS = 10**6
HARNESS = """
import sys
from pathlib import Path
from outlive.loads.generator import generate, patience
from outlive.records.load import Traffic
from outlive.project import Project

generate(
    ("127.0.0.1", int(sys.argv[1])),
    Traffic(user="Steady", requests=10**6, clients=2, workers=2, rate=50),
    project=Project(Path(sys.argv[2])),
    progress=lambda seen: print(seen.requests, flush=True),
)
"""


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No locust outlives a test, nor a temporary file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert locusts() == []
    assert list(tmp_path.glob("outlive-*")) == []


def locusts() -> list[psutil.Process]:
    """Return the live locust processes that we started, the master first."""
    found = [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in found if "locust" in p.cmdline()]


def own(stub: Stub, folder: Path, code: str, **options: Any) -> Generated:
    """Send what the user's own locustfile says."""
    (folder / "user.py").write_text(f"from locust import HttpUser, task\n{code}\n")
    traffic = Traffic(user=str(folder / "user.py"), seconds=1.0, clients=1)
    return generate(stub.address, traffic, project=CHECKOUT, **options)


def counts(generated: Generated) -> dict[str, int]:
    return {one.scenario: one.requests for one in generated.scenarios}


@pytest.mark.parametrize("connection", ASKED)
def test_the_bytes_and_numbers_are_exactly_those_of_the_scenarios(connection: Connection) -> None:
    with Stub() as stub:
        found = generate(
            stub.address, Traffic(requests=200, clients=5, connection=connection), project=CHECKOUT
        )
    assert (found.requests, found.unexpected, found.faults, found.stopped) == (200, 0, (), None)
    assert counts(found) == {name: 2 * weight for name, weight in WEIGHTS.items()}
    assert (stub.strange, dict(stub.seen)) == ([], counts(found))
    if connection == "close":
        assert stub.connections == 200
    else:  # one for each client, and one more after each request that ends its connection
        ending = ("truncated-body", "abort-upload", "abort-response", "malformed-request", "stream-error")
        assert stub.connections <= 5 + sum(stub.seen[name] for name in ending)


def test_a_client_that_goes_on_over_another_connection_closes_the_one_that_the_server_has_closed() -> None:
    scenarios = ("upload-too-large", "malformed-request")
    with Lingering(closing="upload-too-large") as stub:
        traffic = Traffic(requests=60, clients=1, scenarios=scenarios)
        found = generate(stub.address, traffic, project=CHECKOUT)
    assert (found.requests, found.unexpected, stub.in_vain) == (60, 0, 0)


def test_wrong_answers_are_failures() -> None:
    wrong = {"not-found": "200", "stream-error": "200", "malformed-request": "200", "ok": "302"}
    with Stub(wrong=wrong) as stub:
        found = generate(stub.address, Traffic(requests=100, clients=3), project=CHECKOUT)
    unexpected = {one.scenario: one.unexpected for one in found.scenarios if one.unexpected}
    assert unexpected == {name: WEIGHTS[name] for name in wrong}
    assert (found.unexpected, found.stopped) == (sum(unexpected.values()), None)
    wording = "the app or the server is wrong"
    assert found.faults == (
        (f"ok was answered '302', not '200': {wording}", 40),
        (f"not-found was answered '200', not '404': {wording}", 8),
        (f"malformed-request was answered '200', not '400': {wording}", 1),
        (f"stream-error was answered '200', not '200 cut': {wording}", 1),
    )


def test_a_stall_is_seen_by_all_the_requests_that_were_due_in_it() -> None:
    stall = Stall(at=100, seconds=1.5)
    with Stub(before=stall) as stub:
        traffic = Traffic(requests=300, rate=100, clients=4, scenarios=("ok",))
        found = generate(stub.address, traffic, project=CHECKOUT)
    (ok,) = found.scenarios
    assert (ok.requests, ok.unexpected) == (300, 0)
    # 150 were due while nothing was answered. Counted from when they were sent, there would be 4 slow ones.
    slow = sum(count for upper, count in ok.histogram if upper > 0.75)
    assert slow >= 60
    assert ok.p99 > 1
    assert ok.longest >= 1.5


def test_for_a_duration_what_was_begun_is_answered_and_what_was_not_sent_is_counted() -> None:
    with Stub(before=lambda _: time.sleep(0.05)) as stub:
        traffic = Traffic(user="Steady", seconds=2, rate=200, clients=4)
        found = generate(stub.address, traffic, project=CHECKOUT)
    assert found.stopped is None
    assert found.unexpected == 0
    assert found.requests == stub.requests
    assert 1 <= found.requests <= 4 * 2.5 / 0.05
    assert found.unsent > 0
    assert 0 < found.cores <= found.busiest < 1.1


def test_several_workers_send_the_exact_number_together() -> None:
    with Stub() as stub:
        seen: list[int] = []
        found = generate(
            stub.address,
            Traffic(requests=301, clients=4, workers=2, rate=150),
            project=CHECKOUT,
            progress=lambda _: seen.append(len(locusts())),
        )
    assert (found.requests, found.unexpected, found.stopped) == (301, 0, None)
    assert Counter(counts(found)) == stub.seen
    assert set(seen) == {3}  # a master and two workers


class TestFaults:
    def test_a_server_that_stops_answering(self) -> None:
        with Stub(before=Stall(at=50, seconds=5)) as stub:
            traffic = Traffic(user="Steady", requests=ENDLESS, clients=2)
            found = generate(stub.address, traffic, project=CHECKOUT, stall=1)
            assert found.stopped == "the server stopped answering: no request was answered for 1 s"
            assert found.requests in {48, 49}
            assert found.unexpected == 0

    def test_no_server(self) -> None:
        with Stub() as stub:
            pass
        traffic = Traffic(requests=ENDLESS, clients=2, scenarios=("handler-error", "truncated-body"))
        found = generate(stub.address, traffic, project=CHECKOUT, stall=1)
        assert found.stopped == "the server stopped answering: no request was answered for 1 s"
        assert found.requests == found.unexpected > 0
        assert {text.partition(":")[0] for text, _ in found.faults} == {
            "handler-error got no answer",
            "truncated-body",
        }

    def test_locust_is_killed(self) -> None:
        reports: list[Generated] = []

        def kill(seen: Generated) -> None:
            reports.append(seen)
            if seen.requests:
                locusts()[0].kill()

        with Stub() as stub, pytest.raises(FaultError) as caught:
            generate(
                stub.address,
                Traffic(user="Steady", requests=ENDLESS, clients=2, rate=50),
                project=CHECKOUT,
                progress=kill,
            )
        assert str(caught.value).startswith("locust was killed by signal 9: ")
        assert 0 < reports[-1].requests <= stub.requests

    def test_its_report_cannot_be_written(self) -> None:
        with (
            Stub() as stub,
            pytest.raises(FaultError, match=r"^locust's report cannot be written: free some"),
        ):
            generate(
                stub.address,
                Traffic(user="Steady", requests=ENDLESS, clients=2, rate=50),
                project=CHECKOUT,
                progress=lambda _: locusts()[0].rlimit(psutil.RLIMIT_FSIZE, (0, 0)),
            )

    def test_a_worker_is_killed(self) -> None:
        def kill(seen: Generated) -> None:
            if seen.requests and len(found := locusts()) == 3:
                found[-1].kill()

        with Stub() as stub:
            found = generate(
                stub.address,
                Traffic(user="Steady", requests=ENDLESS, clients=2, rate=50, workers=2),
                project=CHECKOUT,
                progress=kill,
            )
        assert found.stopped == "a locust worker was lost"
        assert 0 < found.requests <= stub.requests

    def test_locust_does_not_start(self, tmp_path: Path) -> None:
        project = type(CHECKOUT)(tmp_path)
        project.loadtests.mkdir()
        for name in ("users.toml", "scenarios.toml"):
            (project.loadtests / name).write_text((CHECKOUT.loadtests / name).read_text())
        (project.loadtests / "locustfile.py").write_text("import no_such_module")
        reports: list[Generated] = []
        with pytest.raises(FaultError) as caught:
            generate(("127.0.0.1", 1), Traffic(requests=1), project=project, progress=reports.append)
        wording = "ModuleNotFoundError: No module named 'no_such_module'"
        assert str(caught.value) == f"locust ended with status 1: {wording}"
        assert not reports

    @pytest.mark.parametrize(
        ("code", "reason"),
        [
            ("x = 1", "user.py: no user in it"),
            ("class User(HttpUser):\n    abstract = True", "user.py: no user in it"),
            ("raise RuntimeError('no')", "RuntimeError: no"),
        ],
    )
    def test_a_locustfile_that_sends_nothing(self, tmp_path: Path, code: str, reason: str) -> None:
        """Otherwise our own users would send, under its name."""
        with Stub() as stub, pytest.raises(FaultError, match=rf"status 1: .*{reason}$"):
            own(stub, tmp_path, code)
        assert stub.seen.total() == 0

    def test_a_locustfile_that_hangs_while_it_is_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("outlive.loads.generator.SILENCE", 0.5)
        where = r"user\.py: no request within 0\.5 s: it hangs while it is imported$"
        with Stub() as stub, pytest.raises(FaultError, match=where):
            own(stub, tmp_path, "while True:\n    pass")

    def test_a_user_that_hangs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It blocks all of locust, which then makes no report."""
        code = "class User(HttpUser):\n    @task\n    def ok(self):\n        while True:\n            pass"

        def impatient(_: Generated) -> None:
            monkeypatch.setattr("outlive.loads.generator.SILENCE", 0.5)

        where = r"user\.py: no request within 0\.5 s: a user of it hangs$"
        with Stub() as stub, pytest.raises(FaultError, match=where):
            own(stub, tmp_path, code, progress=impatient)

    @pytest.mark.parametrize("hook", ["@task\n    def ok", "tasks = [print]\n    def on_start"])
    def test_users_that_never_send(self, tmp_path: Path, hook: str) -> None:
        code = f"import time\nclass User(HttpUser):\n    {hook}(self): time.sleep(9)"
        with Stub() as stub:
            assert own(stub, tmp_path, code).stopped == "no request was answered: none within 1 s"

    @pytest.mark.parametrize(
        ("asked", "seconds"), [({"seconds": 5.0}, 35), ({"seconds": 600.0}, 60), ({"requests": 9}, 60)]
    )
    def test_the_patience_follows_from_the_duration(self, asked: dict[str, Any], seconds: float) -> None:
        assert patience(Traffic(**asked)) == seconds

    def test_tasks_that_only_raise(self, tmp_path: Path) -> None:
        with Stub() as stub:
            found = own(
                stub, tmp_path, "class User(HttpUser):\n    @task\n    def ok(self): raise ValueError(7)"
            )
        assert found.stopped == "no request was answered: a task raised ValueError: 7"
        assert found.faults[0][0] == "a task raised ValueError: 7"

    def test_a_daemon_of_a_locustfile_ends_with_it(self, tmp_path: Path) -> None:
        daemon = "Popen(['sleep', '600'], start_new_session=True)"
        code = f"from subprocess import Popen\nprint({daemon}.pid, file=open({str(tmp_path / 'pid')!r}, 'w'))"
        with Stub() as stub, pytest.raises(FaultError):
            own(stub, tmp_path, code)
        pid = int((tmp_path / "pid").read_text())
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    def test_options_of_locust_in_the_environment_change_nothing(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in (("LOCUST_TAGS", "ok"), ("LOCUST_USERS", "3")):
            monkeypatch.setenv(name, value)
        with Stub() as stub:
            found = generate(stub.address, Traffic(requests=100, clients=1), project=CHECKOUT)
        assert counts(found) == WEIGHTS

    def test_its_log_stays_small(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("outlive.files.LONGEST_LOG", 1000)
        sizes: list[int] = []

        def fill(_: Generated) -> None:
            (log,) = tmp_path.glob("outlive-*/locust.log")
            sizes.append(log.stat().st_size)
            with log.open("ab") as file:
                file.write(b"a traceback" * 200)

        traffic = Traffic(user="Steady", seconds=3.0, clients=1, rate=20)
        with Stub() as stub:
            generate(stub.address, traffic, project=CHECKOUT, progress=fill)
        assert len(sizes) > 1
        assert max(sizes) <= 2200

    def test_a_limit_of_open_files_that_is_too_low(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its clients would fail for want of files, and the server would be blamed."""
        monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 1024))
        with pytest.raises(FaultError, match=r"^1000 clients need 1050 open files: `ulimit -n` allows 1024$"):
            generate(("127.0.0.1", 1), Traffic(requests=1, clients=1000), project=CHECKOUT)

    def test_traffic_that_cannot_be_sent(self) -> None:
        with pytest.raises(UsageError, match="no user 'Nobody'"):
            generate(("127.0.0.1", 1), Traffic(user="Nobody", requests=1), project=CHECKOUT)

    def test_all_of_locust_dies_with_a_harness_that_is_killed(self, tmp_path: Path) -> None:
        (folder := tmp_path / "left").mkdir()  # who is killed leaves its temporary files
        with Stub() as stub:
            argv = [sys.executable, "-c", HARNESS, str(stub.address[1]), str(CHECKOUT.root)]
            with subprocess.Popen(
                argv, stdout=subprocess.PIPE, env=os.environ | {"TMPDIR": str(folder)}
            ) as harness:
                assert harness.stdout
                harness.stdout.readline()
                running = locusts()
                harness.send_signal(signal.SIGKILL)
            assert len(running) == 3
            _, alive = psutil.wait_procs(running, timeout=20)
            assert alive == []
