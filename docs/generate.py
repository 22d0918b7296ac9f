"""Writes docs/how-we-decide.md from its template and from the constants of the code.

Run it after a constant has changed: `python docs/generate.py`. In the template `{{ package.module.NAME }}` is
the value of a constant, `{{ constants module … }}` a table of the constants of modules with their docstrings,
and `{{ rates }}`, `{{ choice }}` what benchmarks/by_hand simulated.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE / "how-we-decide.md"
RESULTS = HERE.parent / "results"
PLACE = re.compile(r"\{\{ ([\w.]+)((?: [\w.]+)*) \}\}")


def page() -> str:
    """Return the page as it has to be."""
    template = (HERE / "how-we-decide.md.in").read_text(encoding="utf-8")
    return PLACE.sub(lambda match: _filled(match[1], match[2].split()), template)


def _filled(what: str, words: list[str]) -> str:
    rates = json.loads((RESULTS / "decision-rates.json").read_bytes())
    choice = json.loads((RESULTS / "interval-choice.json").read_bytes())
    match what:
        case "constants":
            rows = [row for module in words for row in _constants(module)]
            return _table(("constant", "is", "what it lets through and what it catches"), rows)
        case "rates":
            return _rates(rates["rates"])
        case "choice":
            return _choice(choice["rows"])
        case "noisier":
            row = next(r for r in choice["rows"] if (r["noise"], r["method"]) == ("one side noisier", "ours"))
            return f"{row['alarms']:.1f}"
        case "comparisons" | "metrics":
            return f"{rates[what]:,}"
    module, _, name = what.rpartition(".")
    return _value(getattr(importlib.import_module(module), name))


def _constants(module: str) -> Iterator[tuple[str, ...]]:
    """Yield name, value and docstring of each constant that has a docstring, in the order of the module."""
    found = importlib.import_module(module)
    body = ast.parse(Path(str(found.__file__)).read_text(encoding="utf-8")).body
    for at, after in pairwise(body):
        match at, after:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ) if name.isupper():
                yield f"`{name}`", _value(getattr(found, name)), " ".join(text.split())


def _value(value: Any) -> str:
    match value:
        case Fraction():
            return str(value)
        case float():
            return f"{value:g}"
        case tuple():
            return ", ".join(map(_value, value))
        case _ if hasattr(value, "days"):
            return f"{value.days} days"
    return str(value)


def _rates(rates: list[dict[str, Any]]) -> str:
    sizes = list(rates[0]["found"])
    header = (
        "noise",
        "rounds",
        "spread",
        "false alarm",
        "calm",
        *(f"+{float(size):.0%} found" for size in sizes),
    )
    rows = (
        (
            row["noise"] if row["noise"] == "normal" else f"{row['noise']}: {row['what']}",
            str(row["rounds"]),
            f"{row['spread']:.0%}",
            f"{row['alarms']:.1%}",
            f"{row['calm']:.0%}",
            *(f"{row['found'][size]:.0%}" for size in sizes),
        )
        for row in rates
    )
    return _table(header, rows, right=6)


def _choice(rows: list[dict[str, Any]]) -> str:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {(row["noise"], row["method"]): f"{row['alarms']:.1f}, {row['found']:.0%}" for row in rows}
    noises = dict.fromkeys(row["noise"] for row in rows)
    return _table(
        ("noise", *methods), ((noise, *(cells[noise, one] for one in methods)) for noise in noises), right=6
    )


def _table(header: tuple[str, ...], rows: Any, right: int = 0) -> str:
    lines = [header, ["---"] * (len(header) - right) + ["--:"] * right, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
