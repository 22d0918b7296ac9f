"""Practices: what a file says, several as one, wrapping and configuring real apps, ours on real releases."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from measuring import CHECKOUT, cell, measured, reference
from outlive.errors import UsageError
from outlive.project import Project
from outlive.records.remedy import Remedy
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.engine import SILENT, CellRequest
from outlive.service import remedies, scenarios
from outlive.stacks.prepare import prepare, prepare_pair

TRACING = '''# /// script
# dependencies = ["opentelemetry-sdk", "sentry-sdk[flask]"]
# ///
"""Ours."""


def tracing(app):
    """Trace each request.

    And more.
    """


def _hidden(app):
    pass
'''
WRAPPING = '''"""A middleware that keeps something of each request, one that does not; one before the app."""

import sys

kept = []


class Visit:
    """Is kept."""


def leaking(app):
    def wrapped(environ, start_response):
        kept.append(Visit())
        return app(environ, start_response)

    return wrapped


def clean(app):
    def wrapped(environ, start_response):
        Visit()
        return app(environ, start_response)

    return wrapped


def early():
    assert "v1" not in sys.modules
    sys.early = True


def late(app):
    assert sys.early
    assert "v1" in sys.modules
    assert app.name == "v1"
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tracing.py").write_text(TRACING)
    (tmp_path / "wrapping.py").write_text(WRAPPING)
    return tmp_path


class TestFile:
    def test_what_it_says(self, folder: Path) -> None:
        found = remedies.practice("tracing.py:tracing", folder)
        assert (found.name, found.summary, found.kind) == (
            "tracing.py:tracing",
            "Trace each request.",
            "practice",
        )
        assert found.packages == ("opentelemetry-sdk", "sentry-sdk[flask]")
        assert found.functions == (f"{folder}/tracing.py:tracing",)
        assert remedies.practice(f"{folder}/tracing.py:tracing", Path("/")) == found

    def test_what_another_text_of_it_gave_is_not_mixed_with_it(self, folder: Path) -> None:
        before = remedies.practice("tracing.py:tracing", folder).key
        assert remedies.practice("tracing.py:tracing", folder).key == before
        (folder / "tracing.py").write_text(TRACING + "\n")
        assert remedies.practice("tracing.py:tracing", folder).key != before

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("tracing.py", "tracing.py: a practice is FILE.py:function, as in tracing.py:tracing"),
            ("none.py:f", "{folder}/none.py: there is no such file"),
            ("tracing.py:trace", "{folder}/tracing.py has no function 'trace'; try tracing"),
            ("tracing.py:_hidden", "{folder}/tracing.py has no function '_hidden'; try tracing"),
            ("cut.py:f", "{folder}/cut.py is not Python: '(' was never closed (<unknown>, line 1)"),
            ("empty.py:f", "{folder}/empty.py has no function 'f'; try it has none"),
            ("meta.py:f", "{folder}/meta.py: its script metadata are none: "),
        ],
    )
    def test_what_is_none_is_one_line(self, folder: Path, words: str, message: str) -> None:
        (folder / "cut.py").write_text("def f(")
        (folder / "empty.py").touch()
        (folder / "meta.py").write_text('# /// script\n# dependencies = ["a b"]\n# ///\ndef f(app): ...\n')
        with pytest.raises(UsageError) as caught:
            remedies.practice(words, folder)
        assert str(caught.value).startswith(message.format(folder=folder))
        assert "\n" not in str(caught.value)


class TestSeveral:
    def test_none(self) -> None:
        assert remedies.practices(CHECKOUT, "flask", ()) is None

    def test_one_of_ours_by_its_name(self) -> None:
        found = remedies.practices(CHECKOUT, "flask", ["clear-error"])
        assert found == remedies.find(CHECKOUT, "flask", "clear-error")

    def test_they_are_one(self, folder: Path) -> None:
        words = ["error-tracker", "tracing.py:tracing", "recycle-workers"]
        found = remedies.practices(CHECKOUT, "flask", words, folder)
        assert found
        assert found.name == "error-tracker+tracing.py:tracing+recycle-workers"
        assert found.packages == ("sentry-sdk", "opentelemetry-sdk", "sentry-sdk[flask]")
        names = [one.rpartition("/")[2] for one in found.functions]
        assert names == ["sentry.py:sentry", "tracing.py:tracing"]
        assert found.arguments == ("--max-requests", "1000")
        assert found.against("2.2.5") is not None
        other = remedies.practices(CHECKOUT, "flask", words[::-1], folder)
        assert other
        assert other.key != found.key

    def test_one_that_does_not_apply(self) -> None:
        with pytest.raises(UsageError, match="context-manager does not apply to aiohttp: a service cannot"):
            remedies.practices(CHECKOUT, "aiohttp", ["context-manager", "clear-error"])


# Real releases


def _with(*words: str, folder: Path) -> Remedy:
    found = remedies.practices(CHECKOUT, "flask", words, folder)
    assert found
    return found


@pytest.mark.real
def test_what_a_function_returns_is_served_and_a_planted_leak_in_it_is_found(folder: Path) -> None:
    plain = reference("flask")

    def left(*words: str) -> float | None:
        (found,) = measured(msgspec.structs.replace(plain, remedy=_with(*words, folder=folder)), cell())
        assert found.status == "measured", found.reason
        return found.leaked_per_request

    assert left("wrapping.py:leaking") == 1
    assert left("wrapping.py:early", "wrapping.py:clean") == 0


@pytest.mark.real
def test_one_function_is_called_before_the_app_is_imported_and_one_after(folder: Path) -> None:
    together = _with("wrapping.py:early", "wrapping.py:late", folder=folder)
    (found,) = measured(msgspec.structs.replace(reference("flask"), remedy=together), cell())
    assert found.status == "measured", found.reason


@pytest.mark.real
@pytest.mark.parametrize(
    ("framework", "name", "scenario"),
    [
        ("flask", "error-tracker", "handler-error"),
        ("flask", "opentelemetry", "ok"),
        ("flask", "prometheus", "ok"),
        ("flask", "session", "ok"),
        ("aiohttp", "error-tracker", "handler-error"),
        ("aiohttp", "opentelemetry", "ok"),
        ("aiohttp", "opentelemetry-client", "gateway-ok"),
        ("aiohttp", "prometheus", "ok"),
        ("aiohttp", "session", "ok"),
    ],
)
def test_ours_run_with_the_packages_that_the_stack_brings(
    framework: str, name: str, scenario: str, tmp_path: Path
) -> None:
    project = Project(CHECKOUT.root, measured=tmp_path)
    practice = remedies.practices(project, framework, [name])
    release = {"flask": "3.1.3", "aiohttp": "3.13.2"}[framework]
    stack = prepare(project, Stack(framework, release, "3.13"), None, practice)
    assert practice
    assert {one.partition("[")[0] for one in practice.packages} <= stack.lock.versions.keys()
    chosen = scenarios.find(project.scenarios, [scenario])
    request = CellRequest(chosen, engine.cells(chosen, ("keep-alive",), ("off",)))
    ((found,),) = engine.run(project, [stack], request, SILENT)
    assert (found.status, found.remedy) == ("measured", name), found.reason


@pytest.mark.real
def test_two_releases_of_what_a_practice_needs_are_two_stacks() -> None:
    practice = remedies.practices(CHECKOUT, "flask", ["error-tracker"])
    first, second = (
        Stack.parse(f"flask==3.1.3,sentry-sdk=={version},python==3.13") for version in ("2.20.0", "2.30.0")
    )
    pair = prepare_pair(CHECKOUT, first, second, None, practice)
    assert [one.lock.versions["sentry-sdk"] for one in (pair.before, pair.after)] == ["2.20.0", "2.30.0"]
    assert [one.package for one in pair.differences] == ["sentry-sdk"]
    assert {one.record.practice for one in (pair.before, pair.after)} == {"error-tracker"}
