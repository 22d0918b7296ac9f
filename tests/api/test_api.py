"""The functions behind the verbs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import outlive
from loads import load_test
from outlive import api
from outlive.errors import FaultError, UnavailableError, UsageError
from outlive.loads.run import run
from outlive.project import Project
from outlive.records.load import Deployment
from outlive.records.measurement import Measurement
from outlive.replay.engine import Progress
from outlive.service import app as apps

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
        (
            lambda: api.gate("flask", limits=Path("none.toml"), project=CHECKOUT),
            "limits none.toml: there is no",
        ),
        (
            lambda: api.explain(STACK, "ok", connection=any_word("shut"), project=CHECKOUT),
            "no connection 'shut'",
        ),
        (lambda: api.explain(STACK, "ok", tracers=[any_word("gdb")], project=CHECKOUT), "no tracer 'gdb'"),
        (lambda: api.explain(STACK, "ok", connections=["close"]), "connections: this function does not take"),
        (lambda: api.gate("flask", sensitivity=50), "sensitivity: this function does not take it"),
        (lambda: api.measure(project=CHECKOUT), "name at least one stack"),
        (
            lambda: api.measure(any_word([STACK]), project=CHECKOUT),
            "['flask==3.1.3,python==3.11'] is not a stack",
        ),
        (lambda: api.measure(STACK, requirements=["new.txt"], project=CHECKOUT), "those of an application"),
    ],
)
def test_words_that_name_nothing(call: object, reason: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError, match=re.escape(reason)):
        call()


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda **given: api.gate("flsk", fresh=True, set=None, practices=[], **given), "flsk"),
        (lambda **given: api.explain(STACK, "*-error", jobs=1, connections=[], **given), "one scenario"),
    ],
)
def test_options_that_change_nothing_are_no_reason_to_refuse(call: object, reason: str) -> None:
    assert callable(call)
    with pytest.raises(UsageError, match=reason):
        call(sensitivity=None, project=CHECKOUT)


@pytest.mark.real
def test_only_what_is_stored_needs_a_folder_that_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reached(*_: object) -> None:
        raise UnavailableError("it would have measured")

    monkeypatch.setattr("outlive.stacks.environments.ensure", reached)
    (tmp_path / "file").touch()
    project = Project(CHECKOUT.root, measured=tmp_path / "file" / "results")
    test = load_test()
    planted = apps.load(project, "flask")

    for measured in (lambda: api.measure(STACK, fresh=True, project=project), lambda: run(project, test)):
        with pytest.raises(FaultError, match=r"results cannot be written: .*file is not a folder"):
            measured()
    with pytest.raises(UnavailableError, match="it would have measured"):
        api.gate(STACK, project=project)
    assert run(project, test, app=planted).reason == "it would have measured"


def any_word(value: object) -> Any:
    """Return a value that the types of the functions forbid."""
    return value


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"scenario": ["ok"]}, "Object contains unknown field scenario"),
        ({"scenarios": "ok"}, "scenarios: Expected array, got str"),
        ({"scenarios": [3]}, "scenarios[0]: Expected str, got int"),
        ({"connections": ["closed"]}, "connections[0]: Invalid enum value 'closed'"),
        ({"gc": None}, "gc: Expected array, got null"),
        ({"set": "most"}, "set: Invalid enum value 'most'"),
        ({"jobs": 0}, "jobs: Expected int >= 1"),
        ({"sensitivity": 1}, "sensitivity: Expected int >= 37"),
        ({"sensitivity": 10**9}, "sensitivity: Expected int <= 5000"),
        ({"fresh": "no"}, "fresh: Expected bool, got str"),
    ],
)
@pytest.mark.parametrize("function", [api.measure, api.compare])
def test_options_that_are_wrong(
    function: Callable[..., object], options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(reason)):
        function(STACK, STACK, project=CHECKOUT, **options)


def test_an_iterator_is_as_good_as_a_list() -> None:
    with pytest.raises(UsageError, match="no scenario 'not-fund'"):
        api.measure(STACK, scenarios=any_word(iter(["not-fund"])), project=CHECKOUT)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"gc": "of"}, "no gc policy 'of'"),
        ({"workers": 0}, "workers is 0"),
        ({"max_requests": -1}, "cannot be less than 0"),
    ],
)
def test_deployments_that_gunicorn_cannot_serve(wrong: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        api.load(STACK, deployment=Deployment(worker="gthread", **wrong), project=CHECKOUT)


def test_the_public_names_are_the_functions() -> None:
    assert outlive.__all__ == sorted(outlive.__all__)
    for name in outlive.__all__:
        assert getattr(outlive, name) is getattr(api, name)
    with pytest.raises(AttributeError, match="has no attribute 'compere'"):
        _ = outlive.compere
