"""The pytest plugin, run by pytest itself on tests of small apps."""

from __future__ import annotations

import gc
import sys
from importlib.metadata import entry_points
from textwrap import dedent

import pytest

from outlive.probe.count import count

pytest_plugins = ["pytester"]

APPS = """
import asyncio, ctypes, gc, logging, os, subprocess, warnings
import pytest

class Kept:
    pass

kept = []

libc = ctypes.CDLL(None)
PyMem_Malloc = ctypes.pythonapi.PyMem_Malloc

def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path in ("/leak", "/both"):
        kept.append(Kept())
    if path in ("/cycle", "/plain", "/both"):
        one = Kept()
        one.self = one
    if path == "/bytes":
        kept.append(bytes(64))
    if path == "/blocks":
        [PyMem_Malloc(64) for _ in range(7)]
    if path == "/file":
        os.dup(1)
    if path == "/waited":
        subprocess.run(["true"])
    if path == "/zombie" and not os.fork():
        os._exit(0)
    if path == "/malloc":
        libc.malloc(200)
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


@pytest.fixture(autouse=True)
def _only_named_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, tests: str, *words: str) -> pytest.RunResult:
    pytester.makepyfile(APPS + tests)
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    ours = ["-p", "outlive.probe.pytest_plugin", "--strict-markers"]
    warnings = ["-W", "error", "-W", "ignore:Unknown config option"]
    return pytester.runpytest_subprocess(*ours, *warnings, *words)


def test_installing_it_is_enough() -> None:
    assert [one.value for one in entry_points(group="pytest11") if one.name == "outlive"] == [
        "outlive.probe.pytest_plugin"
    ]


@pytest.mark.parametrize("path", ["/", "/none", "/log", "/?a=b", "/waited"])
def test_an_app_that_leaves_nothing_passes(pytester: pytest.Pytester, path: str) -> None:
    tests = f"""
@pytest.mark.limit_survivors(per_request=0)
def test_app(count_survivors):
    found = count_survivors.wsgi(wsgi, {path!r}, headers={{"X-Id": "1"}}, body=b"x", method="POST")
    assert (found.per_request, found.growth) == (0, "none")
"""
    run(pytester, tests).assert_outcomes(passed=1)


LIMITS = """
@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=pytest.mark.limit_survivors(**limits)) for path, limits in CASES]
)
def test_app(count_survivors, path):
    count_survivors.wsgi(wsgi, path, baseline="/plain")
"""


def limited(pytester: pytest.Pytester, *cases: tuple[str, dict[str, object]]) -> pytest.RunResult:
    return run(pytester, f"CASES = {list(cases)!r}{LIMITS}")


def test_what_is_over_its_limit_fails_and_says_why(pytester: pytest.Pytester) -> None:
    result = limited(pytester, ("/leak", {"per_request": 0}), ("/cycle", {"cyclic": 0}))
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        dedent("""
        each GET /leak leaves 1 object, 0 allowed
        each GET /leak leaks 1 object, 0 allowed
        0 cyclic, 1 leaked, over * requests
        types: 1 test_what_is_over_its_limit_fails_and_says_why.Kept
        Why, from 15 more requests:
        1 object per request outlives it, in 1 structure.
        1. leaked * 1 per request
              module test_what_is_over_its_limit_fails_and_says_why
                  global kept
              list
                  [[]*[]]  ◀ suspect
              test_what_is_over_its_limit_fails_and_says_why.Kept
        What a plain request leaves as well is the framework's own: above="baseline" allows it.
        each GET /cycle leaves 1 object of cyclic garbage, 0 allowed
        1 cyclic, 0 leaked, over * requests
        1. cyclic garbage * 1 per request
           ┌▶ test_what_is_over_its_limit_fails_and_says_why.Kept
           └─     .self  ◀ suspect
        """)
        .strip()
        .splitlines()
    )


def test_files_that_stay_open_fail(pytester: pytest.Pytester) -> None:
    result = limited(pytester, ("/file", {"per_request": 50}))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["each GET /file leaves 1 open file more, 0 allowed"])


def test_children_that_nothing_waits_for_fail(pytester: pytest.Pytester) -> None:
    result = limited(pytester, ("/zombie", {"per_request": 50}))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["each GET /zombie leaves 1 child process more, 0 allowed"])


@pytest.mark.parametrize("path", ["/bytes", "/blocks", "/malloc"])
def test_a_leak_of_memory_alone_fails_and_says_where(pytester: pytest.Pytester, path: str) -> None:
    result = limited(pytester, (path, {"per_request": 50}))
    result.assert_outcomes(failed=1)
    size = {
        "/bytes": "1 block of memory, 97 B",
        "/blocks": "7 blocks of memory, 448 B",
        "/malloc": "* of memory",
    }
    where = {
        "/bytes": "kept.append(bytes(64))",
        "/blocks": "[[]PyMem_Malloc(64) for _ in range(7)[]]",
        "/malloc": "No Python code allocates it: C code takes it past Python's allocators.",
    }
    result.stdout.fnmatch_lines(
        [
            f"each GET {path} leaks {size[path]}, in no object that the collector tracks; 0 B allowed",
            f"*{where[path]}",
        ]
    )


def test_limits_let_so_much_pass(pytester: pytest.Pytester) -> None:
    result = limited(
        pytester,
        ("/leak", {"leaked": 1}),
        ("/bytes", {"memory": 1000}),  # a list that is moved as it grows counts as well
        ("/cycle", {"per_request": 1, "cyclic": 1}),
        ("/cycle", {"leaked": 0}),  # as for a service whose collector is on
        ("/both", {"per_request": 1, "leaked": 1, "above": "baseline"}),
    )
    result.assert_outcomes(passed=5)


def test_a_leak_is_allowed_by_no_other_limit(pytester: pytest.Pytester) -> None:
    limited(pytester, ("/leak", {"per_request": 1})).assert_outcomes(failed=1)


def test_what_a_plain_request_leaves_is_the_frameworks_own(pytester: pytest.Pytester) -> None:
    result = limited(
        pytester,
        ("/plain", {"per_request": 0, "above": "baseline"}),
        ("/both", {"per_request": 0, "above": "baseline"}),
        ("/both", {"per_request": 0}),
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        dedent("""
        each GET /both leaves 2 objects, 1 above GET /plain; 0 allowed
        each GET /both leaks 1 object, 1 above GET /plain; 0 allowed
        1. leaked * 1 per request
        The framework's own, since GET /plain leaves it as well: 1 object per request
        """)
        .strip()
        .splitlines()
    )


def test_a_baseline_must_be_a_plain_200(pytester: pytest.Pytester) -> None:
    tests = """
pytestmark = pytest.mark.limit_survivors(per_request=0, above="baseline")

def test_app(count_survivors):
    count_survivors.wsgi(wsgi, baseline="/none")

def test_send(count_survivors):
    count_survivors(dict)

def test_sends(count_survivors):
    count_survivors(lambda: kept.append(Kept()), baseline=lambda: kept.append(Kept()))
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=2, passed=1)
    result.stdout.fnmatch_lines(
        [
            "GET /none, the baseline, was answered 404, not 200: nothing was counted",
            'above="baseline" needs one here: count_survivors(send, baseline=send_a_plain_one)',
        ]
    )


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

def test_errors_are_answered_500_and_dropped(count_survivors):
    async def raises_after_its_answer(scope, receive, send):
        await asgi_without_lifespan(scope, receive, send)
        raise RuntimeError("for the server to log")
    async def raises(scope, receive, send):
        raise RuntimeError
    def raises_as_wsgi(environ, start_response):
        raise RuntimeError
    assert count_survivors.asgi(raises_after_its_answer, status=200).per_request == 0
    assert count_survivors.asgi(raises, status=500).per_request == 0
    async def cancelled(scope, receive, send):
        raise asyncio.CancelledError
    assert count_survivors.asgi(cancelled, status=500).per_request == 0
    assert count_survivors.wsgi(raises_as_wsgi, status=500).per_request == 0

def test_leak(count_survivors):
    assert count_survivors.asgi(asgi, "/leak").leaked == 1
"""
    run(pytester, tests).assert_outcomes(passed=3)


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
    result.stdout.fnmatch_lines(["GET /fail was answered 500, not 200: nothing was counted"])


def test_an_unexpected_status_is_not_counted(pytester: pytest.Pytester) -> None:
    tests = """
def test_app(count_survivors):
    count_survivors.wsgi(wsgi, "/none", status=200)
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["GET /none was answered 404, not 200: nothing was counted"])


def test_what_is_no_application_is_not_counted(pytester: pytest.Pytester) -> None:
    tests = """
def test_nothing(count_survivors):
    count_survivors.wsgi(None)

def test_asgi_as_wsgi(count_survivors):
    count_survivors.wsgi(asgi)

def test_wsgi_as_asgi(count_survivors):
    count_survivors.asgi(wsgi)
"""
    result = run(pytester, tests)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "no WSGI application, which takes (environ, start_response): None",
            "no WSGI application, which takes (environ, start_response): <function asgi at *>",
            "no ASGI application, which takes (scope, receive, send): <function wsgi at *>",
        ]
    )


def test_recorded_warnings_are_no_survivors(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.filterwarnings("always")
@pytest.mark.limit_survivors(per_request=0)
def test_app(count_survivors):
    count_survivors.wsgi(wsgi, "/warn")
"""
    run(pytester, tests).assert_outcomes(passed=1, warnings=1)


def test_a_misused_marker_fails_its_own_test_and_no_other(pytester: pytest.Pytester) -> None:
    markers = [
        "limit_survivors",
        "limit_survivors()",
        "limit_survivors(0)",
        "limit_survivors(per_request=-1)",
        "limit_survivors(per_request=True)",
        "limit_survivors(per_reqest=0)",
        "limit_survivors(above='baseline')",
        "limit_survivors(leaked=0, above='/')",
    ]
    tests = "".join(
        f"\n@pytest.mark.{marker}\ndef test_{n}(count_survivors):\n    raise AssertionError\n"
        for n, marker in enumerate(markers)
    )
    others = """
@pytest.mark.limit_survivors(per_request=0)
def test_without_the_fixture():
    pass

@pytest.mark.limit_survivors(per_request=0)
def test_that_counts_nothing(count_survivors):
    pass

@pytest.mark.limit_survivors(per_request=0)
class TestAll:
    def test_a_helper(self):
        pass

    def test_counted(self, count_survivors):
        count_survivors(dict)
"""
    result = run(pytester, tests + others)
    result.assert_outcomes(failed=len(markers) + 2, passed=2)
    result.stdout.fnmatch_lines(
        [
            "limit_survivors(per_reqest=0) is not a limit",
            "limit_survivors takes per_request=, cyclic=, leaked= (objects per request), memory=",
            '(bytes per request) and above="baseline", as in limit_survivors(per_request=0)',
            "limit_survivors(above='baseline') is not a limit",
            "limit_survivors(leaked=0, above='/') is not a limit",
            "limit_survivors: the test counted nothing: call count_survivors*",
        ]
    )


ASYNC = """
import anyio

async def factory():
    return application()

async def send_a_leak():
    await asyncio.sleep(0)
    kept.append(Kept())

def test_factories(count_survivors):
    assert count_survivors.aiohttp(factory, "/cycle").cyclic == 1
    assert count_survivors.wsgi(lambda: wsgi, "/cycle").cyclic == 1

def test_what_is_to_be_awaited(count_survivors):
    assert count_survivors(send_a_leak).leaked == 1

@pytest.mark.asyncio
async def test_in_a_loop(count_survivors):
    assert count_survivors.aiohttp(factory, "/cycle").cyclic == 1
    assert count_survivors.wsgi(wsgi, "/cycle").cyclic == 1

@pytest.mark.asyncio
@pytest.mark.limit_survivors(leaked=1)
async def test_in_its_own_loop(count_survivors, aiohttp_client):
    client = await aiohttp_client(application())
    async def send():
        async with client.get("/cycle") as response:
            await response.read()
    found = await count_survivors(send)
    assert found.cyclic == 1

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_of_anyio(count_survivors, anyio_backend):
    assert count_survivors.asgi(asgi).per_request == 0

@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
@pytest.mark.parametrize("leaked", [0, 1])
async def test_in_trios_own_run(count_survivors, anyio_backend, leaked):
    async def send():
        await anyio.sleep(0)
        kept.extend(Kept() for _ in range(leaked))
    assert (await count_survivors(send)).per_request == leaked

@pytest.mark.asyncio
@pytest.mark.limit_survivors(leaked=1)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
async def test_nobody_awaited(count_survivors):
    count_survivors(send_a_leak)
"""


def test_async_tests_and_factories(pytester: pytest.Pytester) -> None:
    plugins = ("-p", "pytest_asyncio.plugin", "-p", "anyio.pytest_plugin", "-p", "pytest_aiohttp.plugin")
    result = run(pytester, AIOHTTP + ASYNC, *plugins)
    result.assert_outcomes(passed=6, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*leaks 13 objects, 1 allowed",
            "* (and await it for async requests)",
        ]
    )


SAME = """
@pytest.mark.parametrize("path", ["/leak", "/log"])
def test_counts(count_survivors, path, record_property):
    found = count_survivors.wsgi(wsgi, path)
    print("COUNTED", path, found.per_request, found.cyclic, found.leaked, found.memory, found.requests)
"""


def test_the_same_integers_beside_other_plugins(pytester: pytest.Pytester) -> None:
    counts = []
    for words in (
        (),
        ("-p", "xdist.plugin", "-n", "2", "-p", "pytest_rerunfailures", "--reruns", "1"),
        ("-p", "pytest_cov.plugin", "--cov", "--cov-branch", "--cov-report="),
        ("-p", "pytest_memray.plugin", "--memray"),
    ):
        result = run(pytester, SAME, "-rP", *words)
        result.assert_outcomes(passed=2)
        counts.append(sorted(line for line in result.outlines if line.startswith("COUNTED")))
    assert len(counts[0]) == 2
    assert all(one == counts[0] for one in counts), counts


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
