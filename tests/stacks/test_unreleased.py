"""Unreleased frameworks: wheels, sdists and source trees, and what is none of them."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from gates import CHECKOUT
from outlive.errors import FaultError, UsageError
from outlive.records.stack import Package, Stack
from outlive.replay import store
from outlive.stacks import environments, sources
from outlive.stacks.prepare import Prepared
from outlive.stacks.prepare import prepare as prepare_stack
from outlive.stacks.pythons import Interpreter
from package_index import GUNICORN, Index, Wheel, serving

BACKEND = """
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    {problem}
    pathlib.Path("build").mkdir()
    name = "{name}-9.1-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        wheel.writestr("{name}/__init__.py", "")
        metadata = "Metadata-Version: 2.1\\nName: {name}\\nVersion: 9.1\\n"
        wheel.writestr("{name}-9.1.dist-info/METADATA", metadata)
        wheel.writestr("{name}-9.1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("{name}-9.1.dist-info/RECORD", "")
    return name
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    with serving(Index([GUNICORN, Wheel("werkzeug", "3.0")])) as found:
        monkeypatch.setenv("OUTLIVE_INDEX_URL", found.url)
        monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        yield found


def prepare(source: object) -> Prepared:
    return prepare_stack(CHECKOUT, Stack("flask", f"@{source}"))


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    found = Wheel("flask", "9.0.dev1", requires=("werkzeug>=3",))
    path = tmp_path / found.filename
    path.write_bytes(found.content())
    return path


def tree(folder: Path, name: str = "flask", problem: str = "") -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND.format(name=name, problem=problem))
    return folder


def test_a_wheel_is_locked_with_its_hash_and_its_dependencies(served: Index, wheel: Path) -> None:
    found = prepare(wheel)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()[:8]
    assert (found.release.version, found.release.wheels) == (f"9.0.dev1+{digest}", ("py3",))
    assert found.lock.packages == (
        Package("flask", f"9.0.dev1+{digest}"),
        Package("gunicorn", "27.0.1"),
        Package("werkzeug", "3.0"),
    )
    assert re.search(r"flask @ file://\S+ \\\n    --hash=sha256:[0-9a-f]{64}", found.lock.text)


def test_it_can_be_installed(served: Index, wheel: Path) -> None:
    found = prepare(wheel)
    wheel.unlink()  # the cache has a copy
    environment = environments.ensure(found.lock, found.interpreter)
    assert environments.import_error(environment, "flask, gunicorn.app.base") is None


def test_what_a_build_leaves_in_the_temporary_folder_is_removed(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    prepare(tree(tmp_path / "tree", problem="import tempfile; tempfile.mkdtemp()"))
    assert not list((tmp_path / "temporary").iterdir())


def test_where_the_cache_is_does_not_make_another_lock(
    served: Index, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(wheel)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "elsewhere"))
    second = prepare(wheel)
    assert first.lock.text != second.lock.text
    assert first.identity == second.identity


def test_a_dependency_can_be_a_source_and_is_no_release(served: Index, tmp_path: Path) -> None:
    released = Wheel("flask", "9.0", requires=("werkzeug>=3",))
    (tmp_path / released.filename).write_bytes(released.content())
    folder = tree(tmp_path / "tree", "werkzeug")
    pins = (Package("werkzeug", f"@{folder}"),)
    found = prepare_stack(CHECKOUT, Stack("flask", f"@{tmp_path / released.filename}", None, pins))
    assert re.fullmatch(r"9\.1\+[0-9a-f]{8}", found.lock.versions["werkzeug"])
    assert not found.record.released
    environment = environments.ensure(found.lock, found.interpreter)
    assert environments.import_error(environment, "flask, werkzeug") is None


def test_one_source_is_built_once_and_a_change_of_it_anew(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree(tmp_path / "tree")
    built: list[Path] = []
    build = sources._built

    def counted(path: Path, said: str, interpreter: Interpreter, folder: Path) -> Path:
        built.append(path)
        return build(path, said, interpreter, folder)

    monkeypatch.setattr(sources, "_built", counted)
    first = prepare(folder).release.version
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").touch()
    assert (prepare(folder).release.version, len(built)) == (first, 1)
    (folder / "more.py").touch()
    assert prepare(folder).release.version != first
    assert len(built) == 2


def test_a_build_in_a_hook_of_git_knows_no_other_repository(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may ask git for its version."""
    for name in subprocess.check_output(["git", "rev-parse", "--local-env-vars"], text=True).split():
        monkeypatch.setenv(name, str(tmp_path))
    problem = "import os; found = sorted(set(os.environ) & {'GIT_DIR', 'GIT_INDEX_FILE', 'GIT_WORK_TREE'})"
    folder = tree(tmp_path / "tree", problem=f"{problem}\n    if found: raise OSError(found)")
    assert prepare(folder).release.version.startswith("9.1+")


def test_what_is_no_release_is_not_stored_among_releases(served: Index, wheel: Path) -> None:
    record = prepare(wheel).record
    plain = msgspec.structs.replace(record, packages=(Package("flask", "3.1.3"),))
    publishing = CHECKOUT.publishing()
    assert [store.own(publishing, one) for one in (record, plain)] == [CHECKOUT.measured, CHECKOUT.published]


def test_another_build_of_the_same_version_is_another_lock(served: Index, wheel: Path) -> None:
    before = prepare(wheel).lock
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("flask/patched.py", "")
    assert prepare(wheel).lock.digest != before.digest


def test_a_source_tree_is_built(served: Index, tmp_path: Path) -> None:
    found = prepare(tree(tmp_path / "tree"))
    assert found.release.version.partition("+")[0] == "9.1"


def test_a_source_tree_is_left_as_it_was(served: Index, tmp_path: Path) -> None:
    """The backend here leaves `build` in its folder, as setuptools does."""
    folder = tree(tmp_path / "tree")
    before = listed(folder)
    prepare(folder)
    assert listed(folder) == before


def test_what_the_build_may_need_is_there_and_virtual_environments_are_not(
    served: Index, tmp_path: Path
) -> None:
    folder = tree(
        tmp_path / "tree", problem="assert {*map(str, pathlib.Path().iterdir())} - {'__pycache__'} == FOUND"
    )
    for name in (".git/HEAD", "ignored/generated.c", ".tox/py/pyvenv.cfg", ".venv/pyvenv.cfg"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    (folder / "dangling").symlink_to("nowhere")
    with (folder / "backend.py").open("a") as backend:
        backend.write("FOUND = {'.git', '.tox', 'backend.py', 'dangling', 'ignored', 'pyproject.toml'}\n")
    assert prepare(folder).release.version.partition("+")[0] == "9.1"


def test_a_source_tree_around_the_folder_for_temporary_files(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree(tmp_path / "tree")
    (folder / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))
    assert prepare(folder).release.version.partition("+")[0] == "9.1"


def test_a_source_tree_that_cannot_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copytree", full)
    said = refused(tree(tmp_path / "tree"), FaultError)
    assert said == "flask@SOURCE: cannot be copied: No space left on device"


@pytest.mark.real
def test_setuptools_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "flask").mkdir(parents=True)
    (folder / "flask" / "__init__.py").touch()
    (folder / "setup.py").write_text("import setuptools\nsetuptools.setup(name='flask', version='9.2')\n")
    before = listed(folder)
    assert prepare(folder).release.version.partition("+")[0] == "9.2"
    assert listed(folder) == before


def listed(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def test_an_sdist_from_an_address_is_built(
    served: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree(tmp_path / "flask-9.1")
    sdist = io.BytesIO()
    with tarfile.open(fileobj=sdist, mode="w:gz") as archive:
        archive.add(folder, "flask-9.1")
    monkeypatch.setattr(served, "answer", lambda _: ("application/gzip", sdist.getvalue()), raising=False)
    fetched = sources._fetched(served.url + "flask-9.1.tar.gz", "flask@it", tmp_path)
    monkeypatch.undo()
    monkeypatch.setenv("OUTLIVE_INDEX_URL", served.url)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    assert prepare(fetched).release.version.partition("+")[0] == "9.1"


def refused(source: object, error: type[Exception]) -> str:
    with pytest.raises(error) as raised:
        prepare(source)
    said = str(raised.value)
    assert "\n" not in said
    return said.replace(str(source), "SOURCE")


def test_a_wheel_of_another_package(tmp_path: Path) -> None:
    other = Wheel("bottle", "1.0")
    path = tmp_path / other.filename
    path.write_bytes(other.content())
    assert refused(path, UsageError) == "flask@SOURCE: that is bottle 1.0, not flask"


def test_a_wheel_of_another_package_under_our_name(tmp_path: Path) -> None:
    path = tmp_path / "flask-1.0-py3-none-any.whl"
    path.write_bytes(Wheel("bottle", "1.0").content())
    assert refused(path, UsageError) == "flask@SOURCE: that is bottle 1.0, not flask"


def test_a_source_tree_of_another_package(served: Index, tmp_path: Path) -> None:
    said = refused(tree(tmp_path / "tree", "bottle"), UsageError)
    assert said == "flask@SOURCE: that is bottle 9.1, not flask"


def test_a_source_tree_that_does_not_build(served: Index, tmp_path: Path) -> None:
    said = refused(tree(tmp_path / "tree", problem="raise OSError('no compiler here')"), FaultError)
    assert re.fullmatch(r"flask@SOURCE: does not build with Python 3\.\S+: OSError: no compiler here", said)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            (
                "gcc -c x.c\nx.c:1:11: error: expected ;\nx.c:2:1: error: another\nerror: Command failed\n"
                "error: Failed to build `tree`\n  cause: The backend returned an error\n\nhint: Try again"
            ),
            "x.c:1:11: error: expected ;",
        ),
        (
            (
                "Traceback (most recent call last):\n  File\nModuleNotFoundError: No module named 'nope'\n"
                "error: Failed to build `tree`\n  cause: The build backend returned an error\n"
            ),
            "ModuleNotFoundError: No module named 'nope'",
        ),
        (
            (
                "error: Failed to build `tree`\n  cause: Invalid `pyproject.toml`\n"
                "  cause: TOML parse error at line 1, column 9\n    |\n  1 | no\n    |   ^\n"
            ),
            "Invalid `pyproject.toml`: TOML parse error at line 1, column 9",
        ),
        ("something\n\nelse\n\n", "else"),
        ("\n", "the build said nothing"),
    ],
)
def test_what_a_build_says_is_found_in_its_output(output: str, said: str) -> None:
    assert sources._why(output) == said


def test_a_file_that_only_calls_itself_a_wheel(tmp_path: Path) -> None:
    path = tmp_path / "flask-1.0-py3-none-any.whl"
    path.write_text("no")
    assert refused(path, UsageError) == "flask@SOURCE: not a wheel: File is not a zip file"


@pytest.mark.parametrize("name", ["flask.whl", "flask-1.0.whl"])
def test_a_wheel_without_a_proper_name(tmp_path: Path, wheel: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copy(wheel, path)
    assert refused(path, UsageError).startswith("flask@SOURCE: not a wheel: Invalid wheel filename")


def test_nothing_there(tmp_path: Path) -> None:
    said = refused(tmp_path / "none", UsageError)
    assert said == "flask@SOURCE: there is no such file or folder"


def test_a_folder_without_sources(tmp_path: Path) -> None:
    said = refused(tmp_path, UsageError)
    assert said == "flask@SOURCE: not a source tree: no pyproject.toml and no setup.py in it"


def test_some_other_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.touch()
    said = refused(path, UsageError)
    assert said == "flask@SOURCE: not a wheel, an sdist (.tar.gz) or a source tree"


def test_an_address_that_cannot_be_fetched(served: Index) -> None:
    said = refused(f"{served.url}flask-9.1.tar.gz", FaultError)
    assert said == "flask@SOURCE: cannot be fetched: 404"


def test_an_address_of_something_else() -> None:
    said = refused("git+https://example.org/flask", UsageError)
    assert said == (
        "flask@SOURCE: only the address of a .whl, .tar.gz or .zip can be fetched; clone a repository first"
    )
