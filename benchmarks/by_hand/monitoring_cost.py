"""What `outlive.probe` costs a service: python benchmarks/by_hand/monitoring_cost.py [ROUNDS].

Flask's reference app under gunicorn's sync worker serves the same requests without the probe, with it, and
with it asked each second; in turns, each time in a fresh server. Prints the median ratios of the processor
time, which neighbours do not change, and how long a count of the objects takes.
"""

from __future__ import annotations

import contextlib
import os
import socket
import statistics
import sys
import tempfile
import threading
from pathlib import Path

from outlive import processes
from outlive.probe import ask as ask_all
from outlive.probe import monitor
from outlive.project import Project
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.client import Client
from outlive.service import scenarios
from outlive.stacks import environments
from outlive.stacks.prepare import prepare

REQUESTS = 1500
SERVICE = "import outlive.probe\nfrom v1 import app\noutlive.probe.start()\n"


def served(project: Project, python: Path, folder: Path | None, ask: bool) -> tuple[float, float]:
    """Return the processor seconds that the requests took, and the longest count of objects."""
    scenario = scenarios.select(scenarios.load(project.scenarios), ["not-found"])[0]
    with tempfile.TemporaryDirectory() as home, socket.create_server(("127.0.0.1", 0)) as listener:
        Path(home, "service.py").write_text(SERVICE)
        path = os.pathsep.join(map(str, (project.root / "src", project.apps / "flask", home)))
        variables = {"PATH": os.environ["PATH"], "HOME": home, "PYTHONPATH": path}
        if folder:
            variables[monitor.VARIABLE] = str(folder)
        command: list[str | Path] = [python, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"]
        with (
            Path(home, "log").open("wb") as log,
            processes.running(
                [*command, "service:app"],
                cwd=Path(home),
                env=variables,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
            ) as process,
        ):
            address = listener.getsockname()
            Client(address, scenario, "close", lambda: None).replay(100)
            done = threading.Event()
            took = [0.0]

            def asking() -> None:
                while folder and not done.wait(1.0):
                    took.extend(reading["took"] for reading in ask_all(folder))

            thread = threading.Thread(target=asking)
            if ask:
                thread.start()
            before = spent(process.pid)
            Client(address, scenario, "close", lambda: None).replay(REQUESTS)
            seconds = spent(process.pid) - before
            done.set()
            if ask:
                thread.join()
            return seconds, max(took)


def spent(group: int) -> float:
    """Return the processor seconds of all processes of a group."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    project = Project.find()
    release = Catalogue.load(project, "flask").newest()
    prepared = prepare(project, Stack("flask", release.version))
    python = environments.ensure(prepared.lock, prepared.interpreter).python
    loaded, asked, counts = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 7):
            without, _ = served(project, python, None, ask=False)
            started, _ = served(project, python, Path(folder), ask=False)
            each_second, took = served(project, python, Path(folder), ask=True)
            loaded.append(started / without)
            asked.append(each_second / without)
            counts.append(took)
    print(
        f"started, never asked: {statistics.median(loaded):.3f} times the processor time of the bare service"
    )
    print(f"asked each second:    {statistics.median(asked):.3f} times")
    print(f"longest count:        {max(counts):.4f} s")


if __name__ == "__main__":
    main()
