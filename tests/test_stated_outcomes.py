"""What the documents say that a command prints, it prints."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from measuring import CHECKOUT
from outlive import processes

COMPARE = (
    "outlive compare aiohttp 3.11.13 3.11.14 --python 3.13 "
    "--scenario ok --scenario not-found --scenario abort-upload"
)
"""What the documents compare, without the scenarios that they leave out."""
STATED = {
    ("README.md", "aiohttp 3.11.13 → 3.11.14, Python 3.13: WITHDRAWN"): COMPARE,
    ("docs/tutorial.md", "client-close, gc off: objects left per request"): COMPARE,
    ("docs/pictures/compare.svg", "flask 2.1.3 → 3.1.3, Python 3.11: "): (
        "outlive compare flask 2.1.3 3.1.3 --scenario not-found --connection close --python 3.11"
    ),
    ("README.md", "1. cyclic garbage "): "outlive explain flask==3.1.3 --scenario not-found --python 3.11",
    ("docs/adding-a-framework.md", "starlette 1.10.0, Python 3.13"): (
        "outlive measure starlette==1.10.0,uvicorn==0.54.0 "
        "--scenario ok --connection client-reset --gc on --python 3.13"
    ),
    ("docs/gates.md", "RED  aiohttp 3.14.5"): (
        "outlive gate aiohttp==3.14.5 --gc off --scenario not-found --connection close --python 3.13 --plant"
    ),
}
"""The command by the page and the first line of the text that it is said to print."""
CODES = {"gate": 1}
ESTIMATE = "ESTIMATE"
CHARACTER = 12.2
"""Width of a character in a picture that rich has made of a terminal."""


def pictured(page: str) -> str:
    """Return the lines of the picture of a terminal; its first is the command."""
    rows: dict[float, dict[float, str]] = {}
    for one in ElementTree.parse(CHECKOUT.root / page).iter("{http://www.w3.org/2000/svg}text"):
        rows.setdefault(float(one.attrib["y"]), {})[float(one.attrib["x"])] = one.text or ""
    lines = []
    for _, row in sorted(rows.items()):
        lines.append("")
        for x, text in sorted(row.items()):
            lines[-1] = lines[-1].ljust(round(x / CHARACTER)) + text  # spaces alone are not drawn
    return "\n".join(line.rstrip() for line in lines).replace("\xa0", " ")


def stated(page: str, first: str) -> str:
    """Return the text block of a page that begins with `first`."""
    if page.endswith(".svg"):
        text = pictured(page)
        return text[text.index(first) :]
    for block in re.findall(
        r"^```text\n(.*?)^```$", (CHECKOUT.root / page).read_text(), re.MULTILINE | re.DOTALL
    ):
        if block.startswith(first):
            return str(block)
    raise AssertionError(f"{page} has no text that begins with {first!r}")


def pattern(text: str) -> str:
    """Return the expression of what is said: however lines are folded, with anything where it says `…`.

    MiB per hour, in words and in the last column of a row, are estimates that no two measurements share.
    """
    text = re.sub(r"[\d,.]+(?= MiB per hour)", ESTIMATE, text)
    text = re.sub(r"^([▲▼] .*  ).+$", rf"\1{ESTIMATE}", text, flags=re.MULTILINE)
    parts = [r"\s+".join(map(re.escape, part.split())) for part in text.split("…")]
    return ".*".join(parts).replace(ESTIMATE, r"[\d,.]+(?:\s+→\s+[\d,.]+)?")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.mark.real
@pytest.mark.parametrize(
    ("where", "command"), STATED.items(), ids=[f"{page}: {first}" for page, first in STATED]
)
def test_a_command_prints_what_a_document_says(where: tuple[str, str], command: str, results: Path) -> None:
    words = command.split()[1:]
    variables = os.environ | {"COLUMNS": "80", "OUTLIVE_RESULTS": str(results)}
    done = processes.run(
        [sys.executable, "-m", "outlive", *words], timeout=600, cwd=CHECKOUT.root, env=variables
    )
    assert done.returncode == CODES.get(words[0], 0), done.stderr
    text = re.sub(r"report: \S*?reports/", "report: .outlive/results/reports/", done.stdout)
    assert re.search(pattern(stated(*where)), text, re.DOTALL), text


def test_an_estimate_may_be_another() -> None:
    said = pattern("▼ better  ok  28 cyclic  0  4,847 → 0\n")
    assert re.search(said, "▼ better  ok  28 cyclic          0     4,874 → 0\n")
    assert not re.search(said, "▼ better  ok  27 cyclic          0     4,874 → 0\n")


def test_a_text_that_is_wrong_is_told() -> None:
    assert re.search(pattern("a  b\n…\nc"), "x a\n b c\n c d", re.DOTALL)
    assert not re.search(pattern("7 objects\n…\nd"), "7 things, 8 objects d", re.DOTALL)
