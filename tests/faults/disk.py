"""Disks that are full, read-only or gone: each verb, at each place that it writes to, in each of these ways.

    python tests/faults/disk.py --seed 1
    python tests/faults/disk.py --minutes 10 --verb measure --verb load

First each verb runs as it should, on disks that are watched: what it writes where, and how long it takes,
says what can be tried. Then each round has one fault at one place: a disk that is full from the start, one
that gets full when a random part of what the verb needs is written, one that is read-only, one on which an
ordinary user may not write, and a folder that is gone, or empty, after a random time. The disks are real:
small ones in memory, mounted where only the script and what it starts see them. Linux only.

Afterwards the exit code must be 0, with the same results as without the fault, or 4, or 2 where a file that
was named may not be written, which is looked at first, or where nothing is left of what is asked about; one
line must say where and why. No process and no part of a file may be left; and the next run, without the
fault, must give the same results again, and leave nothing. Ends with a table, and with status 1 if anything
did not hold.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from disk_verbs import GIVEN, MEASURE, VERBS, Verb
from grounds import CHECKOUT, RELEASE, Ground, ended, table
from mounts import NOWHERE, PAGE, Disk, options_apart

sys.path.append(str(CHECKOUT / "tests"))
from git_repository import LEAK, Flask

FAULTS = ("full", "filling", "read-only", "not ours", "gone")
ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner")
"""Runs a program without what lets root write everywhere."""
WHY = (
    "full|no space|may not write|no usable|read-only|permission denied|no such file|not permitted|"
    "cannot be written|cannot be read|does not exist|no writable|not empty|is gone|nothing of|is found"
)
"""What a line must have one of, in small letters."""
LOOK = 0.02
"""Seconds between two looks at how full a disk is."""


EXACT = frozenset(
    {"scenario", "connection", "gc", "status", "growth", "direction", "verdict", "survivors_per_request"}
    | {"leaked_per_request", "cyclic_per_request", "requests", "version", "passed"}
)
"""What must be the same in each run; times and memory are not."""


class Store:
    """What earlier runs have left, for others to start with: a whole cache, and results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = folder / "whole"
        self.cache.mkdir()

    def results(self, verb: str) -> Path:
        return self.folder / f"after-{verb}"

    @functools.cached_property
    def repository(self) -> Path:
        """A repository of the release, as it is in the cache, whose last commit leaks."""
        name = RELEASE.replace("==", "-")
        packages = next((self.cache / "environments").glob(f"{name}-py3.11*/lib/python3.11/site-packages"))
        repository = Flask(self.folder / "repository", packages)
        repository.change("a comment", "# one\n")
        repository.change("a leak", LEAK)
        return repository.folder


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Field(Ground):
    """A ground whose results, cache, temporary and written files are apart, each in a folder."""

    def __init__(self, folder: Path, verb: Verb, store: Store, *, cold: bool = False) -> None:
        self.out = folder / "out"
        super().__init__(folder, {"OUTLIVE_CACHE": folder / "cache"})
        self.cwd = NOWHERE
        self.results = self.root / verb.results
        if self.results.is_symlink():
            self.results.unlink()
            shutil.copytree(CHECKOUT / verb.results, self.results)
        self.places = {
            "results": self.results,
            "cache": folder / "cache",
            "temporary files": self.temporary,
            "output": self.out,
        }
        for place in self.places.values():
            place.mkdir(exist_ok=True)
        if not cold:
            shutil.copytree(store.cache, folder / "cache", symlinks=True, dirs_exist_ok=True)
        self.verb = verb
        self.store = store
        self.begin()
        repository = store.repository if "{repository}" in verb.words else None
        given = {"out": self.out, "repository": repository, "port": free_port()}
        self.words = [word.format_map(given) for word in verb.words]
        self.files = [self.out / f"out{option}" for option in verb.files]
        for option, file in zip(verb.files, self.files, strict=True):
            self.words += [option, str(file)]

    def run(self, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start the verb."""
        return self.start(self.words, (*before, *self.verb.before))

    def begin(self) -> None:
        """Write what the verb starts with."""
        for name, text in GIVEN.items():
            (self.out / name).write_text(text, encoding="utf-8")
        if self.verb.after:
            before = self.store.results(self.verb.after)
            shutil.copytree(before, self.results, symlinks=True, dirs_exist_ok=True)
        if self.verb.words[:2] == ("releases", "update"):
            catalogue = self.results / "flask" / "catalogue.json"
            *lines, _, last = catalogue.read_text(encoding="utf-8").splitlines()
            catalogue.write_text("\n".join((*lines[:-1], lines[-1].rstrip(","), last)), encoding="utf-8")

    def wrong(self) -> Iterator[str]:
        """Yield what is written and not whole."""
        yield from super().wrong()
        for place in (self.results, self.out):
            for path in place.rglob("*"):
                if path.suffix == ".json" and path.is_file():
                    try:
                        json.loads(path.read_bytes())
                    except ValueError:
                        yield f"{path.name} is cut"
                elif path.is_file() and not path.stat().st_size and ".git" not in path.parts:
                    yield from [f"{path.name} is empty"] * (path.suffix != ".lock")
                if path.name.startswith(".") and path.is_file() and path.name != ".gitignore":
                    yield from [f"{path.name} is left"] * (not path.name.startswith(".outlive-site"))

    def found(self) -> list[Any]:
        """Return what the verb has written that must be the same in each run."""
        written = sorted(str(path.relative_to(self.out)) for path in self.out.rglob("*"))
        written = [name for name in written if name not in GIVEN and not name.startswith(".outlive/")]
        counted = self.verb.words[0] != "load"  # what is noisy is never twice the same
        documents = [path for path in self.files if counted and "json" in path.name and path.exists()]
        return [written, *(exact(json.loads(path.read_bytes())) for path in documents)]


def exact(document: object) -> list[Any]:
    """Return what must be the same of a document, in its order."""
    if isinstance(document, dict):
        mine = [(name, value) for name, value in document.items() if name in EXACT]
        return [
            *((name, value) for name, value in mine if not isinstance(value, dict | list)),
            *(found for value in document.values() for found in exact(value)),
        ]
    return [found for value in document for found in exact(value)] if isinstance(document, list) else []


class Reference(msgspec.Struct, frozen=True):
    """What a verb finds without a fault, how many seconds it takes, and how many bytes it needs where."""

    found: list[Any]
    seconds: float
    needs: dict[str, int]


def reference(store: Store, verb: Verb) -> Reference:
    """Run a verb without a fault: once for its cache to be whole, once on disks that are watched."""
    with tempfile.TemporaryDirectory(dir=store.folder) as place:
        field = Field(Path(place), verb, store, cold=True)
        field.places["cache"].rmdir()
        field.places["cache"].symlink_to(store.cache)
        end = ended(field.run())
        if end.code != verb.code:
            raise SystemExit(f"disk: {verb.words[0]} ends with {end.code} without a fault: {end.said}")
        for name in {other.after for other in VERBS.values()}:
            if VERBS.get(name) is verb:
                shutil.copytree(field.results, store.results(name))
    with tempfile.TemporaryDirectory(dir=store.folder) as place, contextlib.ExitStack() as stack:
        field = Field(Path(place), verb, store, cold=verb is MEASURE)
        disks = {name: stack.enter_context(Disk(path)) for name, path in field.places.items()}
        first = {name: disk.used for name, disk in disks.items()}
        needs = dict.fromkeys(disks, 0)
        began = time.monotonic()
        process = field.run()
        with watching(disks, first, needs):
            end = ended(process)
        seconds = time.monotonic() - began
        if faults := [*[f"ends with {end.code}"] * (end.code != verb.code), *end.faults, *field.wrong()]:
            raise SystemExit(f"disk: {verb.words[0]} without a fault: {faults}: {end.said}")
        return Reference(field.found(), seconds, needs)


@contextlib.contextmanager
def watching(disks: dict[str, Disk], first: dict[str, int], needs: dict[str, int]) -> Iterator[None]:
    """Keep in `needs` how many bytes more than at `first` were used at most."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(LOOK):
            for name, disk in disks.items():
                needs[name] = max(needs[name], disk.used - first[name])

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class Round(msgspec.Struct, frozen=True):
    """What was tried, how the verb ended, what it said, and what did not hold."""

    verb: str
    place: str
    fault: str
    code: int
    said: str
    faults: tuple[str, ...]


@contextlib.contextmanager
def failing(path: Path, fault: str, known: Reference, needs: int, chance: random.Random) -> Iterator[None]:
    """Within the context a folder has a fault, or gets it."""
    if fault == "gone":
        away = path.with_name(f"{path.name}.gone")
        empty = chance.random() < 0.5

        def go() -> None:
            path.rename(away)
            if empty:
                path.mkdir()

        timer = threading.Timer(chance.uniform(0.3, max(0.5, known.seconds)), go)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            if path.exists() and away.exists():  # the verb has made it anew, or it is empty
                shutil.copytree(path, away, symlinks=True, dirs_exist_ok=True)
                shutil.rmtree(path)
            if away.exists():
                away.rename(path)
        return
    with Disk(path) as disk:
        if fault == "full":
            disk.limit(0)
        elif fault == "filling":
            disk.limit(PAGE * chance.randrange(1, max(2, needs // PAGE)))
        elif fault == "read-only":
            disk.read_only()
        else:
            subprocess.run(["chmod", "-R", "a-w", path], check=True)
        yield
        disk.mend()
        subprocess.run(["chmod", "-R", "u+w", path], check=True)
        kept = path.with_name(f"{path.name}.mended")
        shutil.copytree(path, kept, symlinks=True)
    shutil.rmtree(path)
    kept.rename(path)


def play(
    folder: Path, kind: tuple[str, str, str], known: Reference, store: Store, chance: random.Random
) -> Round:
    """Play one round and return how it went."""
    name, place, fault = kind
    verb = VERBS[name]
    field = Field(folder, verb, store, cold=verb is MEASURE and place == "cache")
    with failing(field.places[place], fault, known, known.needs[place], chance):
        process = field.run(ORDINARY if fault == "not ours" else ())
        end = ended(process)
        faults = [*end.faults, *field.alive()]
    if end.code == verb.code:
        lost = fault == "gone" and place == "output"  # what was written whole is taken away
        if field.found() != known.found and not lost:
            faults.append(f"ends with {end.code} and other results")
    elif end.code not in ({2, 4} if place == "output" or (place, fault) == ("results", "gone") else {4}):
        faults.append(f"ends with {end.code}")
    elif not any(word in (end.line or end.shown).lower() for word in WHY.split("|")):
        faults.append(f"says {end.said[-300:]!r} and {end.shown[-300:]!r}")
    faults += field.wrong()
    if place != "temporary files":
        faults += field.left()
    field.begin()
    again = ended(field.run())
    if again.code != verb.code or field.found() != known.found:
        faults.append(f"the next run ends with {again.code} and other results: {again.said[-300:]}")
    more = [*again.faults, *field.alive(), *field.wrong(), *field.left()]
    faults += [f"the next run: {one}" for one in more]
    return Round(name, place, fault, end.code, end.line, tuple(faults))


def rounds(folder: Path, names: Sequence[str], minutes: float, seed: int) -> list[Round]:
    """Play all rounds there are, in random order, but begin none after so many minutes."""
    chance = random.Random(seed)
    played: list[Round] = []
    store = Store(folder)
    known: dict[str, Reference] = {}
    for name in dict.fromkeys([*filter(None, (VERBS[name].after for name in names)), *names]):
        known[name] = reference(store, VERBS[name])
        print(f"{name}: {known[name].seconds:.0f} s, {known[name].needs}", flush=True)
    kinds = [
        (name, place, fault)
        for name in names
        for place, needs in known[name].needs.items()
        for fault in FAULTS
        if needs > (PAGE if fault == "filling" else 0) or (place in VERBS[name].also and fault != "filling")
    ]
    chance.shuffle(kinds)
    deadline = time.monotonic() + 60 * minutes
    for kind in kinds:
        if time.monotonic() > deadline:
            break
        with tempfile.TemporaryDirectory(dir=folder) as place:
            played.append(play(Path(place), kind, known[kind[0]], store, chance))
        print(f"{len(played)}: {' | '.join(kind)} | {played[-1].code} | {played[-1].said}", flush=True)
        for fault in played[-1].faults:
            print(f"    {fault}", flush=True)
    return played


def main() -> int:
    """Play, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=120.0, help="begin no round after so many")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verb", action="append", choices=VERBS, help="only this one; may be repeated")
    options = options_apart(parser)
    played = rounds(options.apart, options.verb or [*VERBS], options.minutes, options.seed)
    print(table(("place", "fault"), [((one.place, one.fault), one.code, not one.faults) for one in played]))
    return any(one.faults for one in played)


if __name__ == "__main__":
    sys.exit(main())
