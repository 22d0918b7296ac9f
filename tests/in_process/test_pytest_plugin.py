"""The pytest plugin, run by pytest itself on tests of small apps."""

from __future__ import annotations

import gc
import sys
from importlib.metadata import entry_points

import pytest

from outlive.probe.count import count

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
    plugin = [] if INSTALLED else ["-p", "outlive.probe.pytest_plugin"]
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

def test_the_collector_is_as_it_was_before_that():
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=1, passed=1)
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


AIOHTTP = """
from aiohttp import web

started = []

async def ok(request):
    return web.Response(text=await request.text() + request.headers.get("X-Id", ""))

async def chunked(request):
    response = web.StreamResponse()
    response.enable_chunked_encoding()
    await response.prepare(request)
    for part in range(3):
        await response.write(b"part " * (part + 1))
    await response.write_eof()
    return response

async def leak(request):
    kept.append(Kept())
    return web.Response(status=201)

async def cycle(request):
    one = Kept()
    one.self = one
    return web.Response()

async def fail(request):
    raise RuntimeError("the handler failed")

async def lives(app):
    started.append("up")
    yield
    started.append("down")

def application():
    app = web.Application()
    app.cleanup_ctx.append(lives)
    app.router.add_route("*", "/", ok)
    for handler in (chunked, leak, cycle, fail):
        app.router.add_route("*", f"/{handler.__name__}", handler)
    return app
"""


def test_aiohttp_apps_are_started_served_and_shut_down(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.limit_survivors(per_request=0)
@pytest.mark.parametrize("path", ["/", "/chunked"])
def test_clean(count_survivors, path):
    request = {"headers": {"X-Id": "1"}, "body": b"x" * 70_000, "method": "POST", "status": 200}
    found = count_survivors.aiohttp(application(), path, **request)
    assert (found.per_request, found.growth, started[-2:]) == (0, "none", ["up", "down"])

@pytest.mark.limit_survivors(per_request=0)
def test_an_answer_without_a_body(count_survivors):
    count_survivors.aiohttp(application(), method="HEAD", status=200)

def test_leak(count_survivors):
    found = count_survivors.aiohttp(application(), "/leak", status=201)
    assert (found.leaked, found.cyclic, found.growth) == (1, 0, "leak")

def test_cycle(count_survivors):
    found = count_survivors.aiohttp(application(), "/cycle")
    assert (found.leaked, found.cyclic, found.growth) == (0, 1, "cyclic")

def test_each_404_leaves_the_ring_of_its_route(count_survivors):
    found = count_survivors.aiohttp(application(), "/missing", status=404)
    assert (found.leaked, found.growth) == (0, "cyclic")
    assert "aiohttp.web_exceptions.HTTPNotFound" in found.types
"""
    run(pytester, AIOHTTP + tests).assert_outcomes(passed=6)


def test_aiohttp_connections_that_close_and_handlers_that_fail(pytester: pytest.Pytester) -> None:
    tests = """
import sys
def test_closed(count_survivors):
    found = count_survivors.aiohttp(application(), headers={"Connection": "close"}, status=200)
    assert (found.leaked, found.cyclic) == (0, 7 if sys.version_info < (3, 12) else 0)  # asyncio's transport

def test_failed(count_survivors):
    found = count_survivors.aiohttp(application(), "/fail", status=500)
    assert found.leaked == 0

def test_wrong_status(count_survivors):
    count_survivors.aiohttp(application(), "/fail", status=200)
"""
    result = run(pytester, AIOHTTP + tests)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["/fail was answered 500, not 200: nothing is counted"])


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
    assert not {"msgspec", "outlive.worker.probe", "outlive.probe.count"} & set(sys.modules)
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
