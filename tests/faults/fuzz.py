"""Coverage-guided fuzzing of all that reads foreign bytes: what it raises must be documented, and be quick.

    pip install atheris
    python tests/faults/fuzz.py wheel -max_total_time=3600
    python tests/faults/fuzz.py all 60        # each for so many seconds, one after the other

Further arguments are libFuzzer's own. Inputs that found something are tests in `test_foreign_files.py`.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import random
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

for name in ("tarfile", "tomllib", "zipfile"):  # who imported one already did not have it instrumented
    for loaded in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[loaded]
with atheris.instrument_imports(include=["outlive", "tarfile", "tomllib", "zipfile"]):
    import tarfile
    import tomllib  # noqa: F401 - `decode_toml` uses it
    import zipfile

    import msgspec
    from packaging.version import Version

    from outlive import probe
    from outlive.comparison.cells import judge, match
    from outlive.errors import OutliveError
    from outlive.files import decode_toml, with_checksum
    from outlive.probe import readings
    from outlive.project import Project
    from outlive.records.stack import Stack
    from outlive.releases import changelog, claims, packages
    from outlive.releases.catalogue import Catalogue
    from outlive.releases.frameworks import ChangelogRules
    from outlive.replay import compact, store
    from outlive.service.app import App
    from outlive.service.wire import Wire
    from outlive.stacks import locks, sources

CHECKOUT = Path(__file__).parents[2]
SLOW = 5
"""Seconds for one input after which libFuzzer calls it a finding."""
LONGEST = 1 << 16
"""Bytes of an input at most."""
PLACE = Path(tempfile.mkdtemp())


def changelogs(data: bytes) -> None:
    """Read a changelog and what it claims."""
    entries = changelog.parse(data.decode("utf-8", "replace"))
    claims.pick(entries, Version("1.0"), ChangelogRules())


def wheel(data: bytes) -> None:
    """Read the metadata of a wheel, and its changelog."""
    path = PLACE / "flask-9.0-py3-none-any.whl"
    path.write_bytes(data)
    with contextlib.suppress(OutliveError):
        sources._read(path, "it", "flask")
    packages.changelog_of(path)


def answer(data: bytes) -> None:
    """Read the answers of a server: heads, bodies, frames."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        wire = Wire.__new__(Wire)
        wire.socket, wire.buffer = ours, b""
        with contextlib.suppress(ValueError, IndexError, KeyError):  # as the client takes them
            while head := wire.head():
                wire.body(head)
        with contextlib.suppress(KeyError):
            wire.frame()


def result(data: bytes) -> None:
    """Read stored measurements, whose checksum is right, and compare them as verbs do."""
    path = PLACE / "py3.11-000000000000.json"
    path.write_bytes(with_checksum(data))
    with contextlib.suppress(OutliveError):
        found = store.read(path).measurements
        judge(match(found, found)[0])


def stack(data: bytes) -> None:
    """Read what names a stack."""
    with contextlib.suppress(OutliveError):
        Stack.parse(data.decode("utf-8", "surrogateescape"))


def toml(data: bytes) -> None:
    """Read an app's file."""
    with contextlib.suppress(msgspec.DecodeError):
        decode_toml(data, App)


def lock(data: bytes) -> None:
    """Read a committed lock."""
    project, release = Project(PLACE), Catalogue.load(Project(CHECKOUT), "flask").newest()
    path = locks.era_lock_path(project, release, "3.11")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    with contextlib.suppress(OutliveError):
        locks.read_era_lock(project, release, "3.11")


def reading(data: bytes) -> None:
    """Read the answer of a probe."""
    with contextlib.suppress(ValueError, RecursionError):
        readings._reading(data)


def _zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "flask-9.0.dist-info/METADATA", b"Name: flask\nRequires-Python: >=3.8\n\nMemory leak"
        )
        archive.writestr("CHANGES.rst", b"Version 1.0\n-----------\n\n- Fix a leak.\n")
    return buffer.getvalue()


def _tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        text = b"1.0\n===\n\n- Fix a memory leak. :issue:`1`\n"
        member = tarfile.TarInfo("flask-9.0/CHANGES.rst")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return buffer.getvalue()


def _stored() -> list[bytes]:
    """Return stored documents, cut to a cell each."""
    paths = sorted((CHECKOUT / "results" / "measurements").glob("flask/3.1.3/*.json"))
    documents = [store.read(path) for path in paths]
    cut = [
        msgspec.structs.replace(one, measurements=one.measurements[at : at + 1])
        for one in documents
        for at in (0, -2)
    ]
    return [compact.encode(one) for one in cut]


def _read() -> list[bytes]:
    """Return the answer of a probe."""
    with tempfile.TemporaryDirectory() as folder:
        probe.start(folder)
        return [msgspec.json.encode(one) for one in readings.ask(folder)]


ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e300, -1e-300, 10**16, 2**63, 2**64, 10**400, [], {}, [[]], [0] * 60),
    *("", "-", "x" * 5000, "\0", "\ud800", "../..", "0.0.0", "9" * 5000, "\x1b[31m", "::error::", "<script>"),
    {"": None},
)
"""Values that no document of ours has, or that mean something to who reads them."""


def mutated(data: bytes, most: int, seed: int) -> bytes:
    """Return the JSON document with values replaced, left out or repeated; what is none as libFuzzer does.

    Bytes that were changed at random are hardly ever JSON still, and then only their decoder sees them.
    """
    chance = random.Random(seed)
    try:
        document = json.loads(data) if chance.random() < 0.9 else None
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return bytes(atheris.Mutate(data, most))
    for _ in range(chance.randint(1, 3)):
        holder: Any = document
        while True:
            places = [*holder] if isinstance(holder, dict) else [*range(len(holder))]
            if not places:
                break
            place = chance.choice(places)
            inner = holder[place]
            if isinstance(inner, dict | list) and chance.random() < 0.85:
                holder = inner
                continue
            match chance.randrange(4):
                case 0:
                    del holder[place]
                case 1 if isinstance(holder, list):
                    holder.insert(place, inner)
                case 2 if isinstance(inner, int | float) and abs(inner) < 2**62:
                    holder[place] = chance.choice((-inner, inner + 1, 2 * inner, inner / 3))
                case _:
                    holder[place] = copy.deepcopy(chance.choice(ODD))
            break
    changed = json.dumps(document).encode("utf-8", "surrogatepass")
    return changed if len(changed) <= most else data


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "changelogs": (
        changelogs,
        lambda: [b"1.0\n===\n\n- Fix a leak. :issue:`1`\n", b"## 1.0 (2024-01-01)\n\n* x\n"],
    ),
    "wheel": (wheel, lambda: [_zipped(), _tarred()]),
    "answer": (
        answer,
        lambda: [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", b"\x81\x01x"],
    ),
    "result": (result, _stored),
    "stack": (stack, lambda: [b"flask==3.1.3,werkzeug@../x,python==3.12.1"]),
    "toml": (toml, lambda: [path.read_bytes() for path in (CHECKOUT / "apps").glob("*/app.toml")]),
    "lock": (lock, lambda: [next((CHECKOUT / "releases/flask/locks/py3.11").iterdir()).read_bytes()]),
    "reading": (reading, _read),
}


def main() -> int:
    """Fuzz one target, or each in a process of its own."""
    name, *options = sys.argv[1:]
    if name == "all":
        argv = [sys.executable, __file__]
        codes = [
            subprocess.run([*argv, each, f"-max_total_time={options[0]}"], check=False).returncode
            for each in TARGETS
        ]
        return max(map(abs, codes))
    target, seeds = TARGETS[name]
    corpus = PLACE / "corpus"
    corpus.mkdir()
    for at, seed in enumerate(seeds()):
        (corpus / str(at)).write_bytes(seed)
    limits = [f"-timeout={SLOW}", f"-max_len={LONGEST}", f"-artifact_prefix={Path.cwd()}/{name}-"]
    of_json = {"custom_mutator": mutated} if name in ("reading", "result") else {}
    atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], target, **of_json)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
