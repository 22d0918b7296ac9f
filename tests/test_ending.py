"""How commands end: one line and an exit code that is never a regression's, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from outlive import ending
from outlive.errors import ExitCode, FaultError, UnavailableError, UsageError

FULL = b"the system: a disk is full: free some room, or see TMPDIR, OUTLIVE_CACHE and OUTLIVE_RESULTS\n"
NO_ROOM = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there/x")
SLEEPER = """
import sys, time
from outlive import ending

def command():
    try:
        print("up", flush=True)
        time.sleep(60)
    finally:
        print("cleaning", flush=True)
        sys.stdin.readline()
        print("clean", flush=True)

ending.run(command)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Tracebacks are written here; signals are as they were afterwards."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    before = {name: signal.getsignal(getattr(signal, name)) for name in (*ending.POLITE, "SIGALRM")}
    yield tmp_path / "cache"
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


def ended(command: Callable[[], object]) -> object:
    with pytest.raises(SystemExit) as stop:
        ending.run(command)
    return stop.value.code


def started(program: str) -> subprocess.Popen[str]:
    """Return a Python that runs the program; its streams are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def raising(error: BaseException) -> Callable[[], object]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't start new thread")])
def test_a_limit_of_memory_is_named(
    error: Exception, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, resource.RLIM_INFINITY))
    assert ended(raising(error)) == ExitCode.FAULT
    assert "`ulimit -v`" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no such scenario"), ExitCode.USAGE, "no such scenario"),
        (FaultError("no index"), ExitCode.FAULT, "no index"),
        (UnavailableError("it is yanked"), ExitCode.UNAVAILABLE, "it is yanked"),
        (click.UsageError("no such option"), ExitCode.USAGE, "no such option"),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted; finished measurements are kept"),
        (click.Abort(), ExitCode.INTERRUPTED, "interrupted; finished measurements are kept"),
        (NO_ROOM, ExitCode.FAULT, "/there/x: the disk is full: free some room, or name another place"),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            ExitCode.FAULT,
            FULL.decode().strip(),
        ),
        (PermissionError(13, "Permission denied", b"/a\nb"), ExitCode.FAULT, "/a b: Permission denied"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            ExitCode.FAULT,
            "the system: too many open files: see `ulimit -n`",
        ),
        (
            RuntimeError("can't start new thread"),
            ExitCode.FAULT,
            "the system: no more processes or threads can be started: see `ulimit -u`",
        ),
        (MemoryError(), ExitCode.FAULT, "the system: there is no memory left"),
    ],
)
def test_what_is_foreseen_is_one_line(
    error: BaseException, code: ExitCode, line: str, capfd: pytest.CaptureFixture[str], cache: Path
) -> None:
    assert ended(raising(error)) == code
    assert capfd.readouterr().err == f"outlive: {line}\n"
    assert not cache.exists()


@pytest.mark.parametrize(
    "error",
    [
        KeyError("release"),
        ValueError("two\nlines \x1b[31m of https://me:secret@there/simple"),
        OSError("AF_UNIX path too long"),
        RecursionError(),
        AssertionError("x" * 10_000),
    ],
)
def test_what_is_not_foreseen_is_no_regression_and_its_traceback_is_kept(
    error: Exception, capfd: pytest.CaptureFixture[str], cache: Path
) -> None:
    assert ended(raising(error)) == ExitCode.FAULT
    (line,) = capfd.readouterr().err.splitlines()
    (path,) = cache.glob("faults/*.txt")
    assert line.startswith(f"outlive: this is a bug in outlive: {type(error).__name__}")
    assert line.endswith(f"; please report it with its traceback, {path}")
    assert line.isprintable()
    text = path.read_text()
    assert "in command" in text
    assert "secret" not in text + line


def test_a_traceback_that_cannot_be_written(capfd: pytest.CaptureFixture[str], cache: Path) -> None:
    cache.write_text("no folder")
    assert ended(raising(KeyError("x"))) == ExitCode.FAULT
    assert "; its traceback cannot be written to " in capfd.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (1, 1), (3, 3), ("text", 0)])
def test_what_a_command_returns_is_its_code(result: object, code: int) -> None:
    assert ended(lambda: result) == code


@pytest.mark.parametrize("words", ["leaks --help", "releases list flask"])
def test_output_that_nobody_reads_is_a_fault(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    argv = [sys.executable, "-m", "outlive", *words.split()]
    done = subprocess.run(argv, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.FAULT, b"")


@pytest.mark.parametrize("environment", [None, {}])  # without TERM and others, click leaves a buffer behind
def test_output_that_cannot_be_written_is_a_fault(environment: dict[str, str] | None) -> None:
    with Path("/dev/full").open("w") as full:
        argv = [sys.executable, "-m", "outlive", "--help"]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, check=False, env=environment)
    assert (done.returncode, done.stderr) == (ExitCode.FAULT, b"outlive: " + FULL)


@pytest.mark.parametrize(
    ("printed", "code"), [("", ExitCode.FINE), ("raise errors.UsageError('x')", ExitCode.USAGE)]
)
def test_standard_error_that_nobody_reads_ends_nothing(printed: str, code: int) -> None:
    program = (
        "import sys\nfrom outlive import ending, errors\nfrom rich.console import Console\n"
        "def command():\n"
        "    sys.stdin.readline()\n"
        "    Console(stderr=True).print('progress')\n"
        f"    {printed or 'print(7)'}\n"
        "ending.run(command)\n"
    )
    with started(program) as process:
        assert process.stderr
        process.stderr.close()
        out, _ = process.communicate("\n")
    assert (process.returncode, out) == (code, "" if printed else "7\n")


@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), ("2>&-", 0), (">&-", 4), ("<&- >&- 2>&-", 4)])
def test_no_file_takes_the_place_of_a_closed_stream(closed: str, code: int, tmp_path: Path) -> None:
    program = (
        f"from outlive import ending; ending.run(lambda: open({str(tmp_path / 'x')!r}, 'w').fileno() < 3)"
    )
    done = subprocess.run(["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program], check=False)
    assert done.returncode == code


@pytest.mark.parametrize("name", ending.POLITE)
def test_a_signal_ends_in_good_order_and_further_ones_change_nothing(name: str) -> None:
    number = getattr(signal, name)
    with started(SLEEPER) as process:
        assert process.stdout
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.stdout.readline() == "cleaning\n"
        for _ in range(3):
            process.send_signal(number)
        out, err = process.communicate("\n")
    assert out == "clean\n"
    assert (process.returncode, err) == (130, "outlive: interrupted; finished measurements are kept\n")


def test_an_interruption_that_python_drops_comes_again() -> None:
    code = """
import os, signal, sys, time
from outlive import ending

class Closed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

def command():
    Closed()
    time.sleep(60)

ending.run(command)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.INTERRUPTED
    assert done.stderr == "outlive: interrupted; finished measurements are kept\n"


def test_an_interruption_in_code_from_a_string_ends_with_the_same_code(tmp_path: Path) -> None:
    """Python ends a module by SIGINT where a KeyboardInterrupt has passed through `exec`, though caught."""
    (tmp_path / "command.py").write_text(
        "from outlive import ending\nending.run(lambda: exec('raise KeyboardInterrupt'))\n"
    )
    done = subprocess.run([sys.executable, "-m", "command"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == ExitCode.INTERRUPTED


def test_nor_does_one_that_comes_while_the_first_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ending, "_report", interrupted)
    with pytest.raises(SystemExit) as stopped:
        ending.run(interrupted)
    assert stopped.value.code == ExitCode.INTERRUPTED


def test_a_signal_that_our_parent_ignores_stays_ignored() -> None:
    code = (
        "import os, signal; from outlive import ending;"
        "ending.run(lambda: [os.kill(os.getpid(), signal.SIGHUP), print('on')])"
    )
    argv = ["nohup", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "on\n")
