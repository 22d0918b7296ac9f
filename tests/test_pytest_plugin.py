"""The pytest plugin, run by pytest itself on tests of small apps."""

from __future__ import annotations

import gc
import sys
from importlib.metadata import entry_points

import pytest

from outlive.inprocess import count

pytest_plugins = ["pytester"]

INSTALLED = any(one.name == "outlive" for one in entry_points(group="pytest11"))

APPS = """
import asyncio, gc, logging, warnings
import pytest

class Kept:
    pass

kept = []

def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/leak":
        kept.append(Kept())
    if path == "/cycle":
        one = Kept()
        one.self = one
    if path == "/log":
        try:
            raise RuntimeError("logged")
        except RuntimeError:
            logging.getLogger("app").exception("failed")
    if path == "/warn":
        warnings.warn("old", DeprecationWarning)
    body = environ["wsgi.input"].read()
    start_response("404 NOT FOUND" if path == "/none" else "200 OK", [])
    return [environ["QUERY_STRING"].encode(), body, environ.get("HTTP_X_ID", "").encode()]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["ready"] = True
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        kept.append("shut down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/leak":
        kept.append(Kept())
    await asyncio.sleep(0)
    message = await receive()
    await send({"type": "http.response.start", "status": 201 if message["body"] else 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})

async def asgi_without_lifespan(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})
"""


def run(pytester: pytest.Pytester, tests: str, *words: str) -> pytest.RunResult:
    pytester.makepyfile(APPS + tests)
    plugin = [] if INSTALLED else ["-p", "outlive.pytest_plugin"]
    return pytester.runpytest_subprocess(*plugin, "-W", "error", "--strict-markers", *words)


@pytest.mark.parametrize("path", ["/", "/none", "/log", "/?a=b"])
def test_an_app_that_leaves_nothing_passes(pytester: pytest.Pytester, path: str) -> None:
    tests = f"""
@pytest.mark.limit_survivors(per_request=0)
def test_app(count_survivors):
    found = count_survivors.wsgi(wsgi, {path!r}, headers={{"X-Id": "1"}}, body=b"x", method="POST")
    assert (found.per_request, found.growth) == (0, "none")
"""
    run(pytester, tests).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("path", "counts"), [("/leak", "0 cyclic, 1 leaked"), ("/cycle", "1 cyclic, 0 leaked")]
)
def test_an_app_that_leaves_something_fails(pytester: pytest.Pytester, path: str, counts: str) -> None:
    tests = f"""
@pytest.mark.limit_survivors(per_request=0)
def test_app(count_survivors):
    count_survivors.wsgi(wsgi, {path!r})
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            f"each request leaves 1 objects, 0 allowed ({counts}, over * requests)",
            "types: 1 test_an_app_that_leaves_something_fails.Kept*",
        ]
    )


def test_a_limit_lets_so_much_pass(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.limit_survivors(per_request=1)
def test_app(count_survivors):
    assert count_survivors.wsgi(wsgi, "/leak").leaked == 1
"""
    run(pytester, tests).assert_outcomes(passed=1)


def test_without_a_marker_it_only_counts(pytester: pytest.Pytester) -> None:
    tests = """
def test_app(count_survivors):
    assert count_survivors(lambda: kept.append(Kept())).per_request == 1
"""
    run(pytester, tests).assert_outcomes(passed=1)


def test_asgi_apps_are_started_served_and_shut_down(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.limit_survivors(per_request=0)
def test_app(count_survivors):
    count_survivors.asgi(asgi, "/", method="POST", body=b"x", status=201)
    assert kept == ["shut down"]
    count_survivors.asgi(asgi_without_lifespan, status=200)

def test_leak(count_survivors):
    assert count_survivors.asgi(asgi, "/leak").leaked == 1
"""
    run(pytester, tests).assert_outcomes(passed=2)


def test_an_unexpected_status_is_not_counted(pytester: pytest.Pytester) -> None:
    tests = """
def test_app(count_survivors):
    count_survivors.wsgi(wsgi, "/none", status=200)
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["/none was answered 404, not 200: nothing is counted"])


def test_recorded_warnings_are_no_survivors(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.filterwarnings("always")
@pytest.mark.limit_survivors(per_request=0)
def test_app(count_survivors):
    count_survivors.wsgi(wsgi, "/warn")
"""
    run(pytester, tests).assert_outcomes(passed=1, warnings=1)


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("limit_survivors", "limit_survivors takes per_request=NUMBER*"),
        ("limit_survivors(0)", "limit_survivors takes per_request=NUMBER*"),
        ("limit_survivors(per_request=-1)", "limit_survivors takes per_request=NUMBER*"),
    ],
)
def test_a_marker_with_wrong_words_is_refused(pytester: pytest.Pytester, marker: str, said: str) -> None:
    result = run(pytester, f"\n@pytest.mark.{marker}\ndef test_app(count_survivors):\n    pass\n")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {said}"])


def test_a_marker_without_the_fixture_is_refused(pytester: pytest.Pytester) -> None:
    result = run(pytester, "\n@pytest.mark.limit_survivors(per_request=0)\ndef test_app():\n    pass\n")
    result.stderr.fnmatch_lines(["ERROR: *::test_app: limit_survivors needs the fixture count_survivors"])


def test_a_test_that_counts_nothing_is_an_error(pytester: pytest.Pytester) -> None:
    tests = "\n@pytest.mark.limit_survivors(per_request=0)\ndef test_app(count_survivors):\n    pass\n"
    result = run(pytester, tests)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["limit_survivors: the test counted nothing: call count_survivors"])


def test_starting_pytest_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    tests = """
import sys
def test_modules():
    assert not {"msgspec", "outlive.worker.probe", "outlive.inprocess"} & set(sys.modules)
"""
    run(pytester, tests).assert_outcomes(passed=1)


class TestState:
    """What the garbage collector was set to is so again afterwards, whatever happens."""

    @pytest.fixture(autouse=True)
    def _restore(self) -> object:
        yield
        gc.unfreeze()
        gc.enable()

    @pytest.mark.parametrize("enabled", [True, False])
    def test_is_as_before(self, enabled: bool) -> None:
        if not enabled:
            gc.disable()
        thresholds, callbacks, interval = gc.get_threshold(), gc.callbacks[:], sys.getswitchinterval()
        count(list)
        assert gc.isenabled() is enabled
        assert gc.get_freeze_count() == 0
        assert (gc.get_threshold(), gc.callbacks, sys.getswitchinterval()) == (
            thresholds,
            callbacks,
            interval,
        )

    def test_even_if_a_request_raises(self) -> None:
        sent = iter(range(30))

        def send() -> int:
            return next(sent)

        with pytest.raises(StopIteration):
            count(send)
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0

    def test_what_was_frozen_stays_frozen(self) -> None:
        gc.freeze()
        before = gc.get_freeze_count()
        count(list)
        assert gc.get_freeze_count() >= before - 100
