"""Applications that do not do what they should where they are served: each ends with one line."""

from __future__ import annotations

import os
import re
import resource
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from git_repository import Repository
from outlive.cli import cli
from outlive.errors import OutliveError
from outlive.replay import client
from outlive.service import wire

pytestmark = pytest.mark.real

SERVE = """
def serve(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"shop"]
"""
SETTINGS = """
target = "shop:serve"
packages = []
name = "bare"
[[scenario]]
name = "ok"
"""


def measured(folder: Path, code: str = SERVE, settings: str = "", *words: str, text: str = SETTINGS) -> str:
    """Return what `measure` says of an application with this code, and these settings before all others."""
    (folder / "shop.py").write_text(code)
    (folder / "outlive.toml").write_text(settings + text)
    cell = ("--connection", "close", "--gc", "off", "--jobs", "1")
    runner = CliRunner(env={"COLUMNS": "80"})
    done = runner.invoke(cli, ["measure", "--app", str(folder), *cell, *words], standalone_mode=False)
    assert done.exception is None or isinstance(done.exception, OutliveError), done.output
    return " ".join(f"{done.output} {done.exception or ''}".split())


def test_bare_wsgi_needs_no_package(tmp_path: Path) -> None:
    assert "ok 0 0 none" in measured(tmp_path)


def test_an_async_factory_makes_it(tmp_path: Path) -> None:
    code = f"async def make():\n    return answer\n{SERVE.replace('serve', 'answer')}"
    assert "ok 0 0 none" in measured(tmp_path, f"{code}serve = make\n")


def test_a_thread_that_it_starts_at_import_works_for_its_requests(tmp_path: Path) -> None:
    code = (
        "import queue, threading\nQUEUE = queue.SimpleQueue()\nclass Order: pass\n"
        "def work():\n    while True: QUEUE.get()\n"
        "threading.Thread(target=work, daemon=True).start()\n"
        "def serve(environ, start_response):\n    QUEUE.put(Order())\n"
        "    start_response('200 OK', [])\n    return []\n"
    )
    assert "ok 0 0 none" in measured(tmp_path, code)
    told = measured(tmp_path, code.replace("while True: ", ""))
    assert "ok 1 1 leak 1 Order" in told, "its queue is not emptied any more"


QUEUE = """
import queue
QUEUE = queue.Queue(1)
def serve(environ, start_response):
    QUEUE.put(1)
    QUEUE.put(2)
"""
TASK = """
import asyncio
async def serve(scope, receive, send):
    await query()
async def query():
    await asyncio.get_running_loop().create_future()
"""
NAMED = """
import asyncio
async def serve(scope, receive, send):
    waiting = asyncio.create_task(query(), name="query-of-shop")
    asyncio.create_task(query(), name="\N{SUPERSCRIPT TWO}")
    await waiting
async def query():
    await asyncio.get_running_loop().create_future()
"""
POOL = """
import asyncio, threading
async def serve(scope, receive, send):
    await asyncio.to_thread(threading.Event().wait)
"""
HANGS = {
    "a call that blocks": ("wsgi", QUEUE, "(shop.py, line 6, in queue.py, line"),
    "a task that waits": ("asgi", TASK, "(shop.py, line 6)"),
    "a task that waits for one with a name": ("asgi", NAMED, "(shop.py, line 6)"),
    "a thread that is waited for": ("asgi", POOL, "(shop.py, line 4, in asyncio/threads.py, line"),
}


@pytest.mark.parametrize("hang", HANGS)
def test_where_it_hangs_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hang: str) -> None:
    for module in (client, wire):
        monkeypatch.setattr(module, "TIMEOUT", 2.0)
    protocol, code, place = HANGS[hang]
    told = measured(tmp_path, code, f'protocol = "{protocol}"\n')
    assert f"ok: no answer within 2 s: the server hangs {place}" in told


def test_what_never_rests_is_told(tmp_path: Path) -> None:
    code = f"import threading\ndef spin():\n    while True: sum(range(9))\n{SERVE}"
    told = measured(tmp_path, f"{code}threading.Thread(target=spin, daemon=True).start()\n")
    assert "the worker never came to rest, so it cannot be counted (shop.py, line 3)" in told


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("socket.socket().detach()", "1 socket"),
        ("os.open(os.devnull, os.O_RDONLY)", "1 file"),
        ("NUMBERS.append(10**9 + len(NUMBERS))", "1 block"),
    ],
)
def test_what_leaks_and_is_no_object_is_named(tmp_path: Path, line: str, said: str) -> None:
    code = f"import os, socket\nNUMBERS = []\n{SERVE.replace('return', f'{line}; return')}"
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))  # less than there are requests
    try:
        assert f"ok 0 0 leak {said}" in measured(tmp_path, code)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    words = ["explain", "--app", str(tmp_path), "--scenario", "ok"]
    told = CliRunner().invoke(cli, words, standalone_mode=False).output
    assert f"Each request leaks {said}, which is no object." in told
    assert "Nothing" not in told


STARLETTE = """
import asyncio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

async def ok(request):
    return PlainTextResponse("shop")

async def serve():
    loop = asyncio.get_running_loop()
    app = Starlette(routes=[Route("/", ok)])
    async def on_its_loop(scope, receive, send):
        assert asyncio.get_running_loop() is loop
        await app(scope, receive, send)
    return on_its_loop
"""


@pytest.mark.parametrize("worker", ["uvicorn", "asgi"])
def test_an_async_factory_of_asgi_is_awaited_on_the_loop_that_serves(tmp_path: Path, worker: str) -> None:
    text = SETTINGS.replace("packages = []", 'packages = ["starlette==1.10.0"]')
    told = measured(tmp_path, STARLETTE, f'protocol = "asgi"\nworker = "{worker}"\n', text=text)
    assert re.search(r"ok \d+ 0 (none|cyclic)", told), told  # gunicorn's own leaves a ring of each connection


@pytest.mark.parametrize(
    ("code", "settings", "said"),
    [
        (
            "import unknown",  # like no other name, or Python 3.15 says what may have been meant
            "",
            "bare app does not start: ModuleNotFoundError: No module named 'unknown' (shop.py, line 1)",
        ),
        ("def serve(:", "", "SyntaxError: invalid syntax"),
        (
            "raise RuntimeError('no SHOP_KEY')",
            "",
            "bare app does not start: RuntimeError: no SHOP_KEY (shop.py, line 1)",
        ),
        ("serve = 3", "", "bare app does not start: "),
        (
            "import time\ntime.sleep(60)",
            "start_limit = 0.3\n",
            "no worker within 0.3 s: start_limit in outlive.toml",
        ),
        (
            "",
            "start_limit = 0.3\nbefore = \"python -c 'import time; time.sleep(60)'\"\n",
            "did not end within 0.3 seconds; start_limit",
        ),
        ("", 'before = "no-such-command"\n', "before: 'no-such-command' failed: "),
        ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "", "ConnectionRefusedError: "),
        (
            "import socket\nsocket.getaddrinfo('db.invalid', 5432)",
            "",
            "socket.gaierror: [Errno -2] Name or service not known (shop.py, line 2)",
        ),
        (
            "raise SystemExit('no database')",
            "",
            "it ended itself with exit code 1 while it was loaded: no database (shop.py, line 1)",
        ),
        (
            "import os\nraise ValueError(os.environ['SHOP_KEY'])",
            'secrets = ["SHOP_KEY"]\n',
            "ValueError: $SHOP_KEY",
        ),
        (
            "import os\nos._exit(3)",
            "",
            "bare app does not start: it ended with status 3 while it was loaded: ",
        ),
    ],
)
def test_what_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, settings: str, said: str
) -> None:
    monkeypatch.setenv("SHOP_KEY", "sesame-open-sesame")
    told = measured(tmp_path, f"{code}\n{SERVE}" if code != "serve = 3" else code, settings)
    assert said in told
    assert "sesame-open-sesame" not in told


REFUSALS = {
    "RuntimeError": "RuntimeError('no key\\n\\nError: see the manual')",
    "NotImplementedError": "NotImplementedError('no key')",  # a RuntimeError
    "shop.Refused": "Refused('no key')",
    "shop.Hint": "Hint('no key')",
    "ExceptionGroup": "ExceptionGroup('no key', [ValueError('SHOP_KEY')])",
}


@pytest.mark.parametrize(("verb", "factory"), [("measure", False), ("load", True)])
@pytest.mark.parametrize("name", REFUSALS)
def test_an_error_at_import_is_one_line_with_its_name_and_place(
    *, tmp_path: Path, name: str, factory: bool, verb: str
) -> None:
    refusal = f"{REFUSALS[name]} from OSError('disk')"
    code = "class Refused(Exception): pass\nclass Hint(RuntimeError): pass\n"
    code += f"def serve():\n    raise {refusal}\n" if factory else f"if True:\n    raise {refusal}\n"
    (tmp_path / "shop.py").write_text(code)
    target = SETTINGS.replace("shop:serve", "shop:serve()") if factory else SETTINGS
    (tmp_path / "outlive.toml").write_text(target)
    done = CliRunner().invoke(cli, [verb, "--app", str(tmp_path)], standalone_mode=False)
    text = str(done.exception) if isinstance(done.exception, OutliveError) else done.output
    assert f"bare app does not start: {name}: no key" in " ".join(text.split())
    assert "(shop.py, line 4)" in " ".join(text.split())
    assert "manual" not in text


@pytest.mark.parametrize(
    ("file", "content", "code"),
    [
        (".env", "SHOP_KEY=sesame", "key = os.environ['SHOP_KEY']"),
        (".envrc", "# of direnv\nexport SHOP_KEY = 'sesame'", "raise ValueError('shop_key  Field required')"),
        (
            ".flaskenv",
            "PORT=1\nSHOP_KEY=sesame",
            "serve = lambda environ, start: environ[os.environ['SHOP_KEY']]",
        ),
        (".env", "SHOP_KEY=sesame", "if __name__ == '__main__': os.environ['SHOP_KEY']"),
    ],
)
def test_a_variable_that_only_an_ignored_file_sets_is_told(
    tmp_path: Path, file: str, content: str, code: str
) -> None:
    repository = Repository(tmp_path / "shop")
    before = 'before = "python shop.py"\n' if "__main__" in code else ""
    (repository.folder / "outlive.toml").write_text(before + SETTINGS)
    (repository.folder / ".gitignore").write_text(f"{file}\n.outlive/\n")
    repository.commit(f"import os\n{SERVE}{code}\n", "shop.py")
    words = ["measure", "--app", str(repository.folder), "@HEAD", "--connection", "close", "--gc", "off"]
    told = CliRunner().invoke(cli, words).output
    assert "no revision has that file" not in told
    (repository.folder / file).write_text(content)
    told = " ".join(CliRunner().invoke(cli, words).output.split())
    assert f"; {file} sets SHOP_KEY, and no revision has that file: use env or secrets" in told
    assert "sesame" not in told


PEM = "-----BEGIN KEY-----\nc2VzYW1lLW9wZW4tc2VzYW1l\n-----END KEY-----"
URL = "postgres://sara:correct%2Fhorse@localhost/shop"


@pytest.mark.parametrize(
    ("secret", "code", "parts"),
    [
        (PEM, "raise ValueError(SECRET)", PEM.splitlines()[1:2]),
        (PEM, "raise KeyError(SECRET)", PEM.splitlines()[1:2]),
        (URL, "raise ValueError('no role ' + SECRET.split(':')[2].split('@')[0])", ["correct"]),
        (URL, "from urllib.parse import unquote\nraise ValueError(unquote(SECRET)[16:29])", ["correct"]),
        ("sesame" * 60, "raise ValueError(SECRET)", ["sesame"]),
    ],
)
def test_no_part_of_a_secret_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str, code: str, parts: list[str]
) -> None:
    monkeypatch.setenv("SHOP_KEY", secret)
    told = measured(
        tmp_path, f"import os\nSECRET = os.environ['SHOP_KEY']\n{code}", 'secrets = ["SHOP_KEY"]\n'
    )
    assert "$SHOP_KEY" in told
    assert not [part for part in parts if part in told]


def test_a_secret_that_a_leak_is_found_by_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_KEY", "sesame-open-sesame")
    code = (
        "import os\nclass Kept: pass\nKEPT = {os.environ['SHOP_KEY']: [], os.environ['SHOP_TOKEN'] * 9: []}\n"
        "def serve(environ, start_response):\n    for kept in KEPT.values():\n        kept.append(Kept())\n"
        "    start_response('200 OK', [])\n    return []\n"
    )
    settings = 'secrets = ["SHOP_KEY"]\nenv = { SHOP_TOKEN = "correct-horse" }\n'
    assert "ok 2 2 leak" in measured(tmp_path, code, settings)
    words = ["explain", "--app", str(tmp_path), "--scenario", "ok", "--json", str(tmp_path / "found.json")]
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cli, words, standalone_mode=False)
    assert re.search(r"\$SHOP_(KEY|TOKEN)", done.output)
    stored = [path for path in (tmp_path / ".outlive").rglob("*") if path.is_file()]
    for said in (done.output, *(path.read_text() for path in (tmp_path / "found.json", *stored))):
        assert "sesame" not in said
        assert "correct" not in said


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "    raise ConnectionRefusedError(111, 'no database')\n",
            "it raised ConnectionRefusedError: [Errno 111] no database (shop.py, line 2)",
        ),
        (
            "    raise ValueError('1 error for Settings\\ndatabase_url\\n  Field required\\nmore')\n",
            "it raised ValueError: 1 error for Settings database_url Field required (shop.py, line 2)",
        ),
        ("    start_response('404 NOT FOUND', [])\n    return []\n", "ok was answered '404', not "),
        ("    import os\n    os._exit(3)\n", "the worker died"),
    ],
)
def test_what_answers_wrongly_is_not_counted(tmp_path: Path, body: str, said: str) -> None:
    told = measured(tmp_path, f"def serve(environ, start_response):\n{body}")
    assert said in told
    assert "ok 0 0 none" not in told


def test_a_port_that_is_taken_is_named_by_its_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code = f"import socket\nADMIN = socket.create_server(('127.0.0.1', {port}))\n{SERVE}"
        told = measured(tmp_path, code)
        assert "Address already in use" in told
        assert "(shop.py, line 2)" in told
    assert "ok 0 0 none" in measured(tmp_path, code), "its own port is its own affair"


def test_what_it_forks_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess\n"
        f"child = subprocess.Popen(['sleep', '600'])\nforked = os.fork()\n"
        "if not forked:\n    import time\n    time.sleep(600)\n"
        "reading, writing = os.pipe()\n"
        "if not os.fork():\n    os.setsid()\n    daemon = os.fork()\n    if not daemon:\n"
        "        import time\n        time.sleep(600)\n"
        "    os.write(writing, b'%d' % daemon)\n    os._exit(0)\n"
        "daemon = os.read(reading, 20).decode()\n"
        f"open({str(pids)!r}, 'a').write(f'{{child.pid}} {{forked}} {{daemon}} ')\n{SERVE}"
    )
    assert "ok 0 0 none" in measured(tmp_path, code)
    left = [pid for pid in map(int, pids.read_text().split()) if running(pid)]
    assert not left


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("packages", "said"),
    [
        ('["flask==99.9"]', "cannot be installed: "),
        ('["no-such-package-of-ours==1"]', "cannot be installed: "),
        ('["flask==3.1.3", "werkzeug==2.0.0"]', "cannot be installed: "),
    ],
)
def test_requirements_that_do_not_resolve(tmp_path: Path, packages: str, said: str) -> None:
    (tmp_path / "outlive.toml").write_text("")
    text = SETTINGS.replace("packages = []", f"packages = {packages}")
    (tmp_path / "shop.py").write_text(SERVE)
    (tmp_path / "outlive.toml").write_text(text)
    done = CliRunner().invoke(cli, ["measure", "--app", str(tmp_path)], standalone_mode=False)
    assert isinstance(done.exception, OutliveError)
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
