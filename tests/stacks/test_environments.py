from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.errors import FaultError, UnavailableError
from outlive.records.stack import Package
from outlive.stacks import environments, pythons, uv
from outlive.stacks.locks import Lock
from outlive.stacks.pythons import Interpreter
from package_index import GUNICORN, Index, Wheel, serving

MODULES = "flask, gunicorn.app.base"
BUILD = """
import sys, msgspec
from outlive.stacks import environments
from outlive.stacks.locks import Lock
from outlive.stacks.pythons import Interpreter
lock = msgspec.json.decode(sys.argv[1], type=Lock)
print(environments.ensure(lock, Interpreter(*sys.argv[2:])).path)
"""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    with serving(Index([GUNICORN, Wheel("flask", "1.0")])) as found:
        monkeypatch.setenv("OUTLIVE_INDEX_URL", found.url)
        monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield found


@pytest.fixture
def lock(served: Index) -> Lock:
    return lock_of(served, "1.0")


def lock_of(index: Index, version: str) -> Lock:
    wheels = sorted(index.wheels, key=lambda wheel: wheel.name)
    packages = tuple(Package(wheel.name, wheel.version) for wheel in wheels)
    text = "".join(
        f"{wheel.name}=={wheel.version} \\\n    --hash=sha256:{wheel.simple()['hashes']['sha256']}\n"  # type: ignore[index]
        for wheel in wheels
    )
    return Lock("flask", version, "3.11", packages, text, None)


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return pythons.installed()[-1]


def installed(environment: environments.Environment) -> list[str]:
    code = "from importlib.metadata import distributions as d; print(*sorted(x.name for x in d()))"
    done = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_an_environment_holds_the_lock_and_nothing_else(lock: Lock, interpreter: Interpreter) -> None:
    environment = environments.ensure(lock, interpreter)
    assert installed(environment) == ["flask", "gunicorn"]
    assert environment.path.name == f"flask-1.0-py{interpreter.version}-{lock.digest}"
    assert environments.import_error(environment, MODULES) is None


def test_its_packages_are_compiled(lock: Lock, interpreter: Interpreter) -> None:
    environment = environments.ensure(lock, interpreter)
    assert list(environment.path.glob("lib/python*/site-packages/flask/__pycache__/__init__.*.pyc"))


def test_a_complete_one_is_used_without_asking_anyone(
    lock: Lock, interpreter: Interpreter, served: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = environments.ensure(lock, interpreter)
    served.asked.clear()
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("outlive.stacks.uv.processes.run", lambda *_, **__: pytest.fail("uv was started"))
    assert environments.ensure(lock, interpreter) == first
    assert served.asked == []


def test_one_that_was_removed_is_built_again_without_the_index(
    lock: Lock, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = environments.ensure(lock, interpreter)
    (environment.path / environments.COMPLETE).unlink()
    monkeypatch.setenv("OUTLIVE_INDEX_URL", f"http://127.0.0.1:{port(environment)}/simple/")
    assert environments.ensure(lock, interpreter).complete


def port(environment: environments.Environment) -> str:
    import os

    return str(re.search(r":(\d+)/", os.environ["OUTLIVE_INDEX_URL"])[1])  # type: ignore[index]


def test_an_interrupted_one_is_built_again(lock: Lock, interpreter: Interpreter) -> None:
    environment = environments.ensure(lock, interpreter)
    (environment.path / environments.COMPLETE).unlink()
    (environment.path / "left-over").touch()
    assert environments.ensure(lock, interpreter).complete
    assert not (environment.path / "left-over").exists()


def test_one_whose_interpreter_is_gone_is_built_again(lock: Lock, interpreter: Interpreter) -> None:
    environment = environments.ensure(lock, interpreter)
    environment.python.unlink()
    environment.python.symlink_to("/nowhere/python")
    assert environments.import_error(environments.ensure(lock, interpreter), MODULES) is None


def test_a_file_without_the_hash_of_the_lock_is_refused(
    lock: Lock, interpreter: Interpreter, served: Index
) -> None:
    served.wheels[1].files["flask/evil.py"] = ""
    with pytest.raises(FaultError) as caught:
        environments.ensure(lock, interpreter)
    assert str(caught.value) == (
        "flask==1.0: the file from the package index does not have the hash of the lock: "
        "remove the lock if it was edited, and do not trust the index if it was not"
    )


def test_a_failed_build_leaves_nothing(
    lock: Lock, interpreter: Interpreter, served: Index, tmp_path: Path
) -> None:
    served.wheels.clear()
    with pytest.raises(UnavailableError, match=r"^the package index has no project flask$"):
        environments.ensure(lock, interpreter)
    assert [path for path in (tmp_path / "cache" / "environments").iterdir() if path.is_dir()] == []


def test_a_folder_that_cannot_be_written(
    lock: Lock, interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "file"))
    said = r"cannot be written: .*/file is not a folder: set OUTLIVE_CACHE to another"
    with pytest.raises(FaultError, match=said):
        environments.ensure(lock, interpreter)


def test_an_import_that_fails_gives_its_last_line(interpreter: Interpreter, served: Index) -> None:
    served.wheels[1].files["flask/__init__.py"] = "from werkzeug import nothing\n"
    environment = environments.ensure(lock_of(served, "1.0"), interpreter)
    assert (
        environments.import_error(environment, MODULES) == "ModuleNotFoundError: No module named 'werkzeug'"
    )


def build(lock: Lock, interpreter: Interpreter) -> subprocess.Popen[bytes]:
    import msgspec

    argv = [
        sys.executable,
        "-c",
        BUILD,
        msgspec.json.encode(lock).decode(),
        interpreter.version,
        interpreter.path,
    ]
    return subprocess.Popen(argv, stdout=subprocess.PIPE)


def test_two_processes_that_want_the_same_one(lock: Lock, interpreter: Interpreter) -> None:
    with build(lock, interpreter) as one, build(lock, interpreter) as other:
        answers = {one.communicate()[0], other.communicate()[0]}
    assert (one.returncode, other.returncode, len(answers)) == (0, 0, 1)
    environment = environments.ensure(lock, interpreter)
    assert answers == {f"{environment.path}\n".encode()}
    assert environments.import_error(environment, MODULES) is None


def test_one_whose_builder_was_killed_is_built_again(
    lock: Lock, interpreter: Interpreter, tmp_path: Path
) -> None:
    with build(lock, interpreter) as builder:
        while builder.poll() is None and not list(tmp_path.glob("cache/environments/*/pyvenv.cfg")):
            time.sleep(0.005)
        builder.kill()
    assert environments.import_error(environments.ensure(lock, interpreter), MODULES) is None


def test_packages_that_nothing_imported(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    for name, files in {
        "attrs-1": ("attr/__init__.py", "attrs/__init__.py"),
        "Some_Tracer-2": ("some_tracer/_core.cpython-311-x86_64-linux-gnu.so", "../../bin/trace"),
        "types_only-3": ("types_only-stubs/py.typed",),
        "left-4": ("left.py",),
    }.items():
        record = site / f"{name}.dist-info" / "RECORD"
        record.parent.mkdir(parents=True)
        record.write_text("".join(f"{file},sha256=x,1\n" for file in (*files, f"{name}.dist-info/METADATA")))
    packages = tuple(Package(name, "1") for name in ("attrs", "some-tracer", "types-only", "left"))
    lock = Lock("attrs", "1", "3.11", packages, "", None)
    found = environments.Environment(tmp_path, tmp_path / "bin" / "python", lock)
    assert environments.unimported(found, {"attr", "left"}) == ("some-tracer",)
    assert environments.unimported(found, {"some_tracer"}) == ("attrs", "left")


def test_a_compiled_module_that_a_full_disk_has_cut_is_told(
    lock: Lock, interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = environments.named(lock, interpreter).path

    def cut(arguments: list[str | Path]) -> subprocess.CompletedProcess[str]:
        done = uv.try_uv(arguments)
        for path in folder.glob("lib/python*/site-packages/flask/**/*.pyc"):
            path.write_bytes(path.read_bytes()[:-3])
        return done

    monkeypatch.setattr(environments, "try_uv", cut)
    with pytest.raises(FaultError, match=r"cannot be written: the disk is full: free some room"):
        environments.ensure(lock, interpreter)
    assert not folder.exists()
