"""`outlive.toml`, the requirements of an application, and what `outlive init` makes of a repository."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from measuring import CHECKOUT
from outlive.applications import requirements
from outlive.applications.code import local_version
from outlive.applications.guess import guess
from outlive.applications.opened import State
from outlive.applications.settings import read
from outlive.errors import UsageError
from outlive.files import toml_key, toml_value
from outlive.service.scenarios import encoded, expected

PLAIN = 'target = "shop:app"\n[[scenario]]\nname = "ok"\n'


def written(folder: Path, text: str, name: str = "outlive.toml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_two_lines_are_enough(tmp_path: Path) -> None:
    found = read(written(tmp_path, PLAIN), CHECKOUT)
    (ok,) = found.scenarios
    assert (ok.summary, ok.expect, ok.fails) == ("GET /", ("2xx",), False)
    assert [worker.name for worker in found.serving.workers] == ["sync", "gthread", "gevent"]


def test_it_may_stand_in_pyproject(tmp_path: Path) -> None:
    text = '[tool.outlive]\ntarget = "shop:app"\n[[tool.outlive.scenario]]\nname = "ok"\n'
    assert read(written(tmp_path, text, "pyproject.toml"), CHECKOUT).settings.target == "shop:app"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no outlive.toml in it: `outlive init` writes one"),
        ("target = ", "outlive.toml: "),
        ('target = "shop"', "target"),
        (f"tarjet = 1\n{PLAIN}", "unknown field `tarjet`"),
        ('target = "shop:app"', "no scenario is named 'ok'"),
        (f'{PLAIN}[[scenario]]\nname = "ok"\n', "two scenarios have the same name: ok"),
        (f"{PLAIN}expect = true\nlogn = 1", "scenario ok: "),
        (f"{PLAIN}login = true", "login is true, and there is no [login]"),
        (f'protocol = "wsgy"\n{PLAIN}', "is none of aiohttp, asgi, wsgi"),
        (f'worker = "uvicorn"\n{PLAIN}', "there are sync, gthread, gevent"),
        (f'source = "nope"\n{PLAIN}', "source: there is no folder 'nope'"),
        (f'source = "../.."\n{PLAIN}', "source: '../..' is not in the application's folder"),
        (f'source = "src/../.."\n{PLAIN}', "source: 'src/../..' is not in the application's folder"),
        (f'source = "/"\n{PLAIN}', "source: '/' is not in the application's folder"),
        (f"{PLAIN}expect = true", "expect 'True': an answer is a status (404, 4xx, 400-404), aborted"),
        (f"{PLAIN}expect = 9999", "expect '9999': an answer is"),
        (f"{PLAIN}expect = []", "scenario ok: expect: there is no answer"),
        (f'{PLAIN}expect = ["200", "200  cut"]', "expect '200 cut': an answer is"),
        (f'{PLAIN}request = {{ path = "home" }}', "path 'home': it starts with /"),
        (f'{PLAIN}request = {{ path = "/a b" }}', "path '/a b': it starts with /, and spaces"),
        (f'{PLAIN}request = {{ path = "/\\r\\nX: y" }}', "path "),
        (f'{PLAIN}request = {{ path = "/é" }}', "all but ASCII are quoted"),
        (f'{PLAIN}request = {{ method = "" }}', "'' is no method"),
        (f'{PLAIN}request = {{ headers = {{ "a b" = "c" }} }}', "'a b: c' is no header"),
        (f'{PLAIN}request = {{ headers = {{ a = "b\\nc: d" }} }}', "is no header"),
        (f'headers = {{ a = "b\\u0000" }}\n{PLAIN}', "is no header"),
        (f"{PLAIN}[users.Steady]\nnone = 3", "users.Steady: none is no scenario"),
    ],
)
def test_what_is_wrong_with_it_is_said(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        read(tmp_path, CHECKOUT)
    assert said in str(error.value)


def test_a_file_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "outlive.toml").write_bytes(PLAIN.encode("utf-16"))
    with pytest.raises(UsageError, match=r"outlive\.toml: it is not UTF-8 text"):
        read(tmp_path, CHECKOUT)


def test_secrets_stand_in_for_their_names_in_the_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "sesame")
    login = '[login]\nrequest = { json = { password = "$SHOP_PASSWORD", other = "$HOME" } }\n'
    scenario = '[[scenario]]\nname = "ok"\nlogin = true\n'
    text = f'target = "shop:app"\nsecrets = ["SHOP_PASSWORD"]\n{login}{scenario}'
    (ok,) = read(written(tmp_path, text), CHECKOUT).scenarios
    assert ok.login
    assert ok.login.request.json == {"password": "sesame", "other": "$HOME"}


def test_headers_of_each_request(tmp_path: Path) -> None:
    text = (
        'headers = { Host = "shop.example", X-Forwarded-Proto = "https" }\ntarget = "shop:app"\n'
        '[login]\nrequest = { path = "/login" }\n[[scenario]]\nname = "ok"\nlogin = true\n'
        '[[scenario]]\nname = "other"\nrequest = { headers = { host = "other.example" } }\n'
        '[[scenario]]\nname = "raw"\nrequest = { raw = "GET\\r\\n" }\nexpect = 400\n'
    )
    ok, other, raw = read(written(tmp_path, text), CHECKOUT).scenarios
    assert b"\r\nHost: shop.example\r\n" in encoded(ok.request, "close")
    assert ok.login
    assert ok.login.request.headers == ok.request.headers == read(tmp_path, CHECKOUT).settings.headers
    assert other.request.headers == {"X-Forwarded-Proto": "https", "host": "other.example"}
    assert raw.request.headers == {}


@pytest.mark.parametrize(
    ("answers", "right", "wrong"),
    [
        (("404",), ("404",), ("405", "404 cut")),
        (("2xx", "304"), ("200", "299", "304"), ("300", "200 cut", "closed")),
        (("400-404",), ("400", "404"), ("399", "405")),
        (("closed", "5xx"), ("closed", "503"), ("200",)),
    ],
)
def test_answers_may_be_ranges(
    answers: tuple[str, ...], right: tuple[str, ...], wrong: tuple[str, ...]
) -> None:
    assert all(expected(answers, one) for one in right)
    assert not any(expected(answers, one) for one in wrong)


def test_a_requirements_file(tmp_path: Path) -> None:
    written(tmp_path, "-r base.txt\nFlask==3.1.3 ; python_version > '3.8'  # why\nyarl>=1.9\n", "all.txt")
    written(tmp_path, f"six==1.17.0 \\\n    --hash=sha256:{'a' * 64}\nshop-session @ ./s\n", "base.txt")
    found = requirements.read(tmp_path, "all.txt")
    assert found.pinned == {"six": "1.17.0", "flask": "3.1.3"}
    assert found.local == {"shop-session": str(tmp_path / "s")}
    assert found.hashes == {"six": (f"sha256:{'a' * 64}",)}
    assert found.day, "what is not pinned is resolved again each day"
    assert found.loosened(["yarl"]).lines == ("six", 'Flask; python_version > "3.8"', "yarl")
    assert found.loosened([]).lines[2] == "yarl>=1.9"


def test_constraints(tmp_path: Path) -> None:
    written(tmp_path, "flask>=3\n--constraint limits/all.txt\n", "all.txt")
    (tmp_path / "limits").mkdir()
    written(tmp_path, "-r more.txt\nFlask[async]==3.1.2\n", "limits/all.txt")
    written(tmp_path, "jinja2<4\n", "limits/more.txt")
    found = requirements.read(tmp_path, "all.txt")
    assert (found.lines, found.constraints) == (("flask>=3",), ("jinja2<4", "Flask==3.1.2"))
    assert (found.names, found.pinned) == ({"flask"}, {"flask": "3.1.2"})
    assert found.loosened(["jinja2"]).constraints == ("jinja2", "Flask")


@pytest.mark.parametrize("line", ["./session", "shop @ ./shop", "-e shop"])
def test_a_package_from_elsewhere_constrains_nothing(tmp_path: Path, line: str) -> None:
    written(tmp_path, f"{line}\n", "limits.txt")
    with pytest.raises(UsageError, match=r"^limits\.txt: '.*': only versions can be constraints$"):
        requirements.read(written(tmp_path, "-c limits.txt\n", "all.txt"), "all.txt")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--extra-index-url https://example.org", "OUTLIVE_INDEX_URL"),
        ("-c gone.txt", "there is no"),
        ("-r all.txt", "includes itself"),
        ("git+https://example.org/shop", "clone the repository"),
        ("flask=3", "is not a requirement"),
        ("./nowhere", "does not say its name: write NAME @ /"),
        (f"flask=={'1' * 5000}", "its version has too many digits"),
        ("-r gone.txt", "there is no"),
    ],
)
def test_a_line_that_cannot_be_had(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        requirements.read(written(tmp_path, f"{line}\n", "all.txt"), "all.txt")
    assert said in str(error.value)


PINS = [
    (("flask==3.*", "flask==3.1.2"), True),
    (("flask==3.1.2", "Flask==3.1.2", "flask>=3"), True),
    (("flask==3.1", "flask==3.1.0"), True),
    (("flask==3.*,!=3.1.0", "flask==3.1.*"), True),
    (("flask==3.1.2; python_version < '3.9'", "flask==3.1.3; python_version >= '3.9'"), True),
    (("flask>=3,==3.1.2", "flask==3.1.3"), False),
    (("flask===3.1.2", "flask==3.1.3"), False),
    (("flask[async]==3.1.2", "flask==3.1.3"), False),
    (("shop.session==1", "Shop_Session==2"), False),
]


@pytest.mark.parametrize(("lines", "fine"), PINS)
def test_only_two_exact_versions_contradict_each_other(
    *, tmp_path: Path, lines: tuple[str, ...], fine: bool
) -> None:
    if fine:
        assert requirements.read(tmp_path, lines).lines
    else:
        with pytest.raises(UsageError, match="is pinned twice"):
            requirements.read(tmp_path, lines)


def test_a_lock_of_uv_needs_its_project(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"packages: there is no .*uv\.lock"):
        requirements.read(tmp_path, "uv.lock")
    written(tmp_path, "version = 1\n", "uv.lock")
    with pytest.raises(UsageError, match=r"there is no pyproject\.toml beside .*uv\.lock: uv reads both"):
        requirements.read(tmp_path, "uv.lock")


def test_a_requirement_for_many_versions_pins_none(tmp_path: Path) -> None:
    found = requirements.read(tmp_path, ("flask==3.*,==3.1.2", "yarl==1.9.*", "six===1.17.0"))
    assert found.pinned == {"flask": "3.1.2", "six": "1.17.0"}


def test_dependencies_of_pyproject_with_an_extra(tmp_path: Path) -> None:
    text = '[project]\ndependencies = ["flask"]\noptional-dependencies = { web = ["gevent==25.9.1"] }\n'
    written(tmp_path, text, "pyproject.toml")
    assert requirements.read(tmp_path, "pyproject.toml").lines == ("flask",)
    assert requirements.read(tmp_path, "pyproject.toml[web]").lines == ("flask", "gevent==25.9.1")
    with pytest.raises(UsageError, match="has no extra wbe; it has web"):
        requirements.read(tmp_path, "pyproject.toml[wbe]")


def test_words_name_states() -> None:
    assert State.parse("") == State()
    assert State.parse("@main") == State("main")
    assert State.parse("@main,aiohttp==3.12.15") == State("main", None, "aiohttp==3.12.15")
    assert State.parse("a==1,python==3.12", "old.txt") == State(None, "old.txt", "a==1,python==3.12")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("feature/x-1", "feature.x.1"),
        ("v2.0", "v2.0"),
        ("...", "0"),
        (f"feature/{'x' * 300}", f"feature.{'x' * 52}"),
    ],
)
def test_a_revision_is_part_of_a_version(name: str, said: str) -> None:
    assert local_version(name) == said


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=10,
)


@given(st.dictionaries(TEXT.filter(bool), JSON))
def test_what_is_written_as_toml_is_read_back(table: dict[str, object]) -> None:
    text = "".join(f"{toml_key(name)} = {toml_value(value)}\n" for name, value in table.items())
    assert tomllib.loads(text) == table


FLASK = """
from flask import Blueprint, Flask
bp = Blueprint("auth", __name__, url_prefix="/auth")
@bp.route("/login", methods=("GET", "POST"))
def login(): ...
def create_app(config=None):
    app = Flask(__name__)
    @app.get("/hello")
    def hello(): ...
    @app.get("/orders/<int:number>")
    def order(number): ...
    return app
"""
AIOHTTP = """
from aiohttp import web
async def init_app():
    app = web.Application()
    app.router.add_get("/", index)
    return app
"""
FASTAPI = """
from fastapi import FastAPI
from shop.api import api
app = FastAPI()
app.include_router(api)
@app.get("/")
def index(): ...
"""


@pytest.mark.parametrize(
    ("files", "target", "protocol", "packages", "routes"),
    [
        (
            {"shop/__init__.py": FLASK, "requirements.txt": "flask==3.1.3"},
            "shop:create_app()",
            "wsgi",
            "requirements.txt",
            {"/hello", "/orders/1", "/auth/login"},
        ),
        ({"src/shop/main.py": AIOHTTP}, "shop.main:init_app", "aiohttp", ["aiohttp"], {"/"}),
        (
            {
                "site/manage.py": "",
                "site/site/settings.py": "ROOT_URLCONF = 'site.urls'",
                "site/site/wsgi.py": "import django.core\nenviron.setdefault('SETTINGS', 'site.settings')\n"
                "application = get_wsgi_application()",
                "site/site/urls.py": "urls = [path('polls/', include('polls.urls'))]",
                "site/polls/urls.py": "urls = [path('<int:pk>/vote/', vote)]",
            },
            "site.wsgi:application",
            "wsgi",
            ["django"],
            {"/", "/polls/1/vote/"},
        ),
        (
            {"app.py": "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/ping')\ndef ping(): ...\n"},
            "app:app",
            "asgi",
            ["fastapi"],
            {"/ping"},
        ),
        (
            {
                "shop/main.py": FASTAPI,
                "shop/api/__init__.py": "from fastapi import APIRouter\nfrom . import users\n"
                "api = APIRouter(prefix='/v1')\napi.include_router(users.router, prefix='/users')\n",
                "shop/api/users.py": "router = APIRouter()\n@router.get('/me')\ndef me(): ...\n",
                "shop/other.py": "@app.get('/never')\ndef never(): ...\n",
            },
            "shop.main:app",
            "asgi",
            ["fastapi"],
            {"/", "/v1/users/me"},
        ),
        (
            {
                "shop/__init__.py": FLASK.replace("config=None", "config"),
                "wsgi.py": "from shop import create_app\napp = create_app('production')\n",
                "a.py": "from flask import Flask\napp = Flask('a')\napp.run()\n",
                "requirements/base.txt": "flask",
            },
            "wsgi:app",
            "wsgi",
            "requirements/base.txt",
            {"/hello", "/orders/1", "/auth/login"},
        ),
        (
            {
                "one.py": f"{AIOHTTP}web.run_app(init_app())\n",
                "shop_two.py": AIOHTTP.replace('get("/"', 'get("/two"'),
                "three.py": "from aiohttp import web\ndef run():\n    app = web.Application()\n"
                "    return web.AppRunner(app)\n",
            },
            "shop_two:init_app",
            "aiohttp",
            ["aiohttp"],
            {"/two"},
        ),
    ],
)
def test_a_first_file_is_read_from_the_code(
    *, tmp_path: Path, files: dict[str, str], target: str, protocol: str, packages: object, routes: set[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = guess(tmp_path, CHECKOUT)
    written(tmp_path, found.text)
    settings = read(tmp_path, CHECKOUT).settings
    assert (settings.target, settings.protocol) == (target, protocol)
    assert settings.packages == (tuple(packages) if isinstance(packages, list) else packages)
    paths = {scenario.request.path for scenario in read(tmp_path, CHECKOUT).scenarios}
    assert paths == routes | {"/no-such-page"}
    assert target in found.notes[0]


def guessed(folder: Path, code: str, name: str = "app.py") -> str:
    (folder / name).write_text(code)
    return guess(folder, CHECKOUT).text


@pytest.mark.parametrize("block", ["if DEBUG:", "try:", "with lock:", "if 1:\n    pass\nelse:"])
def test_an_app_that_is_made_in_a_block(tmp_path: Path, block: str) -> None:
    code = f"import flask\n{block}\n    app = flask.Flask('a')\n"
    code += "except OSError: pass\n" if block == "try:" else ""
    written(tmp_path, guessed(tmp_path, code, "my-shop.py"))
    assert read(tmp_path, CHECKOUT).settings.target == "my-shop:app"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('before = ""', "before: a command is empty"),
        ('before = ["echo \'x"]', "No closing quotation"),
        ("secrets = [1]", "Expected `str`"),
        ('env = { "A=B" = "x" }', "'A=B' is no name of a variable"),
        ('env = { A = "\\u0000" }', "has a NUL"),
        ('env = { OUTLIVE_GC = "off" }', "OUTLIVE_GC: names that begin with OUTLIVE_ are ours"),
        (f'name = "{"b" * 61}"', "letters, digits and hyphens, at most 60"),
    ],
)
def test_what_no_process_can_be_given(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(written(tmp_path, f'packages = ["flask==3.1.3"]\n{line}\n{PLAIN}'), CHECKOUT)


def test_an_app_of_a_script_is_no_app_of_its_module(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no app found"):
        guessed(tmp_path, "import flask\nif __name__ == '__main__':\n    app = flask.Flask('a')")


def test_a_wrong_method_is_one_that_the_code_does_not_name(tmp_path: Path) -> None:
    code = (
        "from flask import Flask\napp = Flask('a')\n@app.route('/', methods=['GET', 'DELETE'])\ndef a(): ..."
    )
    assert 'request = { method = "PATCH", path = "/" }\nexpect = 405' in guessed(tmp_path, code)
    every = code.replace("'DELETE'", "'POST', 'PUT', 'PATCH', 'DELETE'")
    assert "expect = 405" not in guessed(tmp_path, every)


def test_a_module_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "newer.py").write_text("def f(:")
    (tmp_path / "app.py").write_text("import flask\napp = flask.Flask('a')")
    assert "  not read: newer.py: invalid syntax (newer.py, line 1)" in guess(tmp_path, CHECKOUT).notes


def test_what_prepares_an_app_is_run_before(tmp_path: Path) -> None:
    (tmp_path / "manage.py").write_text("")
    text = guessed(tmp_path, "import django\napplication = get_wsgi_application()", "wsgi.py")
    assert 'before = "python manage.py migrate --noinput"' in text
    assert "before" not in guessed(tmp_path, "import flask\napp = flask.Flask('a')", "wsgi.py")


VARIABLES = """
import os, environ, flask
from os import environ as variables, getenv
from decouple import config
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    model_config = {"env_prefix": "SHOP_"}
    database_url: str
    pool: int = 3
class Prefixed(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="mail_")
    host: str
env = environ.Env()
os.environ["SET"] = os.environ.setdefault("SET_TOO", "x")
app = flask.Flask(os.environ["NAME"])
names = [variables["OTHER_NAME"], getenv("GOT"), os.environ.get("GOT_TOO"), config("DECOUPLED"), env("TOKEN")]
names += [env.bool("DEBUG_IT"), os.environ["SET"], os.environ["SET_TOO"], {}["none"], {}.get("none")]
names += [getenv("WITH", "1"), os.environ.get("WITH_TOO", ""), config("SO", default=1), env.int("AS_WELL", 3)]
"""


def test_the_variables_that_the_code_needs_are_named(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(VARIABLES)
    (tmp_path / "another.py").write_text("import os\nos.environ['NEVER_IMPORTED']\n")
    found = guess(tmp_path, CHECKOUT)
    needed = ("DATABASE_URL", "DEBUG_IT", "DECOUPLED", "GOT", "GOT_TOO", "MAIL_HOST", "NAME", "OTHER_NAME")
    assert f"variables {', '.join(needed)}, TOKEN: the code needs them, so complete env" in found.notes
    values = "".join(f'{name} = "...", ' for name in needed)
    assert f'\n# env = {{ {values}TOKEN = "..." }}\n' in found.text
    assert "# env" not in guessed(tmp_path, "import flask, os\napp = flask.Flask(os.name)\n")


def test_the_python_that_a_repository_names(tmp_path: Path) -> None:
    code = "import flask\napp = flask.Flask('a')"
    assert "python = " not in guessed(tmp_path, code)
    (tmp_path / "runtime.txt").write_text("python-3.10.2\n")
    assert 'python = "3.10"' in guessed(tmp_path, code)
    (tmp_path / ".python-version").write_text("3.12\n")
    assert 'python = "3.12"' in guessed(tmp_path, code)


def test_a_factory_that_needs_arguments_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\(app:make \(app.py, line 2\) needs arguments\)"):
        guessed(tmp_path, "import flask\ndef make(config):\n    return flask.Flask('a')")


def test_a_pyproject_without_dependencies_is_not_where_they_are(tmp_path: Path) -> None:
    code = "import flask\napp = flask.Flask('a')"
    written(tmp_path, "[tool.poetry.dependencies]\nflask = '3.1.3'", "pyproject.toml")
    assert 'packages = ["flask"]' in guessed(tmp_path, code)
    with pytest.raises(UsageError, match=r"pyproject.toml has no \[project\]: export its dependencies"):
        requirements.read(tmp_path, "pyproject.toml")


def test_a_repository_without_an_app(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no app found"):
        guess(tmp_path, CHECKOUT)
