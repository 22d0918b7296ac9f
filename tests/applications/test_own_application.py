"""An application of a user's own is measured as a release is: a leak planted in an upgrade is found."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from measuring import CHECKOUT
from outlive import api
from outlive.cli import cli
from outlive.errors import ExitCode, OutliveError, UsageError
from outlive.records.load import Traffic
from package_index import Wheel

SHOP = Path(__file__).parents[1] / "planted" / "shop"
SECRETS = {"SHOP_KEY": "sesame-open-sesame", "SHOP_PASSWORD": "correct-horse-battery"}
KEPT = "        FAILED.append(error)\n"
GONE = "        FAILED[:] = [error]\n"
PRACTICE = """
KEPT = []

class Kept:
    pass

def keeping(app):
    app.after_request(lambda response: KEPT.append(Kept()) or response)
"""
LOCUSTFILE = """
from locust import HttpUser, task

class Shopper(HttpUser):
    @task
    def browse(self):
        self.client.get("/")
"""
CELL = ("--connection", "close", "--gc", "on", "--jobs", "1")

pytestmark = pytest.mark.real


def session(folder: Path, version: str, failed: str = "") -> Path:
    """Write a release of the private package; `failed` is what it does with a session that failed."""
    code = (SHOP / "session.py").read_text()
    wheel = Wheel("shop_session", version, files={"shop_session/__init__.py": code + failed})
    folder.mkdir(exist_ok=True)
    path = folder / wheel.filename
    path.write_bytes(wheel.content())
    return path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own") / "shop"
    shutil.copytree(SHOP, folder, ignore=shutil.ignore_patterns("session.py", "__pycache__"))
    session(folder / "wheels", "1.0")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "shop")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield folder


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=sara", "-c", "user.email=sara@localhost", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def outlive(*words: object) -> Result:
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cli, [str(word) for word in words], standalone_mode=False)
    if not done.exception:
        done.exit_code = done.return_value or 0
    return done


def said(result: Result) -> str:
    assert isinstance(result.exception, OutliveError), result.output
    return str(result.exception)


def test_a_leak_in_an_upgrade_is_found_named_and_attributed(shop: Path, tmp_path: Path) -> None:
    wheel = session(tmp_path, "1.1", KEPT)
    found = tmp_path / "found.json"
    done = outlive("compare", "--app", shop, f"shop-session@{wheel}", *CELL, "--json", found)
    assert done.exit_code == 0, done.output
    report = json.loads(found.read_bytes())["comparison"]
    rows = {row["scenario"]: row["direction"] for row in report["rows"]}
    assert rows == {"ok": "same", "orders": "same", "anonymous": "same", "fail": "worse"}
    assert "shop-session 1.0+" in report["subject"]
    for word in ("not released", "yanked", "requires", "Python any"):
        assert word not in done.output
    (change,) = (one for one in report["fingerprints"] if one["leak"]["growth"] == "leaked")
    assert "shop_session" in change["leak"]["trail"]
    explained = outlive("explain", "--app", shop, f"shop-session@{wheel}", "--scenario", "fail", "--gc", "on")
    assert "module's global `FAILED` takes it in" in explained.output
    way = outlive("attribute", "--app", shop, f"shop-session@{wheel}", "--scenario", "fail", "--gc", "on")
    assert way.exit_code == 0, way.output
    assert "shop-session 1.0+" in way.output


def test_what_came_with_which_of_its_states(shop: Path) -> None:
    """The states are those that the test above has measured."""
    done = outlive("leaks", "--app", shop)
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert re.search(r"shop: \d+ states measured on Python 3\.11", told)
    assert re.search(r"introduced in 0\+\w{8} with shop-session 1\.1\+\w{8}", told)
    assert "module shop_session global FAILED" in told
    assert re.match("name a framework", said(outlive("leaks")))


def test_the_example_of_the_page_runs(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (CHECKOUT.root / "docs" / "own-application.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(import outlive\n.*?)```", page, re.DOTALL)
    other = tmp_path / "shop"
    shutil.copytree(shop, other, ignore=shutil.ignore_patterns(".outlive", ".git"))
    settings = other / "outlive.toml"
    settings.write_text(settings.read_text().replace('name = "fail"', 'name = "bad-order"'))
    monkeypatch.chdir(other)
    exec(example.replace("../session", str(session(tmp_path, "1.1", KEPT))), {})


def test_every_function_of_the_library_takes_it(shop: Path, tmp_path: Path) -> None:
    """What the first test has measured is not measured again."""
    state = f"shop-session@{session(tmp_path, '1.1', KEPT)}"
    cell: api.Options = {"app": shop, "connections": ["close"], "gc": ["on"], "jobs": 1}
    ok: api.Options = {**cell, "scenarios": ["ok"]}
    uncollected: api.Options = {**ok, "gc": ["off"]}
    document = api.explain(state, "fail", app=shop, gc=["on"])
    (leak,) = (one for one in document.analysis.structures if one.growth == "leaked")
    assert "module shop_session global FAILED" in leak.explanation.trail
    report, page = api.report("", state, **cell)
    assert page.is_relative_to(shop / ".outlive")
    assert f"outlive report --app {shop} {state} " in str(report.command)
    assert api.gate("", **ok).code == ExitCode.FINE
    assert api.gate(state, **uncollected).code == ExitCode.REGRESSION  # no limit allows any
    with pytest.raises(UsageError, match="say what changes"):
        api.compare("", "", **cell)
    record = api.load(state, Traffic(requests=300, clients=2, scenarios=("ok", "fail")), app=shop)
    assert {one.scenario for one in record.scenarios} == {"ok", "fail"}
    assert record.leaked_per_request


def test_practices_of_its_own_and_ours_by_name(shop: Path, tmp_path: Path) -> None:
    other = tmp_path / "shop"
    shutil.copytree(shop, other, ignore=shutil.ignore_patterns(".outlive", ".git"))
    (other / "practice.py").write_text(PRACTICE)
    settings = other / "outlive.toml"
    settings.write_text(f'practices = ["practice.py:keeping", "logging"]\n{settings.read_text()}')
    words = ("measure", "--app", other, *CELL, "--scenario", "ok", "--json", tmp_path / "found.json")
    done = outlive(*words, "--with-practice", "error-tracker")
    assert done.exit_code == 0, done.output
    document = json.loads((tmp_path / "found.json").read_bytes())
    assert document["measurements"][0]["types"] == {"practice.Kept": 1.0}
    assert "sentry-sdk" in {package["name"] for package in document["provenance"]["stacks"][0]["packages"]}
    settings.write_text(settings.read_text().replace('"logging"', '"logger"'))
    assert re.search("'logger' is none; there are .*logging", said(outlive(*words)))


def test_its_own_locustfile_sends_what_it_says(shop: Path, tmp_path: Path) -> None:
    (shop / "shoppers.py").write_text(LOCUSTFILE)
    words = ("load", "--app", shop, "--user", "shoppers.py:Shopper", "--clients", "2")
    done = outlive(*words, "--duration", "2s", "--json", tmp_path / "found.json")
    (record,) = json.loads((tmp_path / "found.json").read_bytes())["measurements"]
    refused = outlive(*words, "--requests", "9")
    (shop / "shoppers.py").unlink()
    assert done.exit_code == 0, done.output
    assert [one["scenario"] for one in record["scenarios"]] == ["/"]
    assert record["requests"] > record["unexpected"] == 0
    assert "decides what is sent" in said(refused)
    assert "there is no such locustfile" in said(outlive(*words, "--duration", "2s"))


def test_its_gate_goes_red_for_the_leak_and_not_for_its_clean_twin(shop: Path, tmp_path: Path) -> None:
    words = ("gate", "--app", shop, *CELL, "--scenario", "fail")
    clean = outlive(*words, f"shop-session@{session(tmp_path, '1.2', GONE)}")
    assert clean.exit_code == 0, clean.output
    accepted = outlive(*words, f"shop-session@{session(tmp_path, '1.2', GONE)}", "--accept")
    assert "nothing to accept: no request leaves anything, and without" in accepted.output
    assert not (shop / "outlive-limits.toml").exists()
    leaking = outlive(*words, f"shop-session@{session(tmp_path, '1.1', KEPT)}")
    assert leaking.exit_code == 1, leaking.output
    (again,) = re.findall(rf"again: (outlive gate --app {shop} shop-session@.*)", leaking.output)
    assert "--limits" not in again, "there is no such file, so the command would be refused"


def test_what_its_gate_accepts_is_within_from_then_on(shop: Path) -> None:
    words = ("gate", "--app", shop, "--connection", "close", "--gc", "off", "--jobs", "1", "--scenario", "ok")
    assert outlive(*words).exit_code == 1
    accepted = outlive(*words, "--accept")
    assert accepted.exit_code == 0, accepted.output
    assert (shop / "outlive-limits.toml").is_file()
    again = outlive(*words)
    (shop / "outlive-limits.toml").unlink()
    assert again.exit_code == 0, again.output


def test_two_revisions_of_its_code(shop: Path, tmp_path: Path) -> None:
    code = (shop / "shop.py").read_text()
    code = code.replace(
        "        raise ValueError", "        seen.append(g.session)\n        raise ValueError"
    )
    (shop / "shop.py").write_text(code.replace("work = ", "seen = []\nwork = "))
    git(shop, "commit", "--all", "--quiet", "--message", "keep what was seen")
    found = tmp_path / "found.json"
    done = outlive("compare", "--app", shop, "@HEAD~1", "@HEAD", *CELL, "--scenario", "fail", "--json", found)
    git(shop, "reset", "--quiet", "--hard", "HEAD~1")
    assert done.exit_code == 0, done.output
    report = json.loads(found.read_bytes())["comparison"]
    assert {row["scenario"]: row["direction"] for row in report["rows"]} == {"ok": "same", "fail": "worse"}


def test_a_secret_is_in_no_file_and_git_sees_nothing(shop: Path) -> None:
    assert outlive("measure", "--app", shop, *CELL, "--scenario", "ok").exit_code == 0
    assert git(shop, "status", "--porcelain") == ""
    kept = [path for path in (shop / ".outlive").rglob("*") if path.is_file()]
    assert {".html", ".json", ".md"} <= {path.suffix for path in kept}
    for path in kept:
        assert not [value for value in SECRETS.values() if value.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("target = .*", 'target = "shop:make()"'), "shop app does not start: .*make"),
        (
            ('"flask==3.1.3"', '"flask==3.1.3", "werkzeug==2.0.0"'),
            "werkzeug is pinned twice: werkzeug==2.0.0 and werkzeug==3.1.3",
        ),
        (("werkzeug==3.1.3", "werkzeug==3.1.99"), "cannot be installed: .*werkzeug==3.1.99"),
        (("werkzeug==3.1.3", "werkzeug==2.0.0"), "cannot be installed: .*werkzeug==2.0.0"),
        (("python shop.py", "python -c 'raise SystemExit(3)'"), "before: "),
        (("expect = 401", "expect = 403"), "anonymous was answered '401', not '403'"),
    ],
)
def test_what_can_go_wrong_is_said_in_one_line(
    shop: Path, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    broken = tmp_path / "shop"
    shutil.copytree(shop, broken, ignore=shutil.ignore_patterns(".outlive"))
    settings = broken / "outlive.toml"
    settings.write_text(re.sub(change[0], change[1], settings.read_text(), count=1))
    done = outlive("measure", "--app", broken, *CELL, "--scenario", "anonymous")
    told = f"{done.output} {done.exception if isinstance(done.exception, OutliveError) else ''}"
    assert re.search(reason, " ".join(told.split())), told
    assert not any(value in told for value in SECRETS.values())
