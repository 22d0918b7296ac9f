"""Who may import whom: the contract in pyproject.toml, held by import-linter."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        CHECKOUT / "src" / "outlive",
        tmp_path / "src" / "outlive",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def contract(checkout: Path, name: str) -> tuple[int, str]:
    """Return the exit code and the text of import-linter about one contract."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "COLUMNS": "200", "TERM": "dumb"}
    command = ["lint-imports", "--no-cache", "--contract", name]
    done = subprocess.run(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "module", "line"),
    [
        ("layers", "records/measurement.py", "from outlive.service import app"),
        ("layers", "pages/drawings/svg.py", "from outlive.asv import results"),
        ("pure", "retention/growth.py", "import subprocess"),
        ("pure", "comparison/noisy/noise.py", "from outlive import processes"),
        ("worker", "worker/plant.py", "from outlive.errors import FaultError"),
    ],
)
def test_a_wrong_import_is_found(copy: Path, name: str, module: str, line: str) -> None:
    path = copy / "src" / "outlive" / module
    path.write_text(path.read_text() + f"\n{line}\n")
    code, text = contract(copy, name)
    assert code == 1
    assert "BROKEN" in text
    assert module.removesuffix(".py").replace("/", ".") in text


def test_the_code_keeps_it(copy: Path) -> None:
    code, text = contract(copy, "layers")
    assert (code, "1 kept, 0 broken" in text) == (0, True)


def test_rooms_stay_small() -> None:
    """A module has at most 400 lines, a folder at most 15 modules: past that a second idea has moved in."""
    modules = list((CHECKOUT / "src" / "outlive").rglob("*.py"))
    assert [path.name for path in modules if len(path.read_text().splitlines()) > 400] == []
    folders = Counter(path.parent for path in modules if path.name != "__init__.py")
    assert {folder.name: count for folder, count in folders.items() if count > 15} == {}


def test_a_class_name_has_one_meaning() -> None:
    """Private names are their module's own affair."""
    modules = (CHECKOUT / "src" / "outlive").rglob("*.py")
    names = Counter(
        node.name
        for path in modules
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in names.items() if count > 1] == []
