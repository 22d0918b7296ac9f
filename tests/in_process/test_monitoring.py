"""The probe for services of one's own: off by default, one socket a process, in real apps under gunicorn."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from measuring import CHECKOUT, SCENARIOS, environment
from outlive import processes
from outlive.probe import monitor, readings
from outlive.replay.client import Client
from outlive.worker.collector import CollectorLog

SERVICE = """
import gc, outlive.probe
from outlive.probe import monitor
from v1 import app
gc.disable()
monitor.REST = monitor.LEAST_INTERVAL = 0  # a count each time, on however busy a machine
outlive.probe.start()
"""
NOT_FOUND = next(scenario for scenario in SCENARIOS if scenario.name == "not-found")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "probes"
    monitor.stop()


def test_importing_it_imports_only_the_standard_library_and_starts_nothing() -> None:
    code = (
        "import sys, threading, gc, outlive.probe\n"
        "assert outlive.probe.start() is None\n"
        "assert threading.active_count() == 1 and not gc.callbacks\n"
        "print(*{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'__main__'})"
    )
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=variables, capture_output=True, text=True, check=False
    )
    assert (done.stdout.split(), done.stderr) == (["outlive"], "")


def test_only_its_user_can_open_the_socket(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    assert path == folder / f"outlive-{os.getpid()}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert monitor.start(folder) == path  # once


def test_the_variable_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(monitor.VARIABLE, str(folder))
    assert monitor.start() == folder / f"outlive-{os.getpid()}.sock"


def test_what_grows_is_told_by_type(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "LEAST_INTERVAL", 0)
    monkeypatch.setattr(monitor, "REST", 0)
    path = monitor.start(folder)
    assert path is not None
    assert readings.read(path)["growth"] == {}
    kept = [_Kept() for _ in range(1000)]
    reading = readings.read(path)
    assert reading["growth"][f"{__name__}._Kept"] == len(kept)
    assert reading["objects"] > len(kept)
    assert len(reading["growth"]) <= monitor.TYPES


def test_who_asks_too_often_is_told_the_last_count(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    first = readings.read(path)
    kept = [_Kept() for _ in range(1000)]
    second = readings.read(path)
    assert second["growth"] == {}
    assert second["objects"] == first["objects"]
    assert second["age"] > first["age"]
    del kept


def test_collections_are_summed_up(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    before = readings.read(path)
    one = _Kept()
    one.me = one
    del one
    gc.collect()
    after = readings.read(path)
    assert after["collections"] > before["collections"]
    assert after["freed"] > before["freed"]
    assert after["pause"] >= after["longest_pause"] > 0


def test_after_stopping_nothing_is_left(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    log = gc.callbacks[-1]
    monitor.stop()
    monitor.stop()
    assert not path.exists()
    assert log not in gc.callbacks
    assert readings.ask(folder) == []


def dead(path: Path) -> Path:
    """Leave a socket at which nobody listens."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return path


@pytest.mark.parametrize("what", ["start", "stop", "ask"])
def test_sockets_of_processes_that_were_killed_are_removed(folder: Path, what: str) -> None:
    monitor.start(folder)
    if what == "start":
        monitor.stop()
    killed, foreign = dead(folder / "outlive-999999999.sock"), dead(folder / "999999998.sock")
    for name in ("notes.txt", "outlive-1.sock"):
        (folder / name).touch()
    if what == "start":
        monitor.start(folder)
    elif what == "stop":
        monitor.stop()
    else:
        readings.ask(folder)
    assert not killed.exists()
    assert foreign.exists()  # whoever that is, it is not a probe's
    assert (folder / "notes.txt").exists()
    assert (folder / "outlive-1.sock").exists()


def test_a_name_of_the_instant_before_listening_is_removed_once_it_is_old(folder: Path) -> None:
    folder.mkdir()
    old, young = dead(folder / ".outlive-1.part"), dead(folder / ".outlive-2.part")
    os.utime(old, (1, 1))
    monitor.start(folder)
    assert not old.exists()
    assert young.exists()


def test_sockets_of_others_are_never_connected_to(folder: Path) -> None:
    monitor.start(folder)
    with socket.socket(socket.AF_UNIX) as gunicorn:
        gunicorn.bind(str(folder / "gunicorn.sock"))
        gunicorn.listen()
        gunicorn.setblocking(False)
        assert [one["pid"] for one in readings.ask(folder)] == [os.getpid()]
        with pytest.raises(BlockingIOError):
            gunicorn.accept()
        with pytest.raises(OSError, match=r"gunicorn\.sock: not the name of a probe's socket$"):
            readings.read(folder / "gunicorn.sock")


VALID = json.dumps(dict.fromkeys(readings.Reading.__annotations__, 1) | {"pid": 7})


@contextlib.contextmanager
def answering(path: Path, *parts: bytes, endless: bool = False) -> Iterator[None]:
    """Answer whoever connects with these bytes, the last of them again and again if `endless`."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client = listener.accept()[0]
                with client, contextlib.suppress(OSError):
                    for part in parts:
                        client.sendall(part)
                    while endless:
                        client.sendall(parts[-1])
                    client.recv(100)

    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


ROGUE = [
    b"",
    b"\n",
    b"null\n",
    b"[]\n",
    b"{}\n",
    b'{"pid": 7}\n',
    b"[" * 100_000 + b"\n",
    b"9" * 5000 + b"\n",
    b"\xff\xfe\n",
    b"NaN\n",
    VALID.encode() + b"\n",  # the growth is no mapping
    VALID.replace('"growth": 1', '"growth": {"list": "1"}').encode() + b"\n",
    VALID.replace('"growth": 1', '"growth": {}').replace('"time": 1', '"time": 1e999').encode() + b"\n",
]


@pytest.mark.parametrize("answer", ROGUE, ids=range(len(ROGUE)))
def test_what_is_no_reading_is_refused_in_one_line(folder: Path, answer: bytes) -> None:
    path = folder / "outlive-7.sock"
    with answering(path, readings.GREETING, answer):
        with pytest.raises(OSError, match=r"^\S*outlive-7\.sock: not the answer of a probe$"):
            readings.read(path)
        assert readings.ask(folder) == []


def test_the_answer_of_another_process_is_refused(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    other = path.rename(folder / "outlive-1.sock")
    with pytest.raises(OSError, match=rf"outlive-1\.sock: the answer of process {os.getpid()}$"):
        readings.read(other)


@pytest.mark.parametrize("parts", [(b"x" * 65536,), (readings.GREETING, b"x" * 65536)])
def test_an_endless_answer_is_cut(folder: Path, parts: tuple[bytes, ...]) -> None:
    path = folder / "outlive-7.sock"
    with (
        answering(path, *parts, endless=True),
        pytest.raises(OSError, match=r"no probe answers|not the answer"),
    ):
        readings.read(path)


def test_who_does_not_greet_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "GREETED", 0.05)
    path = folder / "outlive-7.sock"
    with answering(path, b""), pytest.raises(OSError, match=r"outlive-7\.sock: timed out$"):
        readings.read(path)


def test_a_path_that_is_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30) / "probes"
    path = monitor.start(folder)
    try:
        assert path == folder / f"outlive-{os.getpid()}.sock"
        assert [one["pid"] for one in readings.ask(folder)] == [os.getpid()]
    finally:
        monitor.stop()


MANY = """
import os, sys, outlive.probe
children = []
for _ in range(12):
    child = os.fork()
    if not child:
        sys.stdin.readline()  # all at once: the pipe is closed
        outlive.probe.start(sys.argv[1])
        ready, _ = os.pipe()
        os.write(1, b"x")
        os.read(ready, 1)  # for ever
    children.append(child)
print(*children, flush=True)
for child in children:
    os.waitpid(child, 0)
"""


def test_many_processes_start_at_once(folder: Path) -> None:
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    command = [sys.executable, "-c", MANY, str(folder)]
    with subprocess.Popen(
        command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        children = list(map(int, process.stdout.readline().split()))
        process.stdin.close()
        try:
            assert process.stdout.read(len(children)) == b"x" * len(children)
            assert sorted(children) == [one["pid"] for one in readings.ask(folder)]
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
    assert readings.ask(folder) == []
    assert list(folder.iterdir()) == []


def test_children_that_end_in_the_hard_way_leave_no_socket(folder: Path) -> None:
    code = (
        "import os, sys, outlive.probe\n"
        "outlive.probe.start(sys.argv[1])\n"
        "for _ in range(20):\n"
        "    child = os.fork()\n"
        "    if not child: os._exit(0)\n"
        "    os.waitpid(child, 0)\n"
        "    print(len(os.listdir(sys.argv[1])))\n"
    )
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    command = [sys.executable, "-W", "error", "-c", code, str(folder)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["2"] * 20  # the parent's and the last child's
    assert list(folder.iterdir()) == []


def test_a_client_that_says_nothing_and_leaves_does_no_harm(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
    assert readings.read(path)["pid"] == os.getpid()


def script(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script with the folder as its argument, until it ends."""
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)


NO_FILES = """
import os, resource, socket, sys, time
import outlive.probe
from outlive.probe import monitor

taken = []

def lack_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass

def free_files(_=0):
    while taken:
        os.close(taken.pop())
"""


def test_a_process_that_lacked_files_answers_again(folder: Path) -> None:
    code = """
time.sleep = free_files  # called once the probe has failed to accept
path = outlive.probe.start(sys.argv[1])
client = socket.socket(socket.AF_UNIX)
client.settimeout(30)
lack_files()
client.connect(str(path))
print(client.recv(100))
"""
    done = script(NO_FILES + code, folder)
    assert (done.stdout, done.stderr) == ("b'outlive-probe 1\\n'\n", "")


def test_a_child_that_can_have_no_probe_leaves_that_of_its_parent(folder: Path) -> None:
    code = """
monitor.PATIENCE = 0.01
path = outlive.probe.start(sys.argv[1])
lack_files()
child = os.fork()
if not child:
    sys.exit()
os.waitpid(child, 0)
free_files()
print(outlive.probe.read(path)["pid"] == os.getpid())
"""
    done = script(NO_FILES + code, folder)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_default_timeout_of_the_service_does_not_end_the_probe(folder: Path) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0)
    try:
        path = monitor.start(folder)
        assert path
        assert {readings.read(path)["pid"] for _ in range(20)} == {os.getpid()}
    finally:
        socket.setdefaulttimeout(before)


def test_a_service_that_clears_the_callbacks_of_gc_can_stop_the_probe(folder: Path) -> None:
    path = monitor.start(folder)
    assert path
    gc.callbacks.remove(next(callback for callback in gc.callbacks if isinstance(callback, CollectorLog)))
    monitor.stop()
    assert not path.exists()


def test_a_socket_that_cannot_be_made_is_named(folder: Path) -> None:
    with pytest.raises(OSError, match=rf": '/proc/outlive-{os.getpid()}\.sock'$"):
        monitor.start("/proc")


def test_under_gevent_processes_answer_while_their_hub_is_busy(folder: Path) -> None:
    code = """
from gevent import monkey
monkey.patch_all()
import os, sys, outlive.probe
outlive.probe.start(sys.argv[1])
child = os.fork()
os.write(1, b"x")
os.read(0, 1)  # blocks the process, hub and all
if child:
    os.waitpid(child, 0)
"""
    command = [sys.executable, "-c", code, str(folder)]
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=variables, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        assert process.stdout.read(2) == b"xx"
        assert process.pid in [reading["pid"] for reading in readings.ask(folder)]
        assert len(readings.ask(folder)) == 2
        assert process.communicate(timeout=60) == (b"", b"")
    assert list(folder.iterdir()) == []


def test_a_forked_process_has_a_probe_of_its_own(folder: Path) -> None:
    code = (
        "import os, sys, time, outlive.probe\n"
        "outlive.probe.start(sys.argv[1])\n"
        "child = os.fork()\n"
        "if not child: time.sleep(60); os._exit(0)\n"
        "while len(outlive.probe.ask(sys.argv[1])) < 2: time.sleep(0.01)\n"
        "print(os.getpid(), child, *(one['pid'] for one in outlive.probe.ask(sys.argv[1])))\n"
        "os.kill(child, 9)\n"
    )
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    command = [sys.executable, "-W", "error", "-c", code, str(folder)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=60)
    parent, child, *asked = map(int, done.stdout.split())
    assert asked == sorted([parent, child])
    assert not (folder / f"outlive-{parent}.sock").exists()


def test_prometheus_text() -> None:
    reading = readings.Reading(
        pid=7,
        time=1.0,
        uptime=2.0,
        age=0.5,
        took=0.25,
        objects=1_234_567,
        frozen=0,
        growth={'odd"name\\': 3},
        gc_enabled=True,
        collections=4,
        freed=5,
        pause=0.5,
        longest_pause=0.125,
        resident=6_000_000,
        peak=None,
        heap=None,
        blocks=8,
        open_files=9,
        threads=2,
    )
    text = readings.prometheus([reading])
    assert (
        "# HELP outlive_objects gc-tracked objects alive\n"
        "# TYPE outlive_objects gauge\n"
        'outlive_objects{worker="7"} 1234567\n'
    ) in text
    assert 'outlive_gc_enabled{worker="7"} 1\n' in text
    assert 'outlive_gc_pause_seconds_total{worker="7"} 0.5\n' in text
    assert 'outlive_object_growth{worker="7",type="odd\\"name\\\\"} 3\n' in text
    assert "peak" not in text  # the system does not tell
    assert readings.prometheus([]) == ""


@pytest.mark.real
@pytest.mark.parametrize(
    ("framework", "worker", "kept"),
    [
        ("flask", "gthread", "werkzeug.exceptions.NotFound"),
        ("aiohttp", "aiohttp.GunicornWebWorker", "aiohttp.web_exceptions.HTTPNotFound"),
    ],
)
def test_two_workers_of_a_real_service(framework: str, worker: str, kept: str, tmp_path: Path) -> None:
    folder = tmp_path / "probes"
    with _served(framework, worker, tmp_path, folder) as address:
        first = _until(folder, lambda found: len(found) == 2)
        Client(address, NOT_FOUND, "close", lambda: None).replay(200)
        second = _until(folder, lambda found: sum(one["growth"].get(kept, 0) for one in found) > 150)
    assert [one["pid"] for one in first] == [one["pid"] for one in second]
    assert not any(one["gc_enabled"] for one in second)
    assert sum(one["growth"].get(kept, 0) for one in second) <= 200
    assert list(folder.glob("*.sock")) == []  # workers that end in good order remove them


def test_the_command_prints_what_all_processes_say(folder: Path) -> None:
    monitor.start(folder)
    for option, check in (([], _is_json), (["--prometheus"], _is_prometheus)):
        command = [sys.executable, "-m", "outlive.probe", *option, str(folder)]
        variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        check(done.stdout)
    monitor.stop()
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, "", f"{folder}: no process answers\n")


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    return subprocess.run(
        [sys.executable, "-m", "outlive.probe", *words],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_says_what_does_not_answer(folder: Path) -> None:
    monitor.start(folder)
    with answering(folder / "outlive-7.sock", readings.GREETING, b"{}\n"):
        done = command(folder)
    assert (done.returncode, done.stderr) == (0, f"{folder}/outlive-7.sock: not the answer of a probe\n")
    _is_json(done.stdout)


def test_a_folder_that_is_not_there_is_a_wrong_word(folder: Path) -> None:
    done = command(folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"error: {folder}: not a folder that can be read\n")


def test_a_reader_that_has_read_enough_is_no_fault(folder: Path) -> None:
    monitor.start(folder)
    shell = f"set -o pipefail; {sys.executable} -m outlive.probe --prometheus {folder} | true"
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src"), "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", shell], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_it_registers_nothing() -> None:
    code = (
        "import atexit, os\n"
        "def ours(*functions, **named):\n"
        "    for one in (*functions, *named.values()): assert not one.__module__.startswith('outlive')\n"
        "atexit.register = os.register_at_fork = ours\n"
        "import outlive.probe\n"
        "assert outlive.probe.start() is None\n"
    )
    variables = {"PYTHONPATH": str(CHECKOUT.root / "src")}
    subprocess.run([sys.executable, "-c", code], env=variables, check=True)


def _is_json(text: str) -> None:
    assert [one["pid"] for one in json.loads(text)] == [os.getpid()]


def _is_prometheus(text: str) -> None:
    assert f'outlive_threads{{worker="{os.getpid()}"}} ' in text


class _Kept:
    """Something that is kept."""

    me: object


@contextlib.contextmanager
def _served(framework: str, worker: str, tmp_path: Path, folder: Path) -> Iterator[tuple[str, int]]:
    """Yield the address of a service that uses the probe, in an environment without anything of ours."""
    (tmp_path / "service.py").write_text(SERVICE)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT.root / "src", CHECKOUT.apps / framework, tmp_path))),
        "PYTHONDONTWRITEBYTECODE": "1",
        monitor.VARIABLE: str(folder),
    }
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command: list[str | Path] = [environment(framework).python, "-m", "gunicorn"]
        command += ["--bind", f"fd://{listener.fileno()}"]
        command += ["--workers", "2", "--worker-class", worker, "service:app"]
        with (
            (tmp_path / "log").open("wb") as log,
            processes.running(
                command, cwd=tmp_path, env=variables, stdout=log, stderr=log, pass_fds=[listener.fileno()]
            ),
        ):
            yield listener.getsockname()


def _until(folder: Path, done: Callable[[list[readings.Reading]], bool]) -> list[readings.Reading]:
    deadline = time.monotonic() + 300  # for a fault: it is done once both have answered
    while not done(found := readings.ask(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
