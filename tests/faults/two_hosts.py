"""Two hosts measure a sweep, one worker is killed and one host is cut off: nothing may be lost or change.

    python tests/faults/two_hosts.py --since 3.0.0

Needs Linux, root and `ip` (iproute2). The hosts are network namespaces on this machine, each with an address,
a host name and a cache folder of its own, joined to the client by veth pairs and a bridge. First the client
measures alone; then three workers measure the same on two hosts. While all have a stack in hand, one worker
is killed and the other host's cable is cut. All cells must be there, once each, with the same integers as
the client's own. Ends with status 1 if anything did not hold, and 77 where this cannot be run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distributed import Client

from outlive.records.measurement import Measurement
from outlive.replay.store import key, read

CHECKOUT = Path(__file__).parents[2]
PREFIX = f"ol{os.getpid() % 10_000}"  # of the bridge, the cables and the namespaces: names of ours alone
NETWORK = "10.231.7"
CLIENT = f"{NETWORK}.1"
HOSTS = {f"{PREFIX}a": f"{NETWORK}.11", f"{PREFIX}b": f"{NETWORK}.12"}
WITHIN = 300.0
"""Seconds in which workers have to come and to have something in hand."""
CANNOT = 77
EXACT = (
    "status",
    "growth",
    "requests",
    "survivors_per_request",
    "cyclic_per_request",
    "leaked_per_request",
    "survivors_per_connection",
    "leaked_per_connection",
    "types",
    "fingerprints",
    "answer",
)


def ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=not check)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """Join the hosts to this one, for as long as the context lasts."""
    bridge = f"{PREFIX}br"
    try:
        ip("link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{CLIENT}/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        for host, address in HOSTS.items():
            ip("netns", "add", host)
            ip("link", "add", f"{host}o", "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("link", "set", f"{host}o", "master", bridge, "up")
            ip("-n", host, "addr", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                ip("-n", host, "link", "set", device, "up")
        yield
    finally:
        for host in HOSTS:
            ip("netns", "del", host, check=False)  # its cable goes with it
        ip("link", "del", bridge, check=False)


def checkout(folder: Path) -> Path:
    """Return a checkout in which nothing was measured yet."""
    folder.mkdir()
    for name in ("apps", "loadtests", "releases", "benchmarks"):
        (folder / name).symlink_to(CHECKOUT / name)
    shutil.copy(CHECKOUT / "asv.conf.json", folder)
    return folder


def sweep(root: Path, words: list[str]) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "outlive", "sweep", *words]
    return subprocess.Popen(argv, cwd=root, env=os.environ | {"OUTLIVE_ROOT": str(root)})


def stored(root: Path) -> dict[tuple[Any, ...], Measurement]:
    """Return what is stored, by release and cell; a cell that is there twice is a fault."""
    found: dict[tuple[Any, ...], Measurement] = {}
    for path in root.glob("results/measurements/*/*/*.json"):  # a sweep in a checkout publishes
        for measurement in read(path).measurements:
            name = (measurement.release, *key(measurement))
            assert name not in found, f"{name} is stored twice"
            found[name] = measurement
    return found


@contextlib.contextmanager
def dask(
    program: str, host: str | None, env: dict[str, str], *words: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Dask program, on one of the hosts; it and all its children end with the context."""
    argv = [sys.executable, "-m", f"distributed.cli.dask_{program}", "--no-dashboard", *words]
    if host:
        naming = f'hostname {host}; exec "$@"'
        argv = ["ip", "netns", "exec", host, "unshare", "--uts", "sh", "-c", naming, "sh", *argv]
    process = subprocess.Popen(
        argv,
        env=os.environ | env,
        cwd=CHECKOUT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def busy(client: Any, workers: set[str]) -> bool:
    """Whether each of the workers has something in hand."""
    names = {
        info["name"]: address for address, info in client.scheduler_info(n_workers=-1)["workers"].items()
    }
    processing = client.processing()
    return all(name in names and processing.get(names[name]) for name in workers)


def until(what: str, reached: Any, running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + WITHIN
    while not reached():
        if time.monotonic() > deadline or running.poll() is not None:
            raise TimeoutError(f"not while the sweep ran, or not within {WITHIN:g} s: {what}")
        time.sleep(0.05)


def differing(ours: Measurement, theirs: Measurement) -> list[str]:
    """Return the exact fields in which two measurements of one cell differ."""
    sides = [[(phase.survivors, phase.leaked) for phase in one.phases] for one in (ours, theirs)]
    names = [name for name in EXACT if getattr(ours, name) != getattr(theirs, name)]
    return names + ["phases"] * (sides[0] != sides[1] and ours.gc == "off")


def play(folder: Path, words: list[str]) -> list[str]:
    """Return what did not hold."""
    alone, together = checkout(folder / "alone"), checkout(folder / "together")
    assert sweep(alone, words).wait() == 0
    expected = stored(alone)
    address = f"tcp://{CLIENT}:8786"
    options = ("--nthreads", "1", "--local-directory", str(folder))
    with contextlib.ExitStack() as ending:
        ending.enter_context(network())
        ending.enter_context(dask("scheduler", None, {}, "--host", CLIENT, "--port", "8786"))
        workers = {}
        for name, host in (("a1", min(HOSTS)), ("a2", min(HOSTS)), ("b1", max(HOSTS))):
            env = {"OUTLIVE_ROOT": str(together), "OUTLIVE_CACHE": str(folder / f"cache-{host}")}
            workers[name] = ending.enter_context(dask("worker", host, env, address, "--name", name, *options))
        client: Any = ending.enter_context(Client(address, timeout=60))  # type: ignore[no-untyped-call]
        client.wait_for_workers(3, timeout=WITHIN)
        running = sweep(together, [*words, "--scheduler", address])
        until(
            "all workers have something in hand",
            lambda: busy(client, {*workers}),
            running,
        )
        began = time.monotonic()
        end(workers["a1"])
        print("a1 killed", flush=True)
        ip("link", "set", f"{max(HOSTS)}o", "down")
        print("b1 cut off", flush=True)
        until("b1 is given up", lambda: "b1" not in names(client), running)
        print(f"b1 given up after {time.monotonic() - began:.0f} s", flush=True)
        ip("link", "set", f"{max(HOSTS)}o", "up")
        code = running.wait()
    found = stored(together)
    faults = [f"the sweep ends with {code}"] * (code != 0)
    faults += ["nothing was measured"] * (not expected)
    faults += [f"{name} is lost" for name in expected.keys() - found.keys()]
    faults += [f"{name} is too much" for name in found.keys() - expected.keys()]
    for cell in sorted(expected.keys() & found.keys()):
        faults += [f"{cell}: {field} differs" for field in differing(expected[cell], found[cell])]
    faults += ["only one host has stored cells"] * (len(hosts(found)) < len(HOSTS))
    print(f"{len(found)} of {len(expected)} cells; by host: {dict(hosts(found))}")
    return faults


def hosts(measurements: dict[tuple[Any, ...], Measurement]) -> Counter[str]:
    return Counter(one.host for one in measurements.values())


def names(client: Any) -> set[str]:
    return {info["name"] for info in client.scheduler_info(n_workers=-1)["workers"].values()}


def main() -> int:
    """Play, and say what did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--since", default="2.3.0", help="first release of Flask")
    parser.add_argument("--scenario", nargs="*", default=["ok", "not-found", "handler-error"])
    options = parser.parse_args()
    if os.geteuid() or not shutil.which("ip") or not shutil.which("unshare"):
        print("two_hosts: needs root, ip and unshare", file=sys.stderr)
        return CANNOT
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else namespaces and workers would stay
    words = ["flask", "--since", options.since, "--python", "3.11", "--jobs", "1"]
    words += [word for name in options.scenario for word in ("--scenario", name)]
    with tempfile.TemporaryDirectory() as folder:
        faults = play(Path(folder), words)
    print("\n".join(faults) or "nothing lost, nothing twice, every integer equal")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
