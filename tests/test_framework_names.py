"""The library names no framework: what is special about one is in its folder of `apps/`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive.project import Project

CHECKOUT = Project(Path(__file__).parents[1])
LIBRARY = CHECKOUT.root / "src" / "outlive"
NAMES = re.compile(rf"\b(?:{'|'.join(CHECKOUT.frameworks())})\b", re.IGNORECASE)
AN_EXAMPLE = re.compile(r"\w+==\d|\w+ \d+\.\d+\.\d+ \d+\.")  # in what is said to a user
IN_PROCESS = ("clients.py", "pytest_plugin.py")
"""The pytest plugin speaks to apps by their protocol; aiohttp's is its own, and names a fixture's method."""


def named(source: str) -> Iterator[str]:
    """Yield what names a framework in code; docstrings and examples in messages may."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        words = [getattr(node, field, None) for field in ("name", "id", "attr", "arg", "module")]
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            words.append(node.value)
        for word in words:
            if isinstance(word, str) and NAMES.search(word) and not AN_EXAMPLE.search(word):
                yield word


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(LIBRARY.rglob("*.py")) if path.name not in IN_PROCESS],
    ids=lambda path: str(path.relative_to(LIBRARY)),
)
def test_no_code_names_one(path: Path) -> None:
    assert list(named(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", sorted(LIBRARY.rglob("*.j2")), ids=lambda path: path.name)
def test_no_template_names_one(path: Path) -> None:
    assert NAMES.findall(path.read_text(encoding="utf-8")) == []


def test_one_would_be_found() -> None:
    assert list(named('"""Flask."""\nCOVERED = {"flask": 1}\nmodules.get("aiohttp.web_server")\n')) == [
        "flask",
        "aiohttp.web_server",
    ]


@pytest.mark.parametrize("path", ["tox.ini", "action.yml", ".github/workflows/gate.yml"])
def test_neither_does_what_gates(path: str) -> None:
    lines = (CHECKOUT.root / path).read_text(encoding="utf-8").splitlines()
    code = [line for line in lines if not line.lstrip().startswith(("#", "description"))]
    assert [line for line in code if NAMES.search(line) and not AN_EXAMPLE.search(line)] == []
