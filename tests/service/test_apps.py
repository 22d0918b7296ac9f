"""The loader of the reference apps, and what can be said of the apps without their frameworks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from outlive.errors import UsageError
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.service import app as apps
from outlive.service import scenarios

CHECKOUT = Project(Path(__file__).parents[2])
FRAMEWORKS = CHECKOUT.frameworks()

APP = """
framework = "bottle"
app_version = 2
target = "v{app_version}:app"

[[workers]]
name = "sync"
worker_class = "sync"
connections = ["close"]

[[workers]]
name = "gthread"
worker_class = "gthread"
connections = ["close", "keep-alive"]
arguments = ["--threads", "1"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = tmp_path / "apps" / "bottle"
    folder.mkdir(parents=True)
    (folder / "app.toml").write_text(APP)
    (folder / "v2.py").touch()
    return Project(tmp_path)


def rewrite(project: Project, old: str, new: str) -> Path:
    path = project.apps / "bottle" / "app.toml"
    assert old in APP
    path.write_text(APP.replace(old, new))
    return path


class TestLoad:
    def test_returns_what_the_file_says(self, project: Project) -> None:
        app = apps.load(project, "bottle")
        assert (app.framework, app.app_version) == ("bottle", 2)
        assert app.workers[1] == apps.Worker(
            name="gthread",
            worker_class="gthread",
            connections=("close", "keep-alive"),
            arguments=("--threads", "1"),
        )

    def test_the_target_names_the_current_version(self, project: Project) -> None:
        assert apps.load(project, "bottle").target == "v2:app"

    def test_an_unknown_framework_gets_the_nearest_name(self) -> None:
        with pytest.raises(UsageError) as caught:
            apps.load(CHECKOUT, "flaks")
        assert str(caught.value) == "no framework 'flaks'; try flask"

    def test_a_name_near_to_nothing_gets_all_names(self) -> None:
        with pytest.raises(UsageError) as caught:
            apps.load(CHECKOUT, "zzz")
        assert str(caught.value) == f"no framework 'zzz'; try {', '.join(FRAMEWORKS)}"

    def test_a_path_is_not_a_framework(self) -> None:
        with pytest.raises(UsageError, match=r"^no framework '\.\./apps/flask'; try flask$"):
            apps.load(CHECKOUT, "../apps/flask")

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("app_version = 2\n", "", "not an app file: Object missing required field `app_version`"),
            (
                "app_version = 2",
                'app_version = "2"',
                "not an app file: Expected `int`, got `str` - at `$.app_version`",
            ),
            (
                "app_version = 2",
                "app_version = 0",
                "not an app file: Expected `int` >= 1 - at `$.app_version`",
            ),
            (
                "app_version = 2",
                "app_version = 2\nport = 80",
                "not an app file: Object contains unknown field `port`",
            ),
            (
                '["close"]',
                '["open"]',
                "not an app file: Invalid enum value 'open' - at `$.workers[0].connections[0]`",
            ),
            (
                '["close"]',
                "[]",
                "not an app file: Expected `array` of length >= 1 - at `$.workers[0].connections`",
            ),
            ("app_version = 2", "app_version = 3", "app_version is 3, but there is no v3.py"),
            ('name = "gthread"', 'name = "sync"', "two workers have the same name: sync, sync"),
            (
                'framework = "bottle"',
                'framework = "Bottle"',
                "framework is 'Bottle', but the folder's name is 'bottle'",
            ),
        ],
    )
    def test_a_wrong_file_is_one_line(self, project: Project, old: str, new: str, message: str) -> None:
        path = rewrite(project, old, new)
        with pytest.raises(UsageError) as caught:
            apps.load(project, "bottle")
        assert str(caught.value) == f"{path}: {message}"

    @pytest.mark.parametrize("content", [b"framework =", b"\xff\xfe", b"[[workers]\n\nname"])
    def test_a_file_that_is_not_toml_is_one_line(self, project: Project, content: bytes) -> None:
        path = project.apps / "bottle" / "app.toml"
        path.write_bytes(content)
        with pytest.raises(UsageError) as caught:
            apps.load(project, "bottle")
        assert str(caught.value).startswith(f"{path}: not an app file: ")
        assert "\n" not in str(caught.value)


class TestWorker:
    @pytest.mark.parametrize(
        ("connection", "selected", "name"),
        [
            ("close", None, "sync"),
            ("keep-alive", None, "gthread"),
            ("close", "gthread", "gthread"),
            ("close", "sync", "sync"),
            ("keep-alive", "sync", None),
            ("keep-alive", "gevent", "gevent"),
        ],
    )
    def test_flask(self, connection: Connection, selected: str | None, name: str | None) -> None:
        worker = apps.load(CHECKOUT, "flask").worker(connection, selected)
        assert (worker.name if worker else None) == name

    @pytest.mark.parametrize("connection", CONNECTIONS)
    def test_aiohttp(self, connection: Connection) -> None:
        worker = apps.load(CHECKOUT, "aiohttp").worker(connection)
        assert worker is not None
        assert worker.worker_class == "aiohttp.GunicornWebWorker"

    def test_one_needs_what_another_gunicorn_does_not_have(self) -> None:
        worker = apps.Worker(
            name="asgi", worker_class="asgi", connections=("close",), requires="gunicorn>=24"
        )
        assert worker.lacks({"gunicorn": "24.0.0"}) is None
        needs = "gunicorn's asgi worker needs gunicorn>=24, and the stack has "
        assert worker.lacks({"gunicorn": "23.0.0"}) == f"{needs}23.0.0"
        assert worker.lacks({}) == f"{needs}none"

    def test_an_unknown_worker_gets_the_nearest_name(self) -> None:
        with pytest.raises(UsageError) as caught:
            apps.load(CHECKOUT, "flask").worker("close", "thread")
        assert str(caught.value) == "no worker 'thread' for flask; try gthread"


# The apps themselves, read as text: their frameworks are not installed here.


def parse(framework: str) -> ast.Module:
    app = apps.load(CHECKOUT, framework)
    source = (CHECKOUT.apps / framework / f"v{app.app_version}.py").read_text()
    return ast.parse(source, feature_version=(3, 8))


def routes(framework: str) -> dict[tuple[str, str], str]:
    """Return the name of the handler for each method and path: a call or a decorator names both."""
    found = {}
    handlers = {
        node.name: node
        for node in parse(framework).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    calls = [(call, "") for call in ast.walk(parse(framework)) if isinstance(call, ast.Call)]
    calls += [
        (one, name)
        for name, node in handlers.items()
        for one in node.decorator_list
        if isinstance(one, ast.Call)
    ]
    for call, decorated in calls:
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        texts = [one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        paths = [text for text in texts if text.startswith("/") or ast.unparse(call.func) == "path"]
        named = [one.id for one in given if isinstance(one, ast.Name) and one.id in handlers]
        if (handler := next(filter(None, [decorated, *named]), None)) and paths:
            for method in methods(call, handlers[handler]):
                found[method, f"/{paths[0].lstrip('/')}"] = handler
    return found


def methods(call: ast.Call, handler: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return the methods that a route is for: `web.post`, `methods=["POST"]`, `@require_POST`, or GET."""
    words = [ast.unparse(call.func), *map(ast.unparse, handler.decorator_list)]
    words += [str(node.value) for node in ast.walk(call) if isinstance(node, ast.Constant)]
    ends = [re.split(r"[._]", word)[-1].upper() for word in words]
    return [end for end in ends if end in {"GET", "POST"}] or ["GET"]


def definitions(framework: str) -> dict[str, str]:
    """Return the source, without comments and layout, of each constant, class and function."""
    found = {}
    for node in parse(framework).body:
        if isinstance(node, ast.Assign):
            found[ast.unparse(node.targets[0])] = ast.unparse(node.value)
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = ast.unparse(node)
    return found


def answer(found: dict[tuple[str, str], str], method: str, path: str) -> str | None:
    """Return the answer that the routes alone decide, None where a handler runs."""
    if (method, path) in found:
        return None
    return "405" if path in {known for _, known in found} else "404"


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_apps_have_the_same_routes(framework: str) -> None:
    assert len(routes("flask")) == 9
    assert routes(framework) == routes("flask")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_routes_are_those_of_the_scenarios(framework: str) -> None:
    found = routes(framework)
    ours = [s for s in scenarios.load(CHECKOUT.scenarios) if s.request.raw is None and not s.app]
    asked = [s for s in ours if s.request.method != "HEAD"]  # a GET without its body has no route of its own
    decided = {s.name: answer(found, s.request.method, s.request.path) for s in asked}
    expected = {s.name: s.expect[0] if s.expect[0] in {"404", "405"} else None for s in asked}
    assert decided == expected
    assert set(found) == {(s.request.method, s.request.path) for s in asked if decided[s.name] is None}


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize(
    "name",
    [
        *("BODY_LIMIT", "CHUNK", "STREAM_CHUNKS", "PRICES", "STOCK", "OutOfStock", "ReportError"),
        *("render_report", "render_row", "price_of"),
    ],
)
def test_the_apps_share_their_domain(name: str, framework: str) -> None:
    assert definitions(framework)[name] == definitions("flask")[name]


def test_the_body_limit_lies_between_the_uploads() -> None:
    sizes = {s.name: s.request.bytes for s in scenarios.load(CHECKOUT.scenarios)}
    limit = eval(definitions("flask")["BODY_LIMIT"])
    assert sizes["upload"] < limit < sizes["upload-too-large"]
