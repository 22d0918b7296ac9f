"""The whole site: what is on it, when it is written, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import asv  # type: ignore[import-untyped]
import msgspec
import pytest
from click.testing import CliRunner

from comparisons import aiohttp_cells, cell
from html_page import Page
from outlive.cli import cli
from outlive.comparison.sizes import Rates
from outlive.errors import ExitCode, FaultError, UsageError
from outlive.files import write_bytes
from outlive.pages import site, write
from outlive.project import Project
from outlive.records.measurement import Measurement, StackRecord
from outlive.releases.catalogue import Catalogue
from outlive.releases.lineage import PYTHON
from outlive.replay.store import Store
from outlive.reports import record
from outlive.stacks import locks
from reporting import aiohttp_evidence, checkout, facts, relief_document

CHECKOUT = Path(__file__).parents[2]
ASV_PAGE = Path(asv.__file__).with_name("www") / "index.html"

LARGEST_HOME = 150_000
ATOM = {"atom": "http://www.w3.org/2005/Atom"}
MEASURED = {"3.10.5": (32.0, 0.0), "3.10.10": (50.0, 44.0), "3.10.11": (32.0, 0.0)}


def keep(project: Project, version: str, measurements: list[Measurement]) -> Path:
    """Store measurements of a release as a sweep does, and return their file."""
    release = Catalogue.load(project, "aiohttp").find(version)
    lock = locks.read_era_lock(project, release, PYTHON)
    assert lock
    record = StackRecord(
        framework="aiohttp", release=version, python=PYTHON, lock=lock.digest, packages=lock.packages
    )
    store = Store(project, record)
    store.add(
        msgspec.structs.replace(m, release=version, python=PYTHON, lock=lock.digest) for m in measurements
    )
    return store.path


def measured(folder: Path) -> Project:
    """Return a checkout with a measured history of aiohttp and one report."""
    found = checkout(folder / "checkout")
    for version, left in MEASURED.items():
        keep(found, version, aiohttp_cells(left))
    write.write(found, record.build(aiohttp_evidence(), facts(), Rates()))
    return found


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    found = measured(tmp_path)
    monkeypatch.setenv("OUTLIVE_ROOT", str(found.root))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "site"


DOCUMENTS = ("how-we-decide", "explain", "advice", "tutorial", "ci", "gc-off", "house")
"""Those that pages lead to."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a site that is only looked at, with asv's pages in it."""
    place = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTLIVE_CACHE", str(place / "cache"))
        found = measured(place)
    documented(found, "[there](explain.md)")
    asv = found.root / ".outlive" / "asv" / "html"
    (asv / "graphs").mkdir(parents=True)
    (asv / "index.html").write_text('<!DOCTYPE html><ul class="nav navbar-nav navbar-left"></ul>')
    (asv / "graphs" / "one.json").write_text("[]")
    script = found.published / "reproducers" / "e88cd2ff63f0.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("# shows it\n")
    done = site.publish(found, place / "site")
    assert (done.written, done.removed, done.problems) == (done.files, 0, ())
    return place / "site"


def documented(project: Project, text: str) -> None:
    """Give a checkout documents: ours in kind and name, not in length."""
    docs = project.root / "docs"
    docs.mkdir()
    for name in DOCUMENTS:
        (docs / f"{name}.md").write_text(f"# {name}\n")
    listed = "\n".join(("```{toctree}", *DOCUMENTS, "```"))
    (docs / "index.md").write_text(f"# The documents\n\n{text}\n\n{listed}\n")
    shutil.copyfile(CHECKOUT / "docs" / "conf.py", docs / "conf.py")


def text(path: Path) -> str:
    return Page(path.read_text(encoding="utf-8")).text


def test_what_is_on_it(published: Path) -> None:
    names = {path.relative_to(published).as_posix() for path in published.rglob("*") if path.is_file()}
    report = "aiohttp/3.10.10-to-3.11.14-py3.11"
    assert names >= {
        site.MANIFEST,
        "index.html",
        "feed.xml",
        "docs/index.html",
        "docs/how-we-decide.html",
        "report.schema.json",
        "aiohttp/index.html",
        "aiohttp/badge.svg",
        "flask/index.html",
        "flask/badge.svg",
        "leaks/e88cd2ff63f0.html",
        f"{report}.html",
        f"{report}.json",
        f"{report}.md",
    }


def test_a_leak_has_its_upstream_issue_and_a_script_to_download(published: Path) -> None:
    page = (published / "leaks/e88cd2ff63f0.html").read_text(encoding="utf-8")
    assert '<a href="e88cd2ff63f0.py" download>' in page
    assert (published / "leaks/e88cd2ff63f0.py").read_text() == "# shows it\n"
    assert 'href="https://github.com/aio-libs/aiohttp/pull/9852"' in page


def test_a_leak_without_a_script_has_the_command_that_writes_one(published: Path) -> None:
    without = [page for page in (published / "leaks").glob("*.html") if not page.with_suffix(".py").exists()]
    assert without
    for page in without:
        assert f"--fingerprint {page.stem} --reproducer leak.py writes a script" in text(page)


def test_issues_are_addresses_by_fingerprint() -> None:
    for path in sorted((CHECKOUT / "releases").glob("*/issues.toml")):
        for fingerprint, address in tomllib.loads(path.read_text()).items():
            assert re.fullmatch(r"[0-9a-f]{12}", fingerprint)
            assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+/(issues|pull)/\d+", address)


def test_every_page_is_whole_and_every_link_leads_somewhere(published: Path) -> None:
    for path in published.rglob("*.html"):
        page = Page(path.read_text(encoding="utf-8"))
        assert len(page.ids) == len(set(page.ids)), path
        for tag, attributes in page.tags:
            target = attributes.get("href") if tag in {"a", "link"} else None
            if target is None or target.startswith(("https://", "data:")):
                continue
            file, _, anchor = re.sub(r"\?v=\w+", "", target).partition("#")
            linked = (path.parent / file).resolve() if file else path
            assert linked.is_file(), f"{path}: {target}"
            if anchor:
                assert anchor in Page(linked.read_text(encoding="utf-8")).ids, f"{path}: {target}"


def test_home_has_what_is_new(published: Path) -> None:
    said = text(published / "index.html")
    assert "aiohttp 3.10.11 leaks nowhere. With gc off it leaves up to 32 objects per request" in said
    assert "No release is measured yet." in said  # of flask
    assert "✕ WITHDRAWN aiohttp 3.10.10 → 3.11.14, Python 3.11" in said
    assert "(44 → 0 leaked objects per request" in said
    assert "aiohttp 3.10.11 2024-11-13, after 3.10.10" in said
    assert len((published / "index.html").read_bytes()) < LARGEST_HOME


def test_any_two_measured_releases_have_a_page(published: Path) -> None:
    """Neighbours, and each against the newest; all others are numbers in one page."""
    choices = json.loads(scripts(published / "index.html")["choices"])["aiohttp"]["3.11"]
    assert choices["releases"] == ["3.10.11", "3.10.10", "3.10.5"]
    for before, after in choices["pages"]:
        name = f"{choices['releases'][before]}-to-{choices['releases'][after]}-py3.11.html"
        assert (published / "aiohttp" / name).is_file()
    assert [*map(tuple, choices["pages"])] == [(1, 0), (2, 0), (2, 1)]
    numbers = json.loads(scripts(published / "aiohttp" / "any.html")["numbers"])["3.11"]
    cells = {key: [numbers["texts"][at] for at in places] for key, *places in numbers["cells"]}
    assert cells["upload-method-not-allowed|close|off"] == ["32 cyclic", "50, 44 leaked", "32 cyclic"]


def test_the_page_of_two_releases_says_what_changes(published: Path) -> None:
    said = text(published / "aiohttp" / "3.10.5-to-3.10.10-py3.11.html")
    assert said.startswith("aiohttp 3.10.5 → 3.10.10, Python 3.11, gc on and off: not enough data")
    assert "gc on Nothing changes in 2 cells." in said
    assert (
        "gc off Worse in 4 of 10 cells. Most: not-found on keep-alive (0 → 44 leaked objects per request)."
        in said
    )
    assert "outlive report aiohttp 3.10.5 3.10.10 --python 3.11" in said


def scripts(path: Path) -> dict[str, str]:
    """Return the data that a page brings for its scripts, by name."""
    found = re.findall(r'<script type="application/json" id="(\w+)">(.*?)</script>', path.read_text("utf-8"))
    return dict(found)


def test_a_framework_tells_kinds_of_growth_apart_without_colours(published: Path) -> None:
    page = (published / "aiohttp" / "index.html").read_text(encoding="utf-8")
    tile = re.search(r'<rect [^>]*class="tile leak [^>]*><title>3\.10\.10: 50, 44 leaked</title>', page)
    assert tile
    assert 'fill="url(#leak-hatch)"' in page
    assert "not-found keep-alive 3.8.0 to 3.10.4: not measured; 3.10.5: 25 cyclic;" in Page(page).text


def test_a_leak_says_where_it_was(published: Path) -> None:
    said = text(published / "leaks" / "e88cd2ff63f0.html")
    assert "A leak: nothing frees it." in said
    assert "Remedy No collection helps: restart workers" in said
    assert "Releases aiohttp 3.10.10" in said
    assert "In the newest release? no" in said
    assert "outlive explain aiohttp==3.10.10 --scenario" in said


def test_the_feed_is_atom(published: Path) -> None:
    feed = ElementTree.fromstring((published / "feed.xml").read_text(encoding="utf-8"))
    (entry,) = feed.findall("atom:entry", ATOM)
    title = entry.findtext("atom:title", namespaces=ATOM)
    assert title == "aiohttp 3.10.10 → 3.11.14, Python 3.11: WITHDRAWN"
    assert (entry.findtext("atom:id", namespaces=ATOM) or "").startswith("urn:uuid:")
    assert feed.findtext("atom:updated", namespaces=ATOM) == "2026-11-21T12:00:00+00:00"
    link = entry.find("atom:link", ATOM)
    assert link is not None
    assert (published / link.attrib["href"]).is_file()


def test_a_badge_is_a_picture_by_itself(published: Path) -> None:
    badge = ElementTree.fromstring((published / "aiohttp" / "badge.svg").read_text(encoding="utf-8"))
    assert badge.attrib["aria-label"] == "outlive: 3.10.11: 32 cyclic per failed request"


def test_asvs_pages_come_along_and_lead_back(published: Path) -> None:
    assert Page((published / "asv" / "index.html").read_text()).text == "outlive"
    assert (published / "asv" / "graphs" / "one.json").is_file()
    assert '<a href="asv/index.html">asv</a>' in (published / "index.html").read_text(encoding="utf-8")


def test_asvs_own_page_has_the_place_for_the_way_back() -> None:
    assert ASV_PAGE.read_bytes().count(site.ASV_LINKS) == 1


class TestAgain:
    def test_nothing_is_written_where_nothing_changed(self, project: Project, folder: Path) -> None:
        files = site.publish(project, folder).files
        times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        assert site.publish(project, folder) == site.Published(files, 0, 0, ())
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times

    def test_only_what_changed_is_written(self, project: Project, folder: Path) -> None:
        site.publish(project, folder)
        keep(project, "3.11.0", aiohttp_cells((32, 0)))
        before = (folder / "flask" / "index.html").stat().st_mtime_ns
        done = site.publish(project, folder)
        assert 0 < done.written < done.files
        assert (folder / "flask" / "index.html").stat().st_mtime_ns == before
        assert "3.11.0" in text(folder / "aiohttp" / "index.html")

    def test_what_somebody_changed_or_took_away_is_mended(self, project: Project, folder: Path) -> None:
        site.publish(project, folder)
        (folder / "index.html").write_text("mine")
        (folder / "feed.xml").unlink()
        assert site.publish(project, folder).written == 2

    def test_what_is_no_longer_there_goes(self, project: Project, folder: Path) -> None:
        site.publish(project, folder)
        shutil.rmtree(project.measured / "reports")
        (folder / "mine.txt").write_text("mine")
        assert site.publish(project, folder).removed == 3
        assert not (folder / "aiohttp" / "3.10.10-to-3.11.14-py3.11.html").exists()
        assert (folder / "mine.txt").is_file()

    def test_a_damaged_manifest_means_all_anew(self, project: Project, folder: Path) -> None:
        site.publish(project, folder)
        (folder / site.MANIFEST).write_text("{")
        assert site.publish(project, folder).written == 0  # the files were as they should be
        assert json.loads((folder / site.MANIFEST).read_bytes())["files"]

    @pytest.mark.parametrize("name", ["../mine.txt", "{0}/mine.txt"])
    def test_a_manifest_names_no_file_elsewhere(self, project: Project, folder: Path, name: str) -> None:
        """A site can come from somebody else; what is no longer in it is removed."""
        mine = folder.parent / "mine.txt"
        mine.write_text("mine")
        folder.mkdir()
        manifest = {"inputs": "x", "files": {name.format(folder.parent): "0"}}
        (folder / site.MANIFEST).write_text(json.dumps(manifest))
        assert site.publish(project, folder).removed == 0
        assert mine.read_text() == "mine"

    def test_a_pipe_is_not_read(self, project: Project, folder: Path) -> None:
        folder.mkdir()
        os.mkfifo(folder / site.MANIFEST)
        with pytest.raises(FaultError, match="cannot be read: not a regular file"):
            site.publish(project, folder)


class TestRefused:
    def test_a_folder_of_somebody_elses(self, project: Project, folder: Path) -> None:
        folder.mkdir()
        (folder / "thesis.tex").write_text("x")
        with pytest.raises(
            UsageError, match="contains something other than an outlive site: name a new folder"
        ):
            site.publish(project, folder)
        assert [path.name for path in folder.iterdir()] == ["thesis.tex"]

    def test_damaged_results_are_left_out_in_a_line_each(self, project: Project, folder: Path) -> None:
        reports = project.measured / "reports" / "aiohttp"
        whole = (reports / "3.10.10-to-3.11.14-py3.11.json").read_bytes()
        (reports / "cut.json").write_bytes(whole[:5000])
        (reports / "old.json").write_bytes(whole.replace(b'"schema_version":1', b'"schema_version":0', 1))
        (reports / "twice.json").write_bytes(whole)
        path = keep(project, "3.11.0", [cell("ok", 0)])
        path.write_bytes(path.read_bytes()[:-30])
        found = CliRunner().invoke(cli, ["publish", str(folder)], standalone_mode=False)
        assert found.return_value == ExitCode.FAULT
        told = sorted(line for line in found.stderr.splitlines() if line)
        assert len(told) == 4
        assert all(line.startswith("left out: ") for line in told)
        assert "cut.json is not a report: Input data was truncated" in told[1]
        assert "old.json has schema version 0, this is 1" in told[2]
        assert "twice.json is the second report on aiohttp 3.10.10 → 3.11.14" in told[3]
        assert "is not a results file" in told[0]
        assert (folder / "aiohttp" / "3.10.10-to-3.11.14-py3.11.html").is_file()
        again = CliRunner().invoke(cli, ["publish", str(folder)], standalone_mode=False)
        assert again.return_value == ExitCode.FAULT
        assert again.stderr == found.stderr

    def test_a_cell_that_was_added_by_hand(self, project: Project, folder: Path) -> None:
        path = keep(project, "3.11.0", [cell("ok", 0)])
        before, cells, end = path.read_text().partition('"measurements":[\n')
        path.write_text(f"{before}{cells}{end.partition(chr(10))[0].rstrip(',')},\n{end}")
        (problem,) = site.publish(project, folder).problems
        assert "was changed or damaged: its checksum does not match" in problem

    def test_numbers_that_nobody_measured(self, project: Project, folder: Path) -> None:
        keep(project, "3.11.0", [cell("ok", 0, blocks_per_request=1e300)])
        (problem,) = site.publish(project, folder).problems
        assert "cannot be right: blocks_per_request is 1e+300: no measured number" in problem

    def test_remedies_that_are_damaged_are_left_out(self, project: Project, folder: Path) -> None:
        place = project.measured / "remedies" / "aiohttp" / "3.10.10" / "py3.11-000000000000.json"
        place.parent.mkdir(parents=True)
        place.write_text(relief_document().to_json())
        page = folder / "aiohttp" / "3.10.10-to-3.11.14-py3.11.html"
        assert site.publish(project, folder).problems == ()
        assert "drops the reference" in page.read_text(encoding="utf-8")
        place.write_text("{")
        (problem,) = site.publish(project, folder).problems
        assert problem.startswith(f"{place} is not a results file: ")
        assert "drops the reference" not in page.read_text(encoding="utf-8")

    def test_a_fingerprint_names_no_other_file(self, project: Project, folder: Path) -> None:
        one = next(m for m in aiohttp_cells((50, 44)) if m.leaks)
        leak = msgspec.structs.replace(one.leaks[-1], fingerprint="../../evil")
        keep(project, "3.11.0", [msgspec.structs.replace(one, leaks=(leak,))])
        site.publish(project, folder)
        assert not list(folder.parent.rglob("*evil*"))

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_that_cannot_be_written(self, project: Project, folder: Path) -> None:
        folder.mkdir(mode=0o500)
        with pytest.raises(FaultError, match="cannot be written: Permission denied"):
            site.publish(project, folder)

    def test_what_was_interrupted_goes_on(
        self, project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, content: bytes) -> None:
            if path.name == "feed.xml":
                raise FaultError("the disk is full")
            write_bytes(path, content)

        with monkeypatch.context() as patch:
            patch.setattr(site, "write_bytes", full)
            with pytest.raises(FaultError):
                site.publish(project, folder)
        assert 0 < site.publish(project, folder).written < site.publish(project, folder).files


class TestDocuments:
    def test_a_dead_link_leaves_them_out_and_is_told(self, project: Project, folder: Path) -> None:
        documented(project, "[there](nowhere.md)")
        (problem,) = site.publish(project, folder).problems
        assert problem.startswith("Sphinx cannot make the documents' pages: ")
        assert "nowhere.md" in problem
        assert not (folder / "docs").exists()

    def test_where_sphinx_breaks_off_no_file_of_its_own_is_left(
        self, project: Project, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        documented(project, "here")
        (tmp_path / "temporary").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
        monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
        project.work.mkdir(exist_ok=True)
        (project.work / "docs").touch()  # no folder
        (problem,) = site.publish(project, folder).problems
        assert problem.startswith("Sphinx cannot make the documents' pages: ")
        assert not list((tmp_path / "temporary").iterdir())

    def test_without_sphinx_the_site_has_none(
        self, project: Project, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        documented(project, "here")
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        assert site.publish(project, folder).problems == ()
        assert not (folder / "docs").exists()
        assert "docs/" not in (folder / "index.html").read_text(encoding="utf-8")
