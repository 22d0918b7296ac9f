from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from outlive import processes
from outlive.errors import FaultError

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
FAMILY = (
    "import subprocess, sys, time;"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
    "print(child.pid, flush=True); time.sleep(600)"
)
MANY = 20
BUSY = (
    "import os, time\n"
    f"for _ in range({MANY}):\n"
    "    if not os.fork():\n"
    "        %s\n"
    "        os.write(1, b'%%d\\n' %% os.getpid())\n"
    "        began = time.monotonic()\n"
    "        while time.monotonic() < began + 60: pass\n"
    "        os._exit(0)\n"
    "time.sleep(60)\n"
)
"""Forks children that all want to run, so that who is killed runs on for a while; each does `%s` first."""


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether `pid` ends (or is a zombie that nobody reaps here) within that time."""
    until = time.monotonic() + seconds
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
    return True


def test_a_run_gives_output_and_status() -> None:
    code = "import sys; print(sys.stdin.read().upper()); print('é', file=sys.stderr); sys.exit(3)"
    done = processes.run([sys.executable, "-X", "utf8", "-c", code], text="hello")
    assert (done.returncode, done.stdout, done.stderr) == (3, "HELLO\n", "é\n")


def test_a_run_has_the_environment_and_folder_that_it_is_given(tmp_path: Path) -> None:
    code = "import os; print(os.getcwd(), os.environ.get('COLOUR'), os.environ.get('HOME'))"
    done = processes.run([sys.executable, "-c", code], env={"COLOUR": "red"}, cwd=tmp_path)
    assert done.stdout == f"{tmp_path} red None\n"


def test_a_program_that_does_not_exist_says_so() -> None:
    done = processes.run(["no-such-program"])
    assert (done.returncode, done.stderr) == (1, "no-such-program: No such file or directory\n")


def test_a_run_that_takes_too_long_is_ended() -> None:
    with pytest.raises(FaultError, match=r"^python\S* did not end within 0.2 seconds$"):
        processes.run([sys.executable, "-c", SLEEPER], timeout=0.2)


def test_a_process_is_in_a_session_of_its_own() -> None:
    done = processes.run([sys.executable, "-c", "import os; print(os.getsid(0) == os.getpid())"])
    assert done.stdout == "True\n"


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_the_whole_group_is_ended_when_we_are_interrupted(interruption: type[BaseException]) -> None:
    started: list[subprocess.Popen[bytes]] = []
    grandchildren: list[int] = []

    def interrupted() -> None:
        with processes.running([sys.executable, "-c", FAMILY], stdout=subprocess.PIPE) as process:
            assert process.stdout
            started.append(process)
            grandchildren.append(int(process.stdout.readline()))
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert [process.returncode for process in started] == [-signal.SIGKILL]
    assert [gone(grandchild) for grandchild in grandchildren] == [True]


def test_a_process_is_asked_first_and_then_its_group_is_killed() -> None:
    code = f"import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); {FAMILY}"
    with processes.running([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout
        grandchild = int(process.stdout.readline())
    assert process.returncode == 7
    assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process's state is")
def test_the_whole_group_has_ended_when_it_is_killed() -> None:
    with processes.running([sys.executable, "-c", BUSY % "pass"], stdout=subprocess.PIPE) as process:
        assert process.stdout
        group = [int(process.stdout.readline()) for _ in range(MANY)]
        processes.kill(process)
        assert [one for one in group if not gone(one, 0)] == []


def test_stopping_twice_is_fine() -> None:
    process = processes.start([sys.executable, "-c", "pass"])
    process.wait()
    processes.stop(process)
    processes.stop(process)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can bind a process to its parent")
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys; from outlive import processes;"
        f"child = processes.start([sys.executable, '-c', {SLEEPER!r}], stdout=subprocess.PIPE);"
        "child.stdout.readline(); print(child.pid, flush=True); child.wait()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        parent.kill()
    assert gone(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can bind a process to its parent")
def test_a_program_whose_parent_is_dead_already_does_not_start() -> None:
    argv = [
        sys.executable,
        "-I",
        "-S",
        str(processes.LIFELINE),
        "1",
        "--",
        sys.executable,
        "-c",
        "print('up')",
    ]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_the_lifeline_needs_the_standard_library_alone() -> None:
    assert os.access(processes.LIFELINE, os.R_OK)
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            str(processes.LIFELINE),
            str(os.getpid()),
            "--",
            sys.executable,
            "-c",
            "print(1)",
        ],
        capture_output=True,
        check=True,
    )
    assert done.stdout == b"1\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows what a process started with")
def test_daemons_have_ended_when_they_are_killed() -> None:
    code = BUSY % "os.setsid()"
    ours = {**os.environ, "OUTLIVE_TEST_DAEMONS": f"{os.getpid()}"}
    with (
        processes.running([sys.executable, "-c", code], env=ours, stdout=subprocess.PIPE) as parent,
        processes.running([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE) as other,
    ):
        assert parent.stdout
        assert other.stdout
        other.stdout.readline()
        daemons = [int(parent.stdout.readline()) for _ in range(MANY)]
        processes.kill_daemons("OUTLIVE_TEST_DAEMONS", f"{os.getpid()}")
        assert [daemon for daemon in daemons if not gone(daemon, 0)] == []
        assert other.poll() is None
