"""The functions behind the verbs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import outlive
from outlive import api
from outlive.errors import UsageError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.replay.engine import Progress

CHECKOUT = Project(Path(__file__).parents[2])
STACK = "flask==3.1.3,python==3.11"


@pytest.mark.real
def test_the_example_of_the_page_runs() -> None:
    page = (CHECKOUT.root / "docs" / "api.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {})


@pytest.mark.real
def test_each_measurement_is_told() -> None:
    told: list[Measurement] = []
    cells: list[int] = []
    progress = Progress(cells.append, told.append)
    document = api.measure(
        STACK,
        scenarios=["ok"],
        connections=["close"],
        gc=["off"],
        fresh=True,
        project=CHECKOUT,
        progress=progress,
    )
    assert cells == [1]
    assert tuple(told) == document.measurements
    assert document.provenance.stacks[0].release == "3.1.3"


def test_a_leak_that_upstream_has_mended_is_gone_in_what_is_stored() -> None:
    document = api.leaks("starlette", python="3.11", project=CHECKOUT)
    ends = {
        (line.scenarios, line.periods[-1].gone) for line in document.lines if line.leak.growth == "leaked"
    }
    assert ends == {(("shared-error",), "1.10.0")}


def test_what_is_stored_of_leaks() -> None:
    document = api.leaks("aiohttp", python="3.11", project=CHECKOUT)
    assert document.framework == "aiohttp"
    assert [one.python for one in document.measured] == ["3.11"]
    assert document.lines


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: api.measure("flask", project=CHECKOUT), "'flask'"),
        (lambda: api.measure(STACK, scenarios=["not-fund"], project=CHECKOUT), "no scenario 'not-fund'"),
        (lambda: api.explain(STACK, "*-error", project=CHECKOUT), "explain takes one scenario"),
        (lambda: api.explain(STACK, "ok", gc=["on", "off"], project=CHECKOUT), "one gc policy, not 2"),
        (lambda: api.leaks("flask", python="three", project=CHECKOUT), "--python takes a version"),
        (lambda: api.gate("flsk", project=CHECKOUT), "flsk"),
    ],
)
def test_words_that_name_nothing(call: object, reason: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError, match=re.escape(reason)):
        call()


def test_the_public_names_are_the_functions() -> None:
    assert outlive.__all__ == sorted(outlive.__all__)
    for name in outlive.__all__:
        assert getattr(outlive, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="has no attribute 'compere'"):
        _ = outlive.compere
