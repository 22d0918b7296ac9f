"""The scenarios of an `outlive.toml`, counted by the pytest plugin in its own process."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from outlive.probe import clients
from outlive.probe.own import needs_a_server
from outlive.service.scenarios import CLIENTS, Request, Scenario

pytest_plugins = ["pytester"]

SHOP = """
import json, os
from http.cookies import SimpleCookie

FAILED = []

class Order:
    pass

async def make():
    return serve

def serve(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/login":
        right = json.load(environ["wsgi.input"])["password"] == os.environ["SHOP_PASSWORD"]
        start_response("200 OK" if right else "403 Forbidden", [("Set-Cookie", "user=sara; Path=/")])
        return [b'{"token": "t0"}']
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    known = "user" in cookie or environ.get("HTTP_AUTHORIZATION") == "Bearer t0"
    if path == "/orders" and not known:
        start_response("401 Unauthorized", [])
        return [b""]
    if path == "/fail":
        FAILED.append(Order())
        raise ValueError("broken")
    start_response("200 OK", [])
    return [open("orders.txt", "rb").read()]
"""
SETTINGS = """
target = "shop:make"
packages = []
before = "python -c 'open(\\"orders.txt\\", \\"w\\").close()'"
secrets = ["SHOP_PASSWORD"]
[login]
request = { method = "POST", path = "/login", json = { password = "$SHOP_PASSWORD" } }
[[scenario]]
name = "ok"
[[scenario]]
name = "orders"
login = true
request = { path = "/orders" }
[[scenario]]
name = "anonymous"
request = { path = "/orders" }
expect = 401
[[scenario]]
name = "fail"
request = { path = "/fail" }
expect = 500
[[scenario]]
name = "abort"
client = "leave-in-answer"
"""
TEST = """
import pytest

@pytest.mark.limit_survivors(leaked=0)
def test_no_scenario_leaks(count_survivors, outlive_scenario):
    count_survivors.scenario(outlive_scenario)
"""


def run(pytester: pytest.Pytester, test: str = TEST, settings: str = SETTINGS) -> pytest.RunResult:
    pytester.makefile(".toml", outlive=settings)
    pytester.makepyfile(shop=SHOP)
    pytester.mkdir("tests").joinpath("test_shop.py").write_text(test)
    return pytester.runpytest_subprocess("-p", "outlive.probe.pytest_plugin", "--strict-markers", "-rs")


@pytest.fixture(autouse=True)
def _shop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("SHOP_PASSWORD", "correct-horse-battery")


def test_each_is_a_test_and_a_planted_leak_fails_its_own(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    result.stdout.fnmatch_lines(
        ["*[[]fail[]]*", "each fail leaks 1 object, 0 allowed", "*module shop", "*global FAILED"]
    )
    result.stdout.fnmatch_lines(["*abort: only a server can be asked it: outlive measure --app *"])


def test_a_token_logs_in_as_a_cookie_does(pytester: pytest.Pytester) -> None:
    settings = SETTINGS.replace("[[scenario]]", 'token = "token"\n[[scenario]]', 1)
    test = "def test_orders(count_survivors):\n    assert count_survivors.scenario('orders').leaked == 0\n"
    run(pytester, test, settings).assert_outcomes(passed=1)


WRONG = [
    ("ordrs", ("", ""), "no scenario 'ordrs'; there are ok, orders, anonymous, fail, abort"),
    ("anonymous", ("401", "403"), "anonymous was answered 401, not 403: nothing was counted"),
    ("ok", ("shop:make", "shp:make"), "shp:make: ModuleNotFoundError: No module named 'shp'"),
    ("ok", ("shop:make", "shop:maker()"), "shop3:maker(): AttributeError: *maker*"),
    ("orders", ("$SHOP_PASSWORD", "wrong"), "orders: the login was answered 403, not 2xx or 3xx"),
    ("ok", ("-c 'open", "-c 'import shp; open"), "before: *shp* failed: ModuleNotFoundError*"),
    ("ok", ('"SHOP_PASSWORD"]', '"SHOP_KEY"]'), "secrets: SHOP_KEY is not set in the environment"),
]


def test_what_is_wrong_is_said_in_one_line(pytester: pytest.Pytester) -> None:
    for number, (name, change, _) in enumerate(WRONG):
        folder = pytester.mkdir(f"case{number}")
        settings = SETTINGS.replace(*change) if change[0] else SETTINGS
        (folder / "outlive.toml").write_text(settings.replace('"shop:', f'"shop{number}:'))
        (folder / f"shop{number}.py").write_text(SHOP)
        test = f"def test_it(count_survivors):\n    count_survivors.scenario({name!r})\n"
        (folder / f"test_case{number}.py").write_text(test)
    result = pytester.runpytest_subprocess("-p", "outlive.probe.pytest_plugin")
    result.assert_outcomes(failed=len(WRONG))
    result.stdout.fnmatch_lines([said for _, _, said in WRONG])
    assert "correct-horse-battery" not in result.stdout.str()


def test_without_such_a_file_the_run_says_so(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = pytester.runpytest_subprocess("-p", "outlive.probe.pytest_plugin")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*has an outlive.toml: `outlive init` writes one*"])


@pytest.mark.parametrize(
    "change",
    [
        *({"client": client} for client in CLIENTS if client != "complete"),
        {"request": Request(raw="GET")},
        {"request": Request(body="json", chunked=True)},
        {"then": (Request(),)},
        {"tls": True},
    ],
    ids=str,
)
def test_what_is_about_connections_needs_a_server(change: dict[str, Any]) -> None:
    plain = Scenario("ok", "", Request(), ("200",))
    assert not needs_a_server(plain)
    assert needs_a_server(replace(plain, **change))


def test_a_chunked_answer_to_a_login_is_read_whole() -> None:
    async def token(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        for part in (b'{"token": ', b'"t0"}'):
            await answer.write(part)
        return answer

    app = web.Application()
    app.router.add_post("/login", token)
    asked = clients.ClientRequest(path="/login", method="POST", whole=True)
    with clients.event_loop() as loop, clients.aiohttp(app, loop) as open_:
        assert open_(asked)().body == b'{"token": "t0"}'
