"""Applications that do not do what they should where they are served: each ends with one line."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from outlive.cli import cli
from outlive.errors import OutliveError

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


def measured(folder: Path, code: str = SERVE, settings: str = "", *words: str) -> str:
    """Return what `measure` says of an application with this code, and these settings before all others."""
    (folder / "shop.py").write_text(code)
    (folder / "outlive.toml").write_text(settings + SETTINGS)
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


@pytest.mark.parametrize(
    ("code", "settings", "said"),
    [
        (
            "import shp",
            "",
            "bare app does not start: ModuleNotFoundError: No module named 'shp' (shop.py, line 1)",
        ),
        ("def serve(:", "", "SyntaxError: invalid syntax"),
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
        ("raise SystemExit('no database')", "", "bare app does not start: "),
        (
            "import os\nraise ValueError(os.environ['SHOP_KEY'])",
            'secrets = ["SHOP_KEY"]\n',
            "ValueError: $SHOP_KEY",
        ),
        ("import os\nos._exit(3)", "", "bare app does not start: "),
    ],
)
def test_what_does_not_start_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, settings: str, said: str
) -> None:
    monkeypatch.setenv("SHOP_KEY", "sesame-open-sesame")
    told = measured(tmp_path, f"{code}\n{SERVE}" if code != "serve = 3" else code, settings)
    assert said in told
    assert "sesame-open-sesame" not in told


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "    raise ConnectionRefusedError(111, 'no database')\n",
            "it raised ConnectionRefusedError: [Errno 111] no database (shop.py, line 2)",
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
        f"open({str(pids)!r}, 'a').write(f'{{child.pid}} {{forked}} ')\n{SERVE}"
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
