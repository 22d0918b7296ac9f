"""Environments: a virtual environment that holds the packages of one lock and nothing else.

They are kept in the cache, named after their contents. A complete environment needs neither uv nor the index.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec
from filelock import FileLock
from packaging.utils import canonicalize_name

from outlive import processes
from outlive.errors import FaultError
from outlive.files import unwritten
from outlive.project import cache_dir
from outlive.stacks.locks import AGAIN, Lock
from outlive.stacks.pythons import Interpreter
from outlive.stacks.uv import run_uv, try_uv

NOT_INSTALLED = re.compile(r"requires `([^`]+)`, but it's not installed")
COMPLETE = "outlive-complete"  # written last: an environment without it was interrupted
IMPORT_TIMEOUT = 60.0
CUT = """
import marshal, pathlib, sys
for path in pathlib.Path(sys.argv[1]).rglob("*.%s.pyc" % sys.implementation.cache_tag):
    try:
        marshal.loads(path.read_bytes()[16:])
    except Exception:
        sys.exit(int(sys.argv[2]))
"""
"""Exits with a given status if a compiled module is cut off: on a full disk, Python writes a part of it and
goes on."""


class Environment(msgspec.Struct, frozen=True):
    """A virtual environment: its folder, its Python's executable, and what is installed."""

    path: Path
    python: Path
    lock: Lock

    @property
    def complete(self) -> bool:
        """Whether it was completely built and its interpreter still exists."""
        return (self.path / COMPLETE).is_file() and self.python.exists()


def ensure(lock: Lock, interpreter: Interpreter) -> Environment:
    """Return the environment of `lock` on `interpreter`; build it if it does not exist.

    Several processes can ask for it at once. Raises UnavailableError if the index no longer has a package,
    and FaultError if it cannot be reached, a file does not have the lock's hash, or the disk is full.
    """
    environment = named(lock, interpreter)
    path = environment.path
    if environment.complete:
        return environment
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not environment.complete:
                _build(environment, interpreter)
    except OSError as error:
        raise unwritten(path, error) from None
    return environment


def named(lock: Lock, interpreter: Interpreter) -> Environment:
    """Return the environment of `lock` on `interpreter`, whether or not it is built."""
    public = lock.release.partition("+")[0]  # many states of an application share their packages
    name = f"{lock.framework}-{public}-py{interpreter.key}-{lock.digest}"
    path = cache_dir() / "environments" / name
    return Environment(path, path / "bin" / "python", lock)


def import_error(environment: Environment, modules: str) -> str | None:
    """Return the last line of the error from importing `modules`, as in `flask, gunicorn`, or None."""
    code = f"import {modules}"
    done = processes.run([environment.python, "-I", "-c", code], timeout=IMPORT_TIMEOUT)
    if done.returncode == 0:
        return None
    return processes.complaint(done)


def unimported(environment: Environment, modules: Collection[str]) -> tuple[str, ...]:
    """Return the packages of an environment that have no top-level module among `modules`."""
    return tuple(
        name
        for name, top_level in _modules(environment.path)
        if name in environment.lock.versions and top_level and top_level.isdisjoint(modules)
    )


@functools.cache
def _modules(path: Path) -> tuple[tuple[str, frozenset[str]], ...]:
    """Return the names of the packages installed below `path`, with their top-level modules."""
    packages = []
    for record in sorted(path.glob("lib/python*/site-packages/*.dist-info/RECORD")):
        files = (line.partition(",")[0] for line in record.read_text(encoding="utf-8").splitlines())
        names = {file.partition("/")[0].partition(".")[0] for file in files if file.endswith((".py", ".so"))}
        name = canonicalize_name(record.parent.name.partition("-")[0])
        packages.append((name, frozenset(filter(None, names))))
    return tuple(packages)


def _build(environment: Environment, interpreter: Interpreter) -> None:
    path = environment.path
    if path.exists():
        shutil.rmtree(path)
    try:
        run_uv(["venv", "--python", interpreter.path, path])
        requirements = path / "lock.txt"
        requirements.write_text(environment.lock.text, encoding="utf-8")
        arguments: list[str | Path] = ["pip", "sync", "--python", environment.python, "--require-hashes"]
        arguments += ["--only-binary", ":all:", "--compile-bytecode", requirements]
        if try_uv([*arguments, "--offline"]).returncode:  # first from uv's own cache alone
            run_uv(arguments)
        lacking = try_uv(["pip", "check", "--python", environment.python]).stderr
        if missing := NOT_INSTALLED.search(lacking):
            raise FaultError(f"{environment.lock} lacks {missing[1]}; {AGAIN}")
        look: list[str | Path] = [environment.python, "-I", "-c", CUT, path, str(os.EX_IOERR)]
        if processes.run(look, timeout=IMPORT_TIMEOUT).returncode == os.EX_IOERR:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        (path / COMPLETE).touch()
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
