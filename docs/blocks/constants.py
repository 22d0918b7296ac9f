"""What docs/how-we-decide.md quotes: constants with their docstrings, what was simulated with them."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[2] / "results"


def constant(module: str, name: str) -> str:
    """Return the value of a constant."""
    return _value(getattr(importlib.import_module(module), name))


def constants(*modules: str) -> str:
    """Return a table of the constants of modules that have a docstring, with it."""
    rows = [row for module in modules for row in _constants(module)]
    return _table(("constant", "is", "what it lets through and what it catches"), rows)


def simulated(what: str) -> str:
    """Return how many comparisons, or metrics of one, were simulated."""
    return f"{_decision_rates()[what]:,}"


def noisier() -> str:
    """Return the false alarms of our method where one side is noisier, in multiples of what is promised."""
    rows = _interval_choice()["rows"]
    row = next(r for r in rows if (r["noise"], r["method"]) == ("one side noisier", "ours"))
    return f"{row['alarms']:.1f}"


def _decision_rates() -> Any:
    return json.loads((RESULTS / "decision-rates.json").read_bytes())


def _interval_choice() -> Any:
    return json.loads((RESULTS / "interval-choice.json").read_bytes())


def _constants(module: str) -> Iterator[tuple[str, ...]]:
    """Yield name, value and docstring of each constant that has a docstring, in the order of the module."""
    found = importlib.import_module(module)
    body = ast.parse(Path(str(found.__file__)).read_text(encoding="utf-8")).body
    for at, after in pairwise(body):
        match at, after:
            case (
                ast.Assign(targets=[ast.Name(id=name)]),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ) if name.isupper() and _plain(getattr(found, name)):
                yield f"`{name}`", _value(getattr(found, name)), " ".join(text.split())


def _plain(value: Any) -> bool:
    """Return whether a constant is a number, a word, a time, or several of them."""
    if isinstance(value, tuple):
        return all(map(_plain, value))
    return isinstance(value, int | float | str | Fraction) or hasattr(value, "days")


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


def rates() -> str:
    """Return the table of simulated false alarms and of changes that were found."""
    rates = _decision_rates()["rates"]
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


def choice() -> str:
    """Return the table of methods that were compared."""
    rows = _interval_choice()["rows"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    cells = {(row["noise"], row["method"]): f"{row['alarms']:.1f}, {row['found']:.0%}" for row in rows}
    noises = dict.fromkeys(row["noise"] for row in rows)
    return _table(
        ("noise", *methods), ((noise, *(cells[noise, one] for one in methods)) for noise in noises), right=6
    )


def _table(header: tuple[str, ...], rows: Any, right: int = 0) -> str:
    lines = [header, ["---"] * (len(header) - right) + ["--:"] * right, *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
