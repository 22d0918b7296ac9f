from __future__ import annotations

import datetime as dt
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from asv import config, environment, util  # type: ignore[import-untyped]

from outlive.asv import plugin, repository
from outlive.project import Project
from outlive.records.release import Release
from outlive.releases.catalogue import Catalogue
from outlive.stacks import pythons
from package_index import GUNICORN, Index, Wheel, serving

HERE = pythons.installed()[-1]
CHECKOUT = Path(__file__).parents[2]

# its numbers rise with the release, and it tells what it ran in
BENCHMARKS = """
import json, os, subprocess, sys

import flask


class Release:
    def setup_cache(self):
        code = "import json, os, outlive; print(json.dumps([os.environ['OUTLIVE_STACK'], outlive.__name__]))"
        return json.loads(subprocess.check_output([os.environ["OUTLIVE_PYTHON"], "-c", code], env=HARNESS))

    def track_patch(self, cache):
        sys.stderr.write("told: " + json.dumps({
            "cache": cache,
            "stack": os.environ["OUTLIVE_STACK"],
            "root": os.environ["OUTLIVE_ROOT"],
            "path": [entry for entry in sys.path if entry.endswith("site-packages")],
            "packages": sorted(os.listdir(os.path.dirname(os.path.dirname(flask.__file__)))),
            "first": os.environ["PATH"].split(os.pathsep)[0],
        }) + "\\n")
        return flask.PATCH


class Other:
    def setup(self):
        raise NotImplementedError("not this framework")

    def track_nothing(self):
        return 1


# a benchmark's own variables are not the user's: the harness of these tests may be found by PYTHONPATH
HARNESS = dict(os.environ, PYTHONPATH=os.environ["HARNESS_PATH"])
"""


def wheel(patch: int, **changes: Any) -> Wheel:
    return Wheel("flask", f"2.3.{patch}", files={"flask/__init__.py": f"PATCH = {50 + patch}"}, **changes)


BROKEN = Wheel("flask", "2.3.3", files={"flask/__init__.py": "import nothing_such"})


def release(patch: int, **changes: Any) -> Release:
    uploaded = dt.datetime(2024, 1, 1 + patch, tzinfo=dt.UTC)
    facts: dict[str, Any] = {"wheels": ("py3",), "requires_python": None, **changes}
    return Release("flask", f"2.3.{patch}", uploaded, yanked=False, yanked_reason=None, sdist=False, **facts)


@dataclass
class Suite:
    """A checkout of its own with an asv suite, on an index of its own."""

    project: Project

    def asv(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "asv", *arguments]
        return subprocess.run(command, cwd=self.project.root, capture_output=True, text=True, check=False)

    def commit(self, release: str) -> str:
        command = ["git", "-C", str(repository.path(self.project)), "rev-parse", release]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def results(self, release: str) -> dict[str, Any]:
        (found,) = (self.project.published / "asv").glob(f"tester/{self.commit(release)[:8]}-*.json")
        held: dict[str, Any] = json.loads(found.read_text())
        return held


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Suite]:
    root = tmp_path / "checkout"
    for folder in ("apps/flask", "loadtests", "releases", "benchmarks"):
        (root / folder).mkdir(parents=True)
    (root / "apps/flask/app.toml").touch()
    (root / "loadtests/scenarios.toml").touch()
    (root / "releases/gunicorn.toml").write_text(f'[versions]\n"{HERE.minor}" = "{GUNICORN.version}"\n')
    (root / "benchmarks/__init__.py").touch()
    (root / "benchmarks/objects.py").write_text(BENCHMARKS)
    (root / "benchmarks/memory.py").write_text("import flask\ndef track_noise(): return flask.PATCH")
    text = (CHECKOUT / "asv.conf.json").read_text()
    text = text.replace('["3.11"]', f'["{HERE.minor}"]')
    (root / "asv.conf.json").write_text(re.sub(r'"branches": .*', '"branches": ["flask"],', text))
    project = Project(root)
    Catalogue.of("flask", (release(0), release(1), release(2))).save(project)
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setenv("PYENV_ROOT", os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv")))
    monkeypatch.setenv("HARNESS_PATH", os.pathsep.join(entry for entry in sys.path if entry))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OUTLIVE_ROOT", raising=False)
    (tmp_path / "home").mkdir()
    machine = {"machine": "tester", "os": "", "arch": "", "cpu": "", "num_cpu": "", "ram": ""}
    (tmp_path / "home/.asv-machine.json").write_text(json.dumps({"version": 1, "tester": machine}))
    with serving(Index([GUNICORN, wheel(0), wheel(1), wheel(2), BROKEN])) as index:
        monkeypatch.setenv("OUTLIVE_INDEX_URL", index.url)
        yield Suite(project)


@pytest.fixture
def single(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> plugin.StackEnvironment:
    """Return the environment of the suite, made in this process."""
    monkeypatch.chdir(suite.project.root)
    plugin.setup()
    (found,) = environment.get_environments(config.Config.load(), None)
    assert isinstance(found, plugin.StackEnvironment)
    found.create()
    return found


def test_asv_walks_the_releases_of_a_fresh_clone(suite: Suite) -> None:
    done = suite.asv("run", "--machine", "tester", "flask-2.3.0..flask-2.3.2", "--show-stderr")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<flask-2.3.2>" in done.stdout
    told = [json.loads(line.partition("told: ")[2]) for line in done.stdout.splitlines() if "told: " in line]
    assert [each["stack"] for each in told] == [f"flask==2.3.{n},python=={HERE.minor}" for n in (2, 1)]
    for each in told:
        assert each["cache"] == [each["stack"], "outlive"]
        assert each["root"] == str(suite.project.root)
        (site_packages,) = each["path"]  # neither asv's runner nor the harness is in the environment
        version = each["stack"][len("flask==") :].partition(",")[0]
        assert {name for name in each["packages"] if not name.startswith("_")} == {
            "flask",
            f"flask-{version}.dist-info",
            "gunicorn",
            f"gunicorn-{GUNICORN.version}.dist-info",
        }
        assert site_packages.startswith(str(Path(each["first"]).parent))
    assert suite.results("flask-2.3.2")["results"]["objects.Release.track_patch"][0] == [52]
    assert suite.results("flask-2.3.1")["results"]["objects.Release.track_patch"][0] == [51]

    again = suite.asv("run", "--machine", "tester", "ALL", "--skip-existing")
    assert again.returncode == 0, again.stdout + again.stderr
    assert re.findall(r"For outlive commit \w+ <(.+)>", again.stdout) == ["flask-2.3.0"]

    compared = suite.asv("compare", "flask-2.3.1", "flask-2.3.2", "--machine", "tester")
    assert re.search(
        r"^\| \+ +\| +51 +\| +52 +\| +1.02 +\| objects.Release.track_patch ", compared.stdout, re.MULTILINE
    )
    assert "memory.track_noise" not in compared.stdout
    with_factor = suite.asv("compare", "--factor", "1.5", "flask-2.3.1", "flask-2.3.2", "--machine", "tester")
    assert "memory.track_noise" in with_factor.stdout
    assert "| +" not in with_factor.stdout

    published = suite.asv("publish")
    assert published.returncode == 0, published.stdout + published.stderr
    index = json.loads((suite.project.root / ".outlive/asv/html/index.json").read_text())
    assert index["params"]["branch"] == ["flask"]
    assert index["tags"] == {"flask-2.3.0": 0, "flask-2.3.1": 1, "flask-2.3.2": 2}


def test_each_command_extends_the_history(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(suite.project.root)
    plugin.setup()
    before = suite.commit("flask")
    Catalogue.of("flask", tuple(release(patch) for patch in range(4))).save(suite.project)
    plugin.setup()
    assert suite.commit("flask^") == before


def test_outside_of_a_checkout_asv_says_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUTLIVE_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(util.UserError) as caught:
        plugin.setup()
    assert str(caught.value) == f"{tmp_path} is not in a checkout of outlive: change into one for asv"


def test_a_release_runs_in_its_own_environment(suite: Suite, single: plugin.StackEnvironment) -> None:
    ran = []
    for version in ("2.3.1", "2.3.2", "2.3.1"):
        single.install_project(None, None, suite.commit(f"flask-{version}"))
        ran.append(single.run(["-c", "import sys, flask; print(flask.PATCH, sys.prefix)"]).split())
    assert [patch for patch, _ in ran] == ["51", "52", "51"]
    assert ran[0] == ran[2]
    assert ran[0][1] != ran[1][1]


def test_nothing_of_the_user_reaches_an_environment(
    suite: Suite, single: plugin.StackEnvironment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("ASV_PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONHOME", str(tmp_path))
    single.install_project(None, None, suite.commit("flask-2.3.1"))
    code = "import os, sys; print(os.environ['PYTHONPATH']); print(os.listdir(os.environ['PYTHONPATH']))"
    folder, held = single.run(["-c", code]).splitlines()
    assert folder.startswith(str(single._path))
    assert held == "['asv_runner']"


def test_another_process_may_have_installed_the_release(
    suite: Suite, single: plugin.StackEnvironment
) -> None:
    single.install_project(None, None, suite.commit("flask-2.3.2"))
    (other,) = environment.get_environments(config.Config.load(), None)
    assert other.run(["-c", "import flask; print(flask.PATCH)"]) == "52\n"


def test_versions_in_the_matrix_are_pins(suite: Suite, single: plugin.StackEnvironment) -> None:
    conf = config.Config.load()
    conf.matrix = {"req": {"gunicorn": ["26.0"]}}
    (pinned,) = environment.get_environments(conf, None)
    assert pinned.name == f"outlive-py{HERE.minor}-gunicorn26.0"
    with pytest.raises(plugin.NotInstallable, match=r"gunicorn==26\.0"):
        pinned.install_project(conf, None, suite.commit("flask-2.3.2"))


def test_a_release_for_other_pythons_is_skipped(suite: Suite) -> None:
    releases = (release(0), release(1, wheels=("cp34",)), release(2))
    Catalogue.of("flask", releases).save(suite.project)
    done = suite.asv("run", "--machine", "tester", "flask-2.3.0..flask-2.3.1")
    assert done.returncode == 2
    assert (
        f"flask 2.3.1 has no wheel for Python {HERE.minor}; it has wheels for 3.4: "
        "choose another Python, as in -E outlive:3.10"
    ) in done.stdout
    assert "objects.Release.track_patch skipped" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_a_release_that_does_not_import_has_no_environment(
    suite: Suite, single: plugin.StackEnvironment
) -> None:
    Catalogue.of("flask", tuple(release(patch) for patch in range(4))).save(suite.project)
    plugin.setup()
    with pytest.raises(plugin.NotInstallable) as caught:
        single.install_project(None, None, suite.commit("flask-2.3.3"))
    assert str(caught.value) == (
        f"flask==2.3.3,python=={HERE.minor} cannot be imported: "
        "ModuleNotFoundError: No module named 'nothing_such'"
    )
    assert isinstance(caught.value, util.ProcessError)  # `asv run` goes on with the next release
    assert isinstance(caught.value, util.UserError)  # `asv find` ends with its text


def test_a_tags_name_is_refused_because_results_would_be_overwritten(
    suite: Suite,
    single: plugin.StackEnvironment,
) -> None:
    with pytest.raises(util.UserError) as caught:
        single.install_project(None, None, "flask-2.3.1")
    assert str(caught.value) == (
        "flask-2.3.1 is not a commit hash, so its results would overwrite those of other releases: "
        "use `asv run ALL` or a range instead of TAGS"
    )


def test_a_python_that_is_not_there_is_named(suite: Suite, single: plugin.StackEnvironment) -> None:
    with pytest.raises(environment.EnvironmentUnavailable, match=r"^Python 3\.4 is too old"):
        plugin.StackEnvironment(config.Config.load(), "3.4", {}, {})


def test_running_before_installing_is_a_clear_fault(suite: Suite, single: plugin.StackEnvironment) -> None:
    with pytest.raises(util.UserError, match=rf"^no release is installed into outlive-py{HERE.minor}$"):
        single.run(["-c", ""])
