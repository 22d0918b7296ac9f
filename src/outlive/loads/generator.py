"""Runs locust and returns what it sent and received; locust dies with this process."""

from __future__ import annotations

import importlib.util
import math
import os
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, STDOUT, Popen

import msgspec

from outlive import processes, temporary
from outlive.errors import FaultError
from outlive.files import keep_short
from outlive.loads.locust.tally import UNWRITTEN, Result, merged
from outlive.project import Project
from outlive.records.load import Generated, Traffic
from outlive.service import users
from outlive.service.seal import Address, told

STALL = 10.0
"""Seconds without any answer after which the server counts as hanging."""
SILENCE = 60.0
"""Seconds without a report after which locust counts as hanging, at most; it reports each second."""
START_AND_END = 30.0
"""Seconds for locust to start, and to wait for the requests under way at the end: it reports nothing then."""
HERE = Path()
LOG = "locust.log"
FILES = 50
"""Files that a locust process opens, not counting the connections of its clients."""
OPTIONS = "LOCUST_"
"""Variables that locust takes as options: they would change what is sent."""
SCRATCH = "OUTLIVE_SCRATCH"
"""The variable with the folder of one locust, by which daemons of the user's own locustfile are found."""
LOOK = 0.2
"""Seconds between two reads of locust's report."""


def generate(
    address: Address,
    traffic: Traffic,
    *,
    project: Project,
    folder: Path = HERE,
    stall: float = STALL,
    progress: Callable[[Generated], object] = lambda _: None,
) -> Generated:
    """Send `traffic` to the server at `address` and return what came back.

    `progress` is called about once a second with the result so far. The user's own locustfile is in `folder`
    (default: the current one). The test ends early if no request is answered for `stall` seconds (for a
    locustfile, whose users may pause, at least for its `patience`), or if one of several locust processes is
    lost; `stopped` then says why.

    Raises UsageError for traffic that cannot be sent, and FaultError if locust does not start, dies, hangs or
    may not open a connection for each client.
    """
    users.check(project.loadtests, traffic, folder=folder)
    if importlib.util.find_spec("locust") is None:
        raise FaultError(
            "a load test needs locust: pip install 'outlive[load]', or -e '.[load]' in a checkout"
        )
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < (needed := traffic.clients // traffic.workers + FILES):
        raise FaultError(f"{traffic.clients} clients need {needed} open files: `ulimit -n` allows {files}")
    with temporary.folder() as scratch:
        argv = command(address, traffic, project, stall, scratch / "result.json", folder=folder)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OPTIONS)}
        env = inherited | told(address) | {"PYTHONDONTWRITEBYTECODE": "1"}  # for the user's locustfile
        env[SCRATCH] = str(scratch)
        try:
            with (
                (scratch / LOG).open("ab") as log,
                processes.running(
                    argv, env=env, cwd=scratch, stdin=DEVNULL, stdout=log, stderr=STDOUT
                ) as locust,
            ):
                return _follow(locust, scratch, traffic, progress)
        finally:
            if users.locustfile(traffic.user):
                processes.kill_daemons(SCRATCH, str(scratch))


def command(
    address: Address, traffic: Traffic, project: Project, stall: float, result: Path, *, folder: Path
) -> list[str]:
    """Return locust's command line for `traffic`."""
    files, names = [project.loadtests / "locustfile.py"], [traffic.user]
    if locustfile := users.locustfile(traffic.user):
        file, name = locustfile
        files.append((folder / file).absolute())
        names = [name] if name else []
        stall = max(stall, patience(traffic))
    options: dict[str, object] = {
        "--locustfile": ",".join(map(str, files)),
        "--host": f"http://{address[0]}:{address[1]}",
        "--users": traffic.clients,
        "--spawn-rate": traffic.clients,
        "--connection": traffic.connection,
        "--scenarios": ",".join(traffic.scenarios),
        "--stall": stall,
        "--result": result,
        "--exit-code-on-error": 0,
        "--loglevel": "WARNING",
    }
    if traffic.requests is not None:
        options["--requests"] = traffic.requests
    if traffic.seconds is not None:
        options["--run-time"] = math.ceil(traffic.seconds)  # locust counts in whole seconds
    if traffic.rate is not None:
        options["--rate"] = traffic.rate
    if traffic.workers > 1:
        options |= {"--processes": traffic.workers, "--master-bind-host": "127.0.0.1"}
        options |= dict.fromkeys(("--master-bind-port", "--master-port"), _free_port())
    words = [f"{name}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "locust", "--headless", "--only-summary", *words, *names]


def patience(traffic: Traffic) -> float:
    """Return the seconds without a report after which locust hangs: longer than the whole test is no use."""
    return SILENCE if traffic.seconds is None else min(SILENCE, traffic.seconds + START_AND_END)


def _follow(
    locust: Popen[bytes], folder: Path, traffic: Traffic, progress: Callable[[Generated], object]
) -> Generated:
    """Return the final result of a running locust. Raises FaultError if it hangs or ends without one."""
    last: bytes = b""
    changed = time.monotonic()
    while True:
        ended = locust.poll() is not None
        data = _read(folder / "result.json")
        if data != last:
            result = msgspec.json.decode(data, type=Result)
            last, changed = data, time.monotonic()
            generated = _generated(result)
            if result.final:
                return generated
            progress(generated)
        if ended and locust.returncode == UNWRITTEN:
            raise FaultError(
                "locust's report cannot be written: free some room, or set TMPDIR to another folder"
            )
        if ended:
            raise FaultError(f"locust {processes.ending(locust.returncode)}: {_last_words(folder)}")
        if time.monotonic() - changed > patience(traffic):
            raise FaultError(_hanging(traffic, begun=bool(last)))
        keep_short(folder / LOG)
        time.sleep(LOOK)


def _hanging(traffic: Traffic, *, begun: bool) -> str:
    """Return what hangs: the import of the user's own locustfile, its users, or locust."""
    seconds = f"{patience(traffic):g} s"
    parts = users.locustfile(traffic.user)
    if parts is None:
        return f"locust hangs: no report for {seconds}"
    where = "a user of it hangs" if begun else "it hangs while it is imported"
    return f"{parts[0]}: no request within {seconds}: {where}"


def _generated(result: Result) -> Generated:
    tallies = merged(sent.scenarios for sent in result.processes)
    faults: Counter[str] = Counter()
    for sent in result.processes:
        faults.update(sent.faults)
    seconds = max((sent.seconds for sent in result.processes), default=0.0)
    requests = sum(tally.requests for tally in tallies.values())
    busy = sum(sent.busy for sent in result.processes) + result.overhead
    return Generated(
        seconds=seconds,
        requests=requests,
        unexpected=sum(tally.unexpected for tally in tallies.values()),
        throughput=requests / seconds if seconds else 0.0,
        scenarios=tuple(tally.traffic(name) for name, tally in sorted(tallies.items())),
        cores=busy / seconds if seconds else 0.0,
        stopped=result.stopped,
        busiest=max(
            ((sent.busy + sent.waiting) / sent.seconds for sent in result.processes if sent.seconds),
            default=0.0,
        ),
        unsent=sum(sent.unsent for sent in result.processes),
        silence=max((sent.silence for sent in result.processes), default=0.0),
        faults=tuple(sorted(faults.items(), key=lambda fault: (-fault[1], fault[0]))),
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _last_words(folder: Path) -> str:
    """Return the line of locust's log that most likely says what went wrong."""
    lines = (folder / LOG).read_text(errors="replace").splitlines()
    texts = [line.strip() for line in lines if line.strip()]
    errors = [text for text in texts if "Error" in text or "ERROR" in text]
    return (errors or texts or ["it said nothing"])[-1]
