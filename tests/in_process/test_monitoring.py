"""The probe for services of one's own: off by default, one socket a process, in real apps under gunicorn."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from measuring import CHECKOUT, SCENARIOS, environment
from outlive import processes
from outlive.probe import monitor
from outlive.replay.client import replay

SERVICE = """
import gc, outlive.probe
from v1 import app
gc.disable()
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
    assert path == folder / f"{os.getpid()}.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert monitor.start(folder) == path  # once


def test_the_variable_names_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(monitor.VARIABLE, str(folder))
    assert monitor.start() == folder / f"{os.getpid()}.sock"


def test_what_grows_is_told_by_type(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "LEAST_INTERVAL", 0)
    monkeypatch.setattr(monitor, "REST", 0)
    path = monitor.start(folder)
    assert path is not None
    assert monitor.read(path)["growth"] == {}
    kept = [_Kept() for _ in range(1000)]
    reading = monitor.read(path)
    assert reading["growth"][f"{__name__}._Kept"] == len(kept)
    assert reading["objects"] > len(kept)
    assert len(reading["growth"]) <= monitor.TYPES


def test_who_asks_too_often_is_told_the_last_count(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    first = monitor.read(path)
    kept = [_Kept() for _ in range(1000)]
    second = monitor.read(path)
    assert second["growth"] == {}
    assert second["objects"] == first["objects"]
    assert second["age"] > first["age"]
    del kept


def test_collections_are_summed_up(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    before = monitor.read(path)
    one = _Kept()
    one.me = one
    del one
    gc.collect()
    after = monitor.read(path)
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
    assert monitor.ask(folder) == []


def test_sockets_of_processes_that_were_killed_are_removed(folder: Path) -> None:
    folder.mkdir()
    dead = folder / "999999999.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(dead))
    other = folder / "notes.txt"
    other.touch()
    monitor.start(folder)
    assert not dead.exists()
    assert other.exists()


def test_a_client_that_says_nothing_and_leaves_does_no_harm(folder: Path) -> None:
    path = monitor.start(folder)
    assert path is not None
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(path))
    assert monitor.read(path)["pid"] == os.getpid()


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
    assert not (folder / f"{parent}.sock").exists()


def test_prometheus_text() -> None:
    reading = monitor.Reading(
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
    text = monitor.prometheus([reading])
    assert (
        "# HELP outlive_objects gc-tracked objects alive\n"
        "# TYPE outlive_objects gauge\n"
        'outlive_objects{worker="7"} 1234567\n'
    ) in text
    assert 'outlive_gc_enabled{worker="7"} 1\n' in text
    assert 'outlive_gc_pause_seconds_total{worker="7"} 0.5\n' in text
    assert 'outlive_object_growth{worker="7",type="odd\\"name\\\\"} 3\n' in text
    assert "peak" not in text  # the system does not tell
    assert monitor.prometheus([]) == ""


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
        replay(address, NOT_FOUND, "close", 200, lambda: None)
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


def _until(folder: Path, done: Callable[[list[monitor.Reading]], bool]) -> list[monitor.Reading]:
    deadline = time.monotonic() + 30
    while not done(found := monitor.ask(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
