"""What looks at a server under load: the probe in its workers, control groups, samples."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from outlive.errors import FaultError
from outlive.loads.cgroup import MemoryGroup, parents
from outlive.loads.server import Counted, Farewell, LoadBegun, WorkerLine
from outlive.stacks import pythons
from outlive.stacks.pythons import Interpreter
from outlive.worker import collector, load_probe

WORKER = """
import importlib.util, sys
def load(name):
    spec = importlib.util.spec_from_file_location(name, f"{sys.argv[1]}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
probe, load_probe, holdings = load("probe"), load("load_probe"), load("holdings").Holdings()
pauses = load("collector").Pauses()
import gc
periods = []
counter = probe.Probe(holdings, None, pauses, periodic=periods.append)
drop = load("idle").IdleWatch.drop_cancelled_timers
found = load_probe.start(sys.argv[2], counter, pauses, sys.argv[3], False, drop_timers=drop)
kept = []
class Node:
    def __init__(self):
        self.itself = self
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""
OWN = 5
"""Objects that the probe itself may leave: under load there is no need to be exact."""
FOLDER = Path(load_probe.__file__).parent


class Worker:
    """A process with the probe for load that runs one line after the other."""

    def __init__(self, process: subprocess.Popen[str], line: WorkerLine) -> None:
        self.process = process
        self.line = line

    def do(self, code: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def begin(self) -> None:
        self.line.ask("begin")
        assert self.line.wait(LoadBegun).idle

    def count(self) -> Counted:
        self.line.ask("collector")
        self.line.ask("count")
        found = self.line.wait(Counted)
        assert found.idle
        return found


@contextmanager
def working(python: Path | str, folder: Path, policy: str) -> Iterator[Worker]:
    path = str(folder / "probe.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(30)
        command = [str(python), "-I", "-c", WORKER, str(FOLDER), path, policy]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            line = WorkerLine(listener.accept()[0], lambda _: "SIGBUS")
            try:
                worker = Worker(process, line)
                worker.do("Node()")
                yield worker
            finally:
                line.close()
                process.wait(20)


@pytest.fixture(params=pythons.installed(), ids=lambda found: found.minor)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    assert isinstance(request.param, Interpreter)
    return request.param


class TestProbe:
    def test_survivors_are_counted_against_the_beginning(
        self, interpreter: Interpreter, tmp_path: Path
    ) -> None:
        with working(interpreter.path, tmp_path, "off") as worker:
            worker.do("kept += [[] for _ in range(50)]")
            worker.begin()
            worker.do("kept += [[] for _ in range(700)]")
            worker.do("for _ in range(300): Node()")
            found = worker.count()
            assert found.leaked == pytest.approx(700, abs=OWN)
            each = (found.survivors - found.leaked) / 300  # a __dict__ is an object of its own, or not
            assert each == pytest.approx(1, abs=0.05) or each == pytest.approx(2, abs=0.05)
            assert found.types_kept["list"] == pytest.approx(700, abs=OWN)

    @pytest.mark.parametrize("policy", ["on", "freeze", "thresholds:50,5,5"])
    def test_pauses_are_noted_and_own_collections_are_not(self, tmp_path: Path, policy: str) -> None:
        with working(sys.executable, tmp_path, policy) as worker:
            worker.do("for _ in range(5000): Node()")
            worker.begin()
            worker.do("for _ in range(5000): Node()")
            found = worker.count()
            done = worker.line.collections
            assert found.leaked == pytest.approx(0, abs=100)  # nothing is frozen: also what others let go of
            assert found.survivors >= 4900
            assert 0 < done.count == sum(count for _, count in done.histogram)
            assert 0 < done.freed <= found.survivors
            assert 0 < done.p99 <= done.longest <= done.pause

    @pytest.mark.parametrize(
        ("policy", "code"),
        [
            ("on", "assert gc.isenabled() and not gc.get_freeze_count()"),
            ("off", "assert not gc.isenabled()"),
            ("freeze", "assert gc.isenabled() and gc.get_freeze_count() > 1000"),
            ("thresholds:123,4,5", "assert gc.isenabled() and gc.get_threshold()[:2] == (123, 4)"),
            ("periodic:70", "assert not gc.isenabled() and periods == [70]"),
        ],
    )
    def test_a_policy_holds_from_the_start_and_after_the_beginning(
        self, tmp_path: Path, policy: str, code: str
    ) -> None:
        with working(sys.executable, tmp_path, policy) as worker:
            worker.do(code)
            worker.begin()
            worker.do(code)

    def test_what_the_interpreter_keeps_for_threads_is_left_alone(self, tmp_path: Path) -> None:
        with working(sys.executable, tmp_path, "on") as worker:
            worker.begin()
            worker.do("assert sys.getswitchinterval() == 0.005")

    @pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's threads")
    def test_a_thread_that_waits_for_a_core_is_not_at_rest(self, tmp_path: Path) -> None:
        """It uses no CPU time meanwhile, just as one that has nothing to do."""
        core = f"os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})"
        hog = [sys.executable, "-c", f"import os; {core}\nprint(flush=True)\nwhile True: pass"]
        with (
            working(sys.executable, tmp_path, "off") as worker,
            subprocess.Popen(hog, stdout=subprocess.PIPE) as other,
        ):
            try:
                assert other.stdout is not None
                other.stdout.readline()
                worker.do("import os, threading, zlib; data = bytes(1 << 26); load_probe.REST_LIMIT = 0.5")
                idle = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
                work = "any(zlib.crc32(data) < 0 for _ in iter(int, 1))"  # without the GIL
                worker.do(f"threading.Thread(target=lambda: ({core}, {idle}, {work}), daemon=True).start()")
                worker.line.ask("begin")
                assert not worker.line.wait(LoadBegun).idle
            finally:
                other.kill()

    def test_what_abstract_classes_remember_of_types_is_not_counted(
        self, interpreter: Interpreter, tmp_path: Path
    ) -> None:
        """Which types they meet first under load, and when, is chance: it is no leak."""
        with working(interpreter.path, tmp_path, "off") as worker:
            worker.do("from collections.abc import Mapping")
            worker.do("classes = [type(f'M{i}', (Mapping,), {}) for i in range(70)]")
            worker.begin()
            worker.do("assert not isinstance(3.5, Mapping)")
            assert worker.count().survivors == pytest.approx(0, abs=OWN)

    def test_a_farewell_is_no_death(self, tmp_path: Path) -> None:
        with working(sys.executable, tmp_path, "on") as worker:
            worker.do("found.farewell()")
            worker.line.read()
            assert worker.line.end() == "recycled"

    def test_a_death_is_told(self, tmp_path: Path) -> None:
        with working(sys.executable, tmp_path, "on") as worker:
            worker.begin()  # by then it has said who it is
            assert worker.line.end() == "served"
            worker.process.kill()
            worker.process.wait(10)
            with pytest.raises(FaultError, match=r"^worker \d+ died \(SIGBUS\)$"):
                worker.line.wait(Counted)
            assert worker.line.end() == "killed"

    def test_one_that_does_not_answer_is_not_waited_for_for_ever(self, tmp_path: Path) -> None:
        with working(sys.executable, tmp_path, "on") as worker:
            worker.begin()
            with pytest.raises(FaultError, match=r"^worker \d+ did not answer its probe within 0.2 s$"):
                worker.line.wait(Counted, limit=0.2)

    def test_pauses_take_no_more_room_however_many_there_are(self) -> None:
        pauses = collector.Pauses()
        for _ in range(3):
            pauses.started = -1e9  # a pause of many years, and whatever comes after it
            pauses("stop", {"generation": 0, "collected": 1})
            pauses("start", {"generation": 0})
            pauses("stop", {"generation": 0, "collected": 0})
        assert len(pauses.buckets) == collector.LONGEST
        assert sum(count for _, count in pauses.sums()["pauses"]) == 6


class TestMemoryGroup:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        (tmp_path / "own").write_text("4:memory:/mine\n2:cpu:/other\n0::/unified-mine\n")
        return tmp_path

    def test_without_control_groups_there_is_none(self, root: Path) -> None:
        for own in (root / "own", root / "missing"):
            with MemoryGroup(root, own) as group:
                group.add(1)
                group.reset()
                assert (group.peak(), group.source) == (None, None)

    def test_a_group_without_accounts_is_not_used(self, root: Path) -> None:
        mine = root / "memory" / "mine"
        mine.mkdir(parents=True)
        (mine / "cgroup.procs").touch()
        with MemoryGroup(root, root / "own") as group:
            assert group.source is None
        assert [path.name for path in mine.iterdir()] == ["cgroup.procs"]

    def test_what_a_killed_harness_left_is_removed(self, root: Path) -> None:
        mine = root / "memory" / "mine"
        (mine / "outlive-999999999-1").mkdir(parents=True)
        (mine / f"outlive-{os.getpid()}-77").mkdir()
        (mine / "cgroup.procs").touch()
        MemoryGroup(root, root / "own")
        assert sorted(path.name for path in mine.glob("outlive-*")) == [f"outlive-{os.getpid()}-77"]

    @pytest.mark.parametrize(
        ("limits", "places"),
        [
            ({"memory.max": "max\n", "cpu.max": "max 100000\n"}, ["app/scope", "app"]),
            ({}, ["app/scope", "app"]),
            ({"memory.max": "1048576\n"}, ["app/scope"]),
            ({"memory.max": "max\n", "cpu.max": "50000 100000\n"}, ["app/scope"]),
        ],
    )
    def test_in_v2_it_may_be_beside_our_own_where_that_has_no_limits(
        self, root: Path, limits: dict[str, str], places: list[str]
    ) -> None:
        (root / "own").write_text("0::/app/scope\n")
        (root / "app" / "scope").mkdir(parents=True)
        for group in ("app/scope", "app", "."):
            (root / group / "cgroup.procs").touch()
        for name, limit in limits.items():
            (root / "app" / "scope" / name).write_text(limit)
        assert parents(root, root / "own") == [root / place for place in places]

    def test_in_v1_and_at_the_root_it_is_below_our_own(self, root: Path) -> None:
        (root / "own").write_text("4:memory:/job/mine\n0::/\n")
        (root / "memory" / "job" / "mine").mkdir(parents=True)
        for group in ("memory/job/mine", "memory/job", "."):
            (root / group / "cgroup.procs").touch()
        assert parents(root, root / "own") == [root / "memory/job/mine", root]

    def test_the_real_one_knows_the_peak_of_a_process(self) -> None:
        with MemoryGroup() as group:
            if group.source is None:
                pytest.skip("no control group can be made here")
            code = "import sys; sys.stdin.read(1); x = bytearray(64 * 1024 * 1024); x[::4096] = b'x' * 16384"
            with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
                group.add(process.pid)
                process.communicate(b"x")
            peak = group.peak()
            assert peak is not None
            assert 64 * 1024**2 < peak < 256 * 1024**2
            path = group.path
        assert path is not None
        assert not path.exists()


def test_messages_are_json_lines() -> None:
    ours, theirs = socket.socketpair()
    line = WorkerLine(ours, lambda _: "")
    with ours, theirs:
        theirs.send(json.dumps({"type": "hello", "pid": 7, "python": "3.11.1"}).encode()[:9])
        line.read()
        assert line.pid is None
        theirs.send(json.dumps({"type": "hello", "pid": 7, "python": "3.11.1"}).encode()[9:] + b"\n")
        line.read()
        assert line.pid == 7


def test_the_last_words_of_a_worker_are_read_although_it_takes_no_more_commands() -> None:
    ours, theirs = socket.socketpair()
    line = WorkerLine(ours, lambda _: "")
    with ours:
        with theirs:
            farewell = Farewell(collections=0, freed=0, pause=0, longest=0, pauses=(), aborted=False)
            theirs.send(msgspec.json.encode(farewell) + b"\n")
        line.ask("collector")
        line.read()
    assert line.end() == "recycled"
