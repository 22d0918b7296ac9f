"""The wheel: it brings all that measuring needs, and measures in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from measuring import CHECKOUT

pytestmark = pytest.mark.real
RESULTS = {"measurements", "remedies", "reports", "loads"}
"""What verbs read of the results; asv's are read by asv, in a checkout."""
CELL = ("--scenario", "ok", "--connection", "close", "--gc", "off")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command: list[str | Path] = [
        find_uv_bin(),
        "build",
        "--quiet",
        "--wheel",
        "--out-dir",
        folder,
        CHECKOUT.root,
    ]
    subprocess.run(command, check=True)
    (found,) = folder.glob("*.whl")
    return found


def test_it_brings_what_a_checkout_has_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("outlive/data/")}
    listed: list[str | Path] = [
        "git",
        "-C",
        CHECKOUT.root,
        "ls-files",
        "apps",
        "loadtests",
        "releases",
        "results",
    ]
    committed = subprocess.run(listed, check=True, capture_output=True, text=True).stdout.splitlines()
    wanted = {
        f"outlive/data/{name}"
        for name in committed
        if not name.startswith("results/") or name.split("/")[1] in RESULTS
    }
    assert wanted <= names
    assert not [name for name in names - wanted if "__pycache__" in name or "/.outlive/" in name]
    assert wheel.stat().st_size < 12 * 2**20


def test_it_measures_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", sys.executable, environment], check=True)
    subprocess.run([find_uv_bin(), "pip", "install", "--quiet", "--python", python, wheel], check=True)
    files = environment / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / "outlive" / "data"
    before = {path: path.stat().st_mtime_ns for path in files.rglob("*")}
    hidden = {"OUTLIVE_ROOT", "OUTLIVE_RESULTS", "PYTHONPATH"}
    variables = {name: value for name, value in os.environ.items() if name not in hidden}

    def outlive(*words: str) -> str:
        done = subprocess.run(
            [environment / "bin" / "outlive", *words],
            cwd=here,
            env=variables | {"HOME": str(home)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    stack = "flask==3.1.3,python==3.11"
    assert outlive("measure", stack, *CELL).endswith("All measurements are published.\n")
    assert not any(here.iterdir())
    assert outlive("measure", stack, *CELL, "--fresh").endswith("All measurements were made here.\n")
    assert sorted(path.name for path in here.iterdir()) == [".outlive"]
    assert "flask 3.1.3  3.11    1 cell" in outlive("measured")
    assert "Measured here, not published: 3.1.3." in outlive("steps", "flask")
    outlive("measured", "--forget")
    assert "Measured here" not in outlive("steps", "flask")
    assert {path: path.stat().st_mtime_ns for path in files.rglob("*")} == before
