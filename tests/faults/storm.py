"""A storm of signals: verbs are interrupted and killed at random, and what must hold afterwards is checked.

    python tests/faults/storm.py --rounds 300 --seed 1

Each round starts a verb on a checkout and a temporary folder of its own, and after a random time sends a
random signal, once or twice, to the verb itself or to one of the processes that it started. Afterwards the
exit code must be one that is documented, with one line at most on standard error; no process and no
temporary file may be left (those of a verb that was killed outright: after the next run); and whatever was
stored must be whole and exact. Ends with a table, and with status 1 if anything did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psutil

from outlive.errors import FaultError
from outlive.replay.store import read

CHECKOUT = Path(__file__).parents[2]
RELEASE = "flask==3.1.3"
CELL = ("--scenario", "ok", "--connection", "close", "--gc", "off", "--python", "3.11")
VERBS = {
    "measure": ("measure", RELEASE, *CELL, "--fresh"),
    "compare": ("compare", "flask==3.1.2", RELEASE, *CELL),
    "explain": ("explain", RELEASE, "--scenario", "ok", "--python", "3.11"),
    "gate": ("gate", RELEASE, "--gc", "off", "--python", "3.11"),
    "load": ("load", RELEASE, "--requests", "2000", "--python", "3.11"),
}
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
TARGETS = ("verb", "child")
LONGEST = 600.0
"""Seconds after which a verb that was sent a signal counts as hanging; on a busy machine a gate is long."""
GONE = 10.0
"""Seconds in which the processes of a verb that was killed are gone."""
SURVIVORS = 8.0
"""What RELEASE leaves for each request of the cell."""


class Round(msgspec.Struct, frozen=True):
    """What was done, how the verb ended, and what did not hold."""

    verb: str
    signal: str
    target: str
    twice: bool
    code: int
    faults: tuple[str, ...]


def processes(temporary: Path) -> Iterator[psutil.Process]:
    """Yield the live processes whose temporary files are in a folder, at any depth."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            own = process.environ().get("TMPDIR", "")
            if own.startswith(str(temporary)) and process.status() != psutil.STATUS_ZOMBIE:
                yield process


class Place:
    """A checkout in which nothing was measured yet, with a temporary folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.root, self.temporary = folder / "checkout", folder / "tmp"
        self.root.mkdir()
        self.temporary.mkdir()
        for name in ("apps", "loadtests", "releases"):
            (self.root / name).symlink_to(CHECKOUT / name)
        self.env = os.environ | {"OUTLIVE_ROOT": str(self.root), "TMPDIR": str(self.temporary)}

    def start(self, verb: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "outlive", *VERBS[verb]]
        return subprocess.Popen(
            argv, env=self.env, cwd=self.root, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def left(self) -> list[str]:
        """Return the temporary files that are left."""
        return sorted(path.name for path in self.temporary.iterdir())

    def wrong(self) -> Iterator[str]:
        """Yield what was stored and is not whole or not exact."""
        for path in self.root.glob(".outlive/**/*"):
            if path.is_file() and path.name.startswith(".") and path.name != ".gitignore":
                yield f"{path.name} is left"
        release = RELEASE.partition("==")[2]
        for path in self.root.glob(f".outlive/results/measurements/flask/{release}/*.json"):
            try:
                measurements = read(path).measurements
            except FaultError as error:
                yield str(error)
                continue
            for found in measurements:
                cell = (found.scenario, found.connection, found.gc)
                if cell == ("ok", "close", "off") and found.survivors_per_request != SURVIVORS:
                    yield f"{found.survivors_per_request} survivors"


def strike(
    place: Place, verb: subprocess.Popen[bytes], target: str, name: str, chance: random.Random
) -> None:
    """Send a signal to the verb, or to one of the processes that it started."""
    number = getattr(signal, name)
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if target == "verb":
            verb.send_signal(number)
            return
        children = [one for one in processes(place.temporary) if one.pid != verb.pid]
        if children:
            chance.choice(sorted(children, key=lambda one: one.pid)).send_signal(number)


def play(folder: Path, verb: str, name: str, target: str, chance: random.Random) -> Round:
    """Play one round and return how it went."""
    place, twice = Place(folder), chance.random() < 0.5
    process = place.start(verb)
    time.sleep(chance.uniform(0.7, 8))
    strike(place, process, target, name, chance)
    if twice:
        time.sleep(chance.uniform(0, 0.3))
        strike(place, process, target, name, chance)
    faults = []
    try:
        _, err = process.communicate(timeout=LONGEST)
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        faults.append("hangs")
    code = process.returncode
    killed = target == "verb" and name == "SIGKILL"
    expected = {0, 1, 3, 4, -9} if killed else {0, 1, 3, 130} if target == "verb" else {0, 1, 3, 4}
    if code not in expected:
        faults.append(f"ends with {code}")
    text = err.decode(errors="replace")
    if "Traceback" in text or "fault of outlive" in text or text.count("outlive: ") > 1:
        faults.append(f"says {text[-300:]!r}")
    deadline = time.monotonic() + GONE
    while (alive := [one.pid for one in processes(place.temporary)]) and time.monotonic() < deadline:
        time.sleep(0.1)
    if alive:
        faults.append(f"{len(alive)} processes are left")
    faults += place.wrong()
    if killed:  # the next run removes what is left, and counts exactly
        done = subprocess.run(
            [sys.executable, "-m", "outlive", *VERBS["measure"]],
            env=place.env,
            capture_output=True,
            check=False,
        )
        faults += [f"the next run ends with {done.returncode}"] * (done.returncode != 0)
        faults += place.wrong()
    if left := place.left():
        faults.append(f"{len(left)} temporary files are left")
    return Round(verb, name, target, twice, code, tuple(faults))


def storm(rounds: int, seed: int, verbs: tuple[str, ...] = tuple(VERBS)) -> list[Round]:
    """Play so many rounds, each kind of them as often as the others."""
    chance = random.Random(seed)
    kinds = [(verb, name, target) for verb in verbs for name in SIGNALS for target in TARGETS]
    chance.shuffle(kinds)
    played = []
    for at in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            played.append(play(Path(folder), *kinds[at % len(kinds)], chance))
        if faults := played[-1].faults:
            print(f"round {at}: {played[-1]}: {faults}", flush=True)
    return played


def main() -> int:
    """Play, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # A shell ignores Ctrl-C for what it runs in the background, and so would all that is started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    played = storm(options.rounds, options.seed)
    print(
        "| verb | signal | to | rounds | exit codes | did not hold |\n| --- | --- | --- | --: | --- | --: |"
    )
    for kind in sorted({(one.verb, one.signal, one.target) for one in played}):
        mine = [one for one in played if (one.verb, one.signal, one.target) == kind]
        codes = ", ".join(
            f"{code}: {count}" for code, count in sorted(Counter(one.code for one in mine).items())
        )
        print(f"| {' | '.join(kind)} | {len(mine)} | {codes} | {sum(bool(one.faults) for one in mine)} |")
    return any(one.faults for one in played)


if __name__ == "__main__":
    sys.exit(main())
