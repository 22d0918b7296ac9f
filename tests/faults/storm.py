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
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import psutil
from grounds import CELL, RELEASE, Ground, ended, table

VERBS = {
    "measure": ("measure", RELEASE, *CELL, "--fresh"),
    "compare": ("compare", "flask==3.1.2", RELEASE, *CELL),
    "explain": ("explain", RELEASE, "--scenario", "ok", "--python", "3.11"),
    "gate": ("gate", RELEASE, "--gc", "off", "--python", "3.11"),
    "load": ("load", RELEASE, "--requests", "2000", "--python", "3.11"),
}
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGKILL")
TARGETS = ("verb", "child")


class Round(msgspec.Struct, frozen=True):
    """What was done, how the verb ended, and what did not hold."""

    verb: str
    signal: str
    target: str
    twice: bool
    code: int
    faults: tuple[str, ...]


def strike(
    ground: Ground, verb: subprocess.Popen[bytes], target: str, name: str, chance: random.Random
) -> None:
    """Send a signal to the verb, or to one of the processes that it started."""
    number = getattr(signal, name)
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if target == "verb":
            verb.send_signal(number)
            return
        children = [one for one in ground.processes() if one.pid != verb.pid]
        if children:
            chance.choice(sorted(children, key=lambda one: one.pid)).send_signal(number)


def play(folder: Path, verb: str, name: str, target: str, chance: random.Random) -> Round:
    """Play one round and return how it went."""
    ground, twice = Ground(folder), chance.random() < 0.5
    process = ground.start(VERBS[verb])
    time.sleep(chance.uniform(0.7, 8))
    strike(ground, process, target, name, chance)
    if twice:
        time.sleep(chance.uniform(0, 0.3))
        strike(ground, process, target, name, chance)
    end = ended(process)
    code, faults = end.code, [*end.faults]
    killed = target == "verb" and name == "SIGKILL"
    expected = {0, 1, 3, 4, -9} if killed else {0, 1, 3, 130} if target == "verb" else {0, 1, 3, 4}
    if code not in expected:
        faults.append(f"ends with {code} and says {end.said[-300:]!r}")
    faults += ground.alive()
    faults += ground.wrong()
    if killed:  # the next run removes what is left, and counts exactly
        again = ended(ground.start(VERBS["measure"]))
        faults += [*again.faults, *[f"the next run ends with {again.code}"] * (again.code != 0)]
        faults += ground.wrong()
    faults += ground.left()
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
    rows = [((one.verb, one.signal, one.target), one.code, not one.faults) for one in played]
    print(table(("verb", "signal", "to"), rows))
    return any(one.faults for one in played)


if __name__ == "__main__":
    sys.exit(main())
