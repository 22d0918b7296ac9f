from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import asv  # type: ignore[import-untyped]
import pytest
from asv.graph import Graph  # type: ignore[import-untyped]
from packaging.version import Version

from outlive.asv import assets
from outlive.asv import results as asv_results
from outlive.asv.assets import Asset
from outlive.errors import FaultError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.records.release import Release
from outlive.releases.lineage import covered

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
CHECKOUT = Path(__file__).parents[2]
ASV_PAGE = Path(asv.__file__).with_name("www") / "index.html"
PAGE = """<html>
  <head>
    <script src="https://one.invalid/lib/1.0/lib.min.js" integrity="sha256-x" crossorigin></script>
    <script src="asv.js"></script>
    <link rel="stylesheet" href="https://two.invalid/look.css" integrity="sha256-y">
  </head>
  <body><a href="https://three.invalid/asv/">asv</a></body>
</html>
"""
CHARTED = ("3.1.", "3.10.")
"""The releases with results: those of two minor versions draw the same kinds of pages as all."""
FEED = '&lt;a href="#0123456789"&gt;01234567&lt;/a&gt; 01234567...89abcdef&lt;/a&gt;'
FILES = {"dist/lib.js": b"lib()", "look.css": b"body {}"}


def asset(name: str, path: str, content: bytes) -> Asset:
    return Asset(name, "lib@1.0.0", path, hashlib.sha256(content).hexdigest())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a site of asv's, on a machine whose npm has one package."""
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(
        assets,
        "ASSETS",
        (
            asset("lib.min.js", "dist/lib.js", FILES["dist/lib.js"]),
            asset("look.css", "look.css", FILES["look.css"]),
        ),
    )
    package = tmp_path / "package.tgz"
    with tarfile.open(package, "w:gz") as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    npm(tmp_path, monkeypatch, f'echo "$@" >> {tmp_path}/asked; cp {package} lib-1.0.0.tgz')
    found = tmp_path / "html"
    found.mkdir()
    (found / "index.html").write_text(PAGE)
    (found / "regressions.xml").write_text(FEED)
    return found


def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "npm").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")


class TestBringHome:
    def test_the_pages_load_nothing_from_elsewhere(self, folder: Path) -> None:
        assets.bring_home(folder)
        assert (
            (folder / "index.html").read_text()
            == """<html>
  <head>
    <script src="vendor/lib.min.js" onerror="js_load_failure()"></script>
    <script src="asv.js"></script>
    <link rel="stylesheet" href="vendor/look.css">
  </head>
  <body><a href="https://three.invalid/asv/">asv</a></body>
</html>
"""
        )
        assert (folder / "vendor/lib.min.js").read_bytes() == b"lib()"
        assert (folder / "vendor/look.css").read_bytes() == b"body {}"

    def test_npm_is_asked_once(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assets.bring_home(folder)
        monkeypatch.setenv("PATH", "")
        (folder / "index.html").write_text(PAGE)
        assets.bring_home(folder)
        assert (tmp_path / "asked").read_text() == "pack --silent lib@1.0.0\n"

    def test_without_npm_the_pages_stay_as_they_are(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(FaultError) as caught:
            assets.bring_home(folder)
        assert str(caught.value) == (
            "npm is not installed: it fetches the JavaScript that asv's pages load, once"
        )
        assert (folder / "index.html").read_text() == PAGE

    def test_what_npm_says(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        npm(tmp_path, monkeypatch, "echo no network >&2; exit 1")
        with pytest.raises(FaultError, match=r"^npm cannot fetch lib@1\.0\.0: no network$"):
            assets.bring_home(folder)

    def test_a_file_that_is_not_what_it_was_is_not_used(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = asset("lib.min.js", "dist/lib.js", b"other")
        monkeypatch.setattr(assets, "ASSETS", (other, *assets.ASSETS[1:]))
        with pytest.raises(FaultError) as caught:
            assets.bring_home(folder)
        assert str(caught.value) == "dist/lib.js of lib@1.0.0 has changed: do not trust it"
        assert (folder / "index.html").read_text() == PAGE
        assert not other.cached.exists()

    def test_what_another_asv_may_load_is_named(self, folder: Path) -> None:
        (folder / "index.html").write_text(PAGE.replace("lib.min.js", "new.min.js"))
        with pytest.raises(FaultError) as caught:
            assets.bring_home(folder)
        assert str(caught.value) == (
            "this asv's pages load new.min.js, which is not among the assets in outlive.asv.assets"
        )


def test_releases_are_named(folder: Path) -> None:
    assets.name_releases(folder, {"0123456789": "flask-3.0.0", "89abcdef01": "flask-3.0.1"})
    assert (folder / "regressions.xml").read_text() == (
        '&lt;a href="#0123456789"&gt;flask-3.0.0&lt;/a&gt; flask-3.0.0...flask-3.0.1&lt;/a&gt;'
    )
    page = (folder / "index.html").read_text()
    assert '<script src="vendor/releases.js"></script>\n' in page.partition("</head>")[0]
    assert (folder / "vendor/releases.css").is_file()


def test_a_benchmark_opens_on_its_longest_history(folder: Path) -> None:
    graphs = [
        Graph("objects.it", {"python": "3.11", "branch": "flask", "machine": "vm"}),
        Graph("objects.it", {"python": "3.13", "branch": "flask", "machine": "vm"}),
    ]
    for revision, graph in [(0, graphs[0]), (1, graphs[0]), (1, graphs[1])]:
        graph.add_data_point(revision, 7.0 if graph is graphs[0] else 0.0)
    assets.open_on_history(folder, {"objects.it": graphs})
    script = (folder / "vendor/histories.js").read_text()
    histories = json.loads(script.removeprefix("var outliveHistories = ").removesuffix(";\n"))
    assert histories == {"objects.it": {"python": "3.11", "branch": "flask"}}
    picture = json.loads((folder / "graphs/summary/objects.it.json").read_text())
    assert {value for _, value in picture} == {7.0}


class TestAssets:
    def test_they_are_what_asv_loads(self) -> None:
        loaded = [found[2] for found in assets.FOREIGN.finditer(ASV_PAGE.read_text())]
        assert sorted(loaded) == sorted(asset.name for asset in assets.ASSETS)

    def test_they_are_the_bytes_that_asv_asks_for(self) -> None:
        """As far as asv names the bytes by SHA-256."""
        named = re.findall(r'"https?://[^"]*/([^"/]+)" integrity="sha256-([^"]+)"', ASV_PAGE.read_text())
        digests = {asset.name: asset.sha256 for asset in assets.ASSETS}
        assert {name for name, _ in named} >= {"jquery-3.3.1.min.js", "bootstrap.min.js"}
        for name, digest in named:
            assert base64.b64decode(digest).hex() == digests[name]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield the address of a site of made-up results: survivors of aiohttp rise from 7 to 9 in 3.10.2."""
    if shutil.which("npm") is None:
        pytest.skip("no npm")
    root = tmp_path / "checkout"
    for name in ("apps", "loadtests", "benchmarks"):
        shutil.copytree(CHECKOUT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "by_hand"))
    shutil.copyfile(CHECKOUT / "asv.conf.json", root / "asv.conf.json")
    for path in CHECKOUT.glob("releases/*/catalogue.json"):
        (root / path.relative_to(CHECKOUT)).parent.mkdir(parents=True)
        shutil.copyfile(path, root / path.relative_to(CHECKOUT))
    monkeypatch.setenv("XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OUTLIVE_ROOT", raising=False)
    monkeypatch.chdir(root)
    project = Project(root)
    results = asv_results.AsvResults(project, "3.11")
    for framework in ("aiohttp", "flask"):
        for release in covered(project, framework):
            count = 9 if release.parsed >= Version("3.10.2") else 7
            if release.version.startswith(CHARTED):
                results.write(release, [survivors(release, count)])
    subprocess.run([sys.executable, "-m", "asv", "publish"], check=True, capture_output=True)
    handler = functools.partial(Quiet, directory=str(root / ".outlive/asv/html"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/index.html"
        server.shutdown()
        thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def survivors(release: Release, count: float) -> Measurement:
    return Measurement(
        framework=release.framework,
        release=release.version,
        python="3.11",
        app_version=1,
        scenario="ok",
        connection="close",
        gc="off",
        worker="any",
        lock="0" * 12,
        status="measured",
        survivors_per_request=count,
    )


def seen(address: str, profile: Path) -> str:
    """Return the page as a browser has it that can reach nothing but this machine."""
    assert BROWSER
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--virtual-time-budget=8000"]
    options += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={profile}"]
    command = [BROWSER, *options, "--dump-dom", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout


@pytest.mark.real
@pytest.mark.skipif(not BROWSER, reason="no browser")
def test_a_browser_without_the_internet_shows_all_pages(published: str, tmp_path: Path) -> None:
    grid = seen(published, tmp_path / "profile")
    assert "aiohttp: survivors, not-found, close" in grid
    regressions = seen(f"{published}#regressions", tmp_path / "profile")
    row = re.search(
        r"<tr[^>]*>(?:(?!</tr>).)*objects\.AiohttpSurvivors\.track_ok_close(?:(?!</tr>).)*",
        regressions,
    )
    assert row
    assert ">aiohttp-3.10.2<" in row[0]
    graph = seen(f"{published}#objects.AiohttpSurvivors.track_ok_close", tmp_path / "profile")
    labels = re.findall(r'font-size: ?smaller;">([^<]+)<', graph)
    assert sorted(labels) == sorted(
        one.version for one in covered(Project(CHECKOUT), "aiohttp") if one.version.startswith(CHARTED)
    )
