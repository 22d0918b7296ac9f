"""The probe in a process without a server, on each Python that is installed: what it counts is exact."""

from __future__ import annotations

import ast
import operator
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from outlive.errors import FaultError
from outlive.replay.measure import INCREMENTAL
from outlive.service.probe_line import Count, ProbeLine
from outlive.stacks import pythons
from outlive.stacks.pythons import Interpreter
from outlive.worker import probe
from outlive.worker.idle import IdleWatch

FOLDER = Path(probe.__file__).parent
SOURCES = sorted(FOLDER.rglob("*.py"))
SIBLINGS = {path.stem for path in SOURCES}  # each loads others of the folder by path
WORKER = """
import importlib.util, sys, threading
def load(name):
    spec = importlib.util.spec_from_file_location(name, f"{sys.argv[1]}/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
probe, idle, holdings, collector = (load(one) for one in ("probe", "idle", "holdings", "collector"))
probe.start(sys.argv[2], probe.Probe(holdings.Holdings(), None, collector.CollectorLog()), idle.IdleWatch)
kept = []
class Node:
    def __init__(self):
        self.itself = self
class Heir:
    def __del__(self):
        Node()
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Worker:
    """A process with a probe that runs one line after the other."""

    def __init__(self, process: subprocess.Popen[str], line: ProbeLine) -> None:
        self.process = process
        self.line = line

    def do(self, code: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def count(self, code: str = "pass") -> Count:
        """Return what is counted after `code`."""
        self.do(code)
        count = self.line.count()
        assert count.idle
        return count


@contextmanager
def working(
    python: Path | str, folder: Path, policy: str = "off", *, frozen: bool = False
) -> Iterator[Worker]:
    path = str(folder / f"{policy}-{frozen}.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        command = [str(python), "-I", "-c", WORKER, str(FOLDER), path]
        # coverage, where it runs, would be counted
        env = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        ) as process:
            line = ProbeLine(listener.accept()[0], lambda _: "SIGBUS")
            try:
                worker = Worker(process, line)
                worker.do("Node(); Heir()")
                worker.line.begin(policy, frozen=frozen)
                yield worker
            finally:
                line.close()
                process.wait(20)


@pytest.fixture(params=pythons.installed(), ids=lambda found: found.minor)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    assert isinstance(request.param, Interpreter)
    return request.param


def test_it_introduces_itself(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path) as worker:
        hello = worker.line.hello
        assert (hello.pid, hello.python, hello.counting) == (
            worker.process.pid,
            interpreter.version,
            probe.COUNTING,
        )


def test_objects_are_counted_exactly(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path) as worker:
        worker.count()
        for number in (1, 7, 500):
            count = worker.count(f"kept += [[] for _ in range({number})]")
            assert (count.survivors, count.leaked) == (number, number)
            assert count.types_kept == {"list": number}
        count = worker.count("kept.clear()")
        assert (count.survivors, count.leaked) == (-508, -508)
        count = worker.count()
        assert (count.survivors, count.leaked, count.types) == (0, 0, {})


def test_garbage_is_told_from_what_is_kept(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path) as worker:
        nodes = [worker.count(f"for _ in range({number}): Node()") for number in (100, 200, 300)]
        each = (nodes[2].survivors - nodes[1].survivors) // 100
        assert each in {1, 2}  # a Node, and its __dict__ where that is an object
        assert nodes[2].survivors - nodes[1].survivors == nodes[1].survivors - nodes[0].survivors
        assert {count.leaked for count in nodes} == {0}
        assert nodes[2].types["__main__.Node"] == 300
        assert nodes[2].types_kept == {}


def test_garbage_of_finalizers_is_garbage_too(interpreter: Interpreter, tmp_path: Path) -> None:
    code = "for _ in range(10): heir = Heir(); heir.itself = heir; del heir"
    with working(interpreter.path, tmp_path) as worker:
        worker.count(code)
        count = worker.count(code)
        assert count.leaked == 0
        assert count.survivors >= 20  # each leaves a Node when it is collected


def test_with_the_collector_on_the_sum_is_the_same(interpreter: Interpreter, tmp_path: Path) -> None:
    code = "for _ in range(5000): Node()"
    with working(interpreter.path, tmp_path, "on") as worker:
        worker.count(code)
        count = worker.count(code)
        assert count.automatic.collections > 0
        assert 0 < count.automatic.freed <= count.survivors
        assert count.automatic.longest <= count.automatic.pause
        assert count.survivors >= 5000
        assert count.leaked == 0
        assert worker.count("kept += [[] for _ in range(7)]").leaked == 7


def test_a_policy_of_thresholds_sets_them(interpreter: Interpreter, tmp_path: Path) -> None:
    code = "for _ in range(5000): Node()"
    with (
        working(interpreter.path, tmp_path, "thresholds:50,5,5") as often,
        working(interpreter.path, tmp_path, "thresholds:500000,5,5") as seldom,
    ):
        assert often.count(code).automatic.collections > 10
        assert seldom.count(code).automatic.collections == 0


def test_a_frozen_heap_still_counts(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path, "freeze") as worker:
        count = worker.count("for _ in range(5000): Node()")
        assert count.automatic.collections > 0
        assert worker.count("kept += [[] for _ in range(7)]").leaked == 7
        assert worker.count("kept.clear()").leaked == -7
        worker.do("import gc")
        worker.do("assert gc.isenabled() and gc.get_freeze_count() > 1000")


def test_with_old_objects_frozen_the_collector_counts_and_collects_as_without(
    interpreter: Interpreter, tmp_path: Path
) -> None:
    code = "for _ in range(2000): Node(); kept.append([])"
    with (
        working(interpreter.path, tmp_path, "on") as usual,
        working(interpreter.path, tmp_path, "on", frozen=True) as frozen,
    ):
        frozen.do("import gc; assert gc.isenabled() and gc.get_freeze_count() > 1000")
        usual.do("import gc; assert gc.isenabled() and gc.get_freeze_count() < 1000")
        counts = [[worker.count(code) for _ in range(2)][-1] for worker in (usual, frozen)]
        assert [(count.survivors, count.leaked) for count in counts] == [(counts[0].survivors, 2000)] * 2
        if tuple(map(int, interpreter.version.split(".")[:2])) < INCREMENTAL:
            of_each = {(count.automatic.collections, count.automatic.full) for count in counts}
            assert of_each == {(counts[0].automatic.collections, 0)}
        frozen.line.begin("on")
        frozen.do("assert gc.isenabled() and gc.get_freeze_count() < 1000 and len(gc.callbacks) == 1")
        assert (frozen.count(code), frozen.count(code))[-1].leaked == 2000


def test_a_full_automatic_collection_is_told(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path, "thresholds:50,1,1", frozen=True) as worker:
        assert worker.count("kept += [[] for _ in range(5000)]").automatic.full > 0


def test_counting_brings_no_automatic_collection_near(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path, "on") as worker:
        worker.do("kept += [type(f'Kind{n}', (), {})() for n in range(1000)]")
        worker.count()
        worker.count()
        assert worker.count("for _ in range(300): Node()").automatic.collections == 0


def test_memory_that_the_collector_does_not_know(interpreter: Interpreter, tmp_path: Path) -> None:
    with working(interpreter.path, tmp_path) as worker:
        worker.do("kept += [None] * 5000; kept.clear()")
        worker.count()
        small = worker.count("kept += [b'%100d' % n for n in range(1000)]")
        assert (small.leaked, small.types) == (0, {})
        assert small.blocks_kept == pytest.approx(1000, abs=60)
        large = worker.count("kept += [b'%4000d' % n for n in range(1000)]")
        if large.heap_kept is not None:
            assert large.heap_kept == pytest.approx(1000 * 4050, rel=0.03)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only /proc tells")
def test_files_and_threads_are_counted(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        before = worker.count()
        after = worker.count("kept.append(open('/dev/null')); event = threading.Event()")
        assert before.fds is not None
        assert after.fds == before.fds + 1
        started = worker.count("threading.Thread(target=event.wait, daemon=True).start()")
        assert (before.threads, started.threads) == (2, 3)
        assert started.fds == after.fds, "the files that tell whether a thread rests are ours"


def test_threads_that_have_ended_leave_no_files(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        before = worker.count().fds
        for _ in range(20):
            worker.do(
                "event = threading.Event(); thread = threading.Thread(target=event.wait); thread.start()"
            )
            worker.line.rest()
            worker.do("event.set(); thread.join()")
        assert worker.count().fds == before


def test_a_class_that_is_made_for_one_request_is_not_kept_by_the_count(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        worker.count("def make(): made = type('Made', (), {})(); made.itself = made")
        counted = worker.count("for _ in range(50): make()")
        assert counted.survivors >= 50
        assert counted.leaked == 0


def test_a_thread_that_works_on_is_waited_for(tmp_path: Path) -> None:
    code = "threading.Thread(target=lambda: [kept.append([]) for _ in range(200_000)]).start()"
    with working(sys.executable, tmp_path) as worker:
        worker.count("threading.Thread(target=int).start()")
        assert worker.count(code).leaked == 200_000


def test_a_worker_that_never_rests_is_told(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        worker.do("idle.IDLE_LIMIT = 0.3")
        worker.do("threading.Thread(target=lambda: [0 for _ in iter(int, 1)], daemon=True).start()")
        assert worker.line.count().idle is False


def test_the_worker_ends_with_its_line(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        worker.line.close()
        assert worker.process.wait(10) == 0


def test_a_worker_that_is_killed_is_told(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        assert not worker.line.died()
        worker.process.kill()
        worker.process.wait(10)
        assert worker.line.died()
        with pytest.raises(FaultError, match=r"^the worker died \(SIGBUS\)$"):
            worker.line.count()


def test_what_ended_the_probe_is_said(tmp_path: Path) -> None:
    with working(sys.executable, tmp_path) as worker:
        worker.do("def broken(*_): raise ZeroDivisionError('a secret')")
        worker.do("probe.Probe.do_count = broken")
        with pytest.raises(FaultError, match=r"^the worker died: its probe met ZeroDivisionError in broken$"):
            worker.line.count()
        assert worker.process.wait(10) == 0


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imports(node: ast.AST) -> Iterator[str]:
    """Yield the names of the modules that are imported when the code runs."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "").partition(".")[0]
    for child in ast.iter_child_nodes(node):
        if not is_for_types(child):
            yield from imports(child)


@pytest.mark.parametrize("path", SOURCES, ids=operator.attrgetter("name"))
def test_what_runs_in_the_worker_is_of_the_oldest_python_and_imports_nothing_of_ours(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = set(imports(tree))
    assert imported <= sys.stdlib_module_names | SIBLINGS
    assert "typing" not in imported


def test_what_is_for_types_alone_does_not_run() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any(map(is_for_types, ast.walk(tree))):
            assert "TYPE_CHECKING = False" in map(ast.unparse, tree.body)


class TestTimers:
    """asyncio drops cancelled timers now and then; a count must not depend on when it last did."""

    def test_cancelled_ones_are_dropped_and_others_fire(self) -> None:
        import asyncio

        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            fired: list[int] = []
            timers = [loop.call_later(0.001 * number, fired.append, number) for number in range(20)]
            for timer in timers[::2]:
                timer.cancel()
            IdleWatch.drop_cancelled_timers(loop)
            assert len(loop._scheduled) == 10  # type: ignore[attr-defined]
            timers[1].cancel()
            await asyncio.sleep(0.1)
            return fired

        assert asyncio.run(main()) == list(range(3, 20, 2))

    def test_a_worker_without_a_loop_has_none(self) -> None:
        IdleWatch.drop_cancelled_timers(None)


@pytest.mark.parametrize(
    ("kind", "name"), [(dict, "dict"), (Path, "pathlib.Path"), (type("Odd", (), {"__module__": None}), "Odd")]
)
def test_names_of_types(kind: type, name: str) -> None:
    assert probe.type_name(kind) == name
