"""What docs/house.md quotes: the rooms of src/outlive, and who may import whom by contract."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "outlive"


def picture() -> str:
    """Return the layers, top to bottom, as a picture."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    rows = [f"  {'   '.join(layer.split(' | '))}  " for layer in layers]
    width = max(map(len, rows))
    edge = "─" * width
    lines = [f"│{row.center(width)}│" for row in rows]
    return "\n".join(("```text", f"┌{edge}┐", *lines, f"└{edge}┘", "```"))


def rooms() -> str:
    """Return the table of rooms, and of the modules beside them."""
    folders = [path.parent for path in sorted(SOURCE.glob("*/__init__.py"))]
    modules = [path for path in sorted(SOURCE.glob("*.py")) if not path.name.startswith("__")]
    rows = [f"| {folder.name}/ | {_told(folder / '__init__.py')} |" for folder in folders]
    rows += [f"| {module.name} | {_told(module)} |" for module in modules]
    return "\n".join(("| room | what is in it |", "|---|---|", *rows))


def _told(path: Path) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]
