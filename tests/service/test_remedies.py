"""Remedies: what their files say, that results are kept apart, what they do to real releases."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from measuring import CHECKOUT, FRAMEWORKS, cell, environment, measured, reference
from outlive.errors import UsageError
from outlive.loads.store import LoadStore
from outlive.project import Project
from outlive.records.measurement import Measurement, StackRecord
from outlive.records.remedy import Policies, Remedy
from outlive.records.stack import Package
from outlive.replay.store import Store
from outlive.replay.subject import Subject
from outlive.retention.growth import BOUNDED_OBJECTS
from outlive.service import remedies
from outlive.service.remedies import expecting
from outlive.service.scenarios import Request, Scenario

RECORD = StackRecord(
    framework="flask",
    release="3.1.3",
    python="3.11",
    lock="0123456789ab",
    packages=(Package("flask", "3.1.3"),),
)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_function_that_is_named_exists_and_each_that_exists_is_named(framework: str) -> None:
    folder = CHECKOUT.apps / framework
    functions = {
        f"{path.relative_to(folder)}:{node.name}"
        for path in (folder / "remedies.py", *folder.glob("practices/*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    assert functions == {one.function for one in remedies.load(CHECKOUT, framework) if one.function}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_no_version_of_a_package_is_written_in(framework: str) -> None:
    needs = {one for remedy in remedies.load(CHECKOUT, framework) for one in remedy.packages}
    assert needs >= {"sentry-sdk", "opentelemetry-sdk"}
    assert not [one for one in needs if Requirement(one).specifier]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_each_does_something_or_says_why_not(framework: str) -> None:
    for one in remedies.load(CHECKOUT, framework):
        does = one.function or one.arguments or one.gc != Policies()
        assert bool(does) != bool(one.unsupported), one.name


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_all_that_the_field_talks_about_is_there(framework: str) -> None:
    names = {one.name for one in remedies.load(CHECKOUT, framework)}
    assert names >= {
        "clear-error",
        "context-manager",
        "clear-frames",
        "custom-handlers",
        "periodic-gc",
        "timed-gc",
        "freeze",
        "recycle-workers",
        "error-tracker",
        "logging",
        "development-mode",
        "opentelemetry",
        "prometheus",
        "session",
    }


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"^no remedy 'clear-eror' for flask; try clear-error"):
        remedies.find(CHECKOUT, "flask", "clear-eror")


@pytest.mark.parametrize(
    "text",
    [
        "[[remedy]]\nname = 'a'\n",
        "[[remedy]]\nname = 'a'\nsummary = 's'\ncolour = 'red'\n",
        "[[remedy]]\nname = 'a'\nsummary = 's'\nversions = 'new'\nneeds = 'n'\n",
        "[[remedy]]\nname = 'a'\nsummary = 's'\nversions = '>=2'\n",
        2 * "[[remedy]]\nname = 'a'\nsummary = 's'\n",
        "[[remedy",
    ],
)
def test_a_malformed_file_is_told_in_one_line(text: str, tmp_path: Path) -> None:
    folder = tmp_path / "apps" / "flask"
    folder.mkdir(parents=True)
    (folder / "remedies.toml").write_text(text)
    with pytest.raises(UsageError, match=r"^[^\n]*remedies\.toml: not a file of remedies: [^\n]+$"):
        remedies.load(Project(tmp_path), "flask")


def test_a_framework_without_such_a_file_has_none(tmp_path: Path) -> None:
    assert remedies.load(Project(tmp_path), "flask") == ()


def test_versions_and_their_reason() -> None:
    one = Remedy(name="a", summary="s", function="f", versions=">=2.3", needs="it needs blinker")
    assert one.against("2.3.0") is None
    assert one.against("2.2.5") == "only for >=2.3: it needs blinker"
    assert Remedy(name="a", summary="s", unsupported="no way").against("9") == "no way"


def test_the_gc_policies_that_it_makes() -> None:
    assert Remedy(name="a", summary="s").policy("off") == "off"
    periodic = Remedy(name="a", summary="s", gc=Policies(off="periodic:9"))
    assert (periodic.policy("off"), periodic.policy("on")) == ("periodic:9", None)


def test_its_results_are_never_among_those_of_the_plain_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    project = Project(tmp_path)
    one, other = Remedy(name="a", summary="s"), Remedy(name="a", summary="s", version=2)
    stores = [Store(project, RECORD), Store(project, RECORD, one), Store(project, RECORD, other)]
    for number, store in enumerate(stores):
        store.add([_measurement(survivors=number)])
    assert [[m.survivors_per_request for m in store.load()] for store in stores] == [[0], [1], [2]]
    plain = project.measured / "measurements"
    assert [plain in store.path.parents for store in stores] == [True, False, False]
    loads = [LoadStore(project, RECORD, remedy).folder for remedy in (None, one, other)]
    assert len(set(loads)) == 3


def test_other_answers_may_be_right_with_it() -> None:
    scenario = Scenario("stream-error", "s", Request(), ("200 cut",))
    one = Remedy(name="a", summary="s", answers={"stream-error": ("200",)})
    assert expecting(scenario, one).expect == ("200",)
    assert expecting(msgspec.structs.replace(scenario, name="ok"), one).expect == ("200 cut",)


def _measurement(survivors: float) -> Measurement:
    return Measurement(
        framework="flask",
        release="3.1.3",
        python="3.11",
        app_version=1,
        scenario="ok",
        connection="close",
        gc="off",
        worker="sync",
        lock=RECORD.lock,
        status="measured",
        survivors_per_request=survivors,
    )


# Real releases


def _treated(framework: str, name: str) -> Subject:
    remedy = remedies.find(CHECKOUT, framework, name)
    return msgspec.structs.replace(reference(framework), remedy=remedy)


@pytest.mark.real
def test_flask_without_and_with_remedies() -> None:
    cells = [cell(name) for name in ("ok", "not-found", "handler-error")]

    def left(subject: Subject) -> list[float | None]:
        return [m.survivors_per_request for m in measured(subject, *cells, jobs=2)]

    ok, not_found, failed = left(reference("flask"))
    assert ok is not None
    assert not_found is not None
    assert failed is not None
    assert not_found > ok < failed
    assert left(_treated("flask", "clear-error")) == [ok, not_found, ok]
    assert left(_treated("flask", "drop-traceback")) == [ok, ok, ok]
    assert left(_treated("flask", "clear-all")) == [0, 0, 0]


@pytest.mark.real
def test_aiohttp_without_and_with_a_remedy() -> None:
    cells = [cell(name) for name in ("ok", "stream-error")]
    ok, failed = measured(reference("aiohttp"), *cells)
    treated = measured(_treated("aiohttp", "clear-error"), *cells)
    assert ok.survivors_per_request is not None
    assert failed.survivors_per_request is not None
    assert failed.survivors_per_request > ok.survivors_per_request
    assert [m.survivors_per_request for m in treated] == 2 * [ok.survivors_per_request]
    assert {m.remedy for m in treated} == {"clear-error"}


@pytest.mark.real
@pytest.mark.parametrize("framework", ["flask", "aiohttp"])
def test_a_log_handler_that_keeps_records_keeps_errors_but_no_more_than_its_fill(framework: str) -> None:
    (found,) = measured(_treated(framework, "logging"), cell("handler-error"))
    assert found.growth != "leak"
    assert sum(phase.leaked for phase in found.phases) > BOUNDED_OBJECTS


@pytest.mark.real
def test_what_does_not_apply_is_unsupported_with_the_reason() -> None:
    (found,) = measured(_treated("aiohttp", "context-manager"), cell("ok"))
    assert (found.status, found.remedy) == ("unsupported", "context-manager")
    assert found.reason is not None
    assert "a service cannot do this" in found.reason


@pytest.mark.real
def test_the_interactive_debugger_leaks_for_good() -> None:
    (found,) = measured(_treated("flask", "development-mode"), cell("handler-error"))
    assert found.growth == "leak"


@pytest.mark.real
def test_a_remedy_that_cannot_start_is_a_failure_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.py").touch()
    broken = Remedy(name="broken", summary="s", functions=(f"{tmp_path}/empty.py:no_such_function",))
    subject = msgspec.structs.replace(reference("flask"), remedy=broken)
    (found,) = measured(subject, cell("ok"))
    assert found.status == "failed"
    assert "no_such_function" in (found.reason or "")
    assert environment("flask").complete
