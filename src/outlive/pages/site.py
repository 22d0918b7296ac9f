"""The static site: every page is made from stored results and written only if it changed.

`.outlive-site.json` in the site's folder records its inputs and files. If the inputs are the same, nothing
is made. Otherwise all pages are, and unchanged files are not written. Files that no longer belong to the site
are removed; files that never did are not touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from outlive import __version__
from outlive.comparison.sizes import Rates
from outlive.errors import FaultError, OutliveError, UsageError
from outlive.files import check_writable, decode_toml, read_bytes, write_bytes
from outlive.history import lifelines, steps, stored
from outlive.pages import documents, framework_page, leak_page, pair_page, report_page
from outlive.pages.drawings.badge import badge
from outlive.pages.feed import verdicts
from outlive.pages.leak_page import Findings
from outlive.pages.page import Frame, Link
from outlive.project import Project
from outlive.records.stack import KNOWN
from outlive.releases import frameworks
from outlive.replay.explanation.reproducer import lacks
from outlive.reports import evidence, markdown, record
from outlive.reports.record import Facts, Report
from outlive.service import app, scenarios

MANIFEST = ".outlive-site.json"
INPUTS = ("docs", "loadtests", "releases")
RESULTS = ("measurements", "remedies", "reports", "reproducers")
ASV_LINKS = b'<ul class="nav navbar-nav navbar-left">'
ASV_HOME = b'\n        <li><a href="../index.html">outlive</a></li>'


class Manifest(msgspec.Struct, frozen=True):
    """The hash of a site's inputs, the hash of each file, and the problems reported when it was made."""

    inputs: str
    files: dict[str, str]
    problems: tuple[str, ...] = ()


class Published(msgspec.Struct, frozen=True):
    """The number of files, and of those written or removed; `problems` say what was left out, and why."""

    files: int
    written: int
    removed: int
    problems: tuple[str, ...]


def publish(project: Project, folder: Path) -> Published:
    """Bring the site in `folder` up to date with the stored results.

    Raises UsageError if the folder holds anything other than an outlive site, FaultError if it cannot be
    written.
    """
    previous = _manifest(folder)
    inputs = _digest(project)
    if (
        previous
        and previous.inputs == inputs
        and all(_intact(folder, name, sha) for name, sha in previous.files.items())
    ):
        return Published(len(previous.files), 0, 0, previous.problems)
    check_writable(folder / MANIFEST)
    problems: list[str] = []
    files = {str(path): content for path, content in _files(project, problems)}
    gone = sorted(set(previous.files if previous else ()) - files.keys())
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    manifest = Manifest(inputs, {name: _sha(content) for name, content in files.items()}, tuple(problems))
    # Before the files: an interrupted run leaves a site that is not intact, and the next run completes it.
    write_bytes(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    changed = [name for name, sha in manifest.files.items() if not _intact(folder, name, sha)]
    for name in changed:
        write_bytes(folder / name, files[name])
    return Published(len(files), len(changed), len(gone), tuple(problems))


def _files(project: Project, problems: list[str]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield every file of the site; add whatever cannot be read to `problems` and leave it out."""
    asv = project.work / "asv" / "html"
    asv_links = (Link("asv", "asv/index.html"),) if (asv / "index.html").is_file() else ()
    loaded = [_findings(project, name, problems) for name in project.frameworks()]
    frameworks = [findings for findings in loaded if findings]
    leaks = lifelines.collect([findings.timeline for findings in frameworks])
    try:
        texts = documents.build(project)
    except OutliveError as error:
        problems.append(str(error))
        texts = None
    links = (
        *(Link(findings.name, f"{findings.name}/index.html") for findings in frameworks),
        *((Link("documents", "docs/index.html"),) if texts else ()),
        *asv_links,
        Link("feed", "feed.xml"),
    )
    top, below = (Frame(root, links, documents=texts is not None) for root in ("", "../"))
    yield PurePosixPath("index.html"), framework_page.home(frameworks, top).encode()
    reports = [report for findings in frameworks for report in findings.reports]
    yield PurePosixPath("feed.xml"), verdicts(reports).encode()
    yield PurePosixPath("report.schema.json"), msgspec.json.encode(record.json_schema()) + b"\n"
    for findings in frameworks:
        base = PurePosixPath(findings.name)
        yield base / "index.html", framework_page.framework(findings, leaks, below).encode()
        yield base / "badge.svg", badge(findings.timeline).encode()
        for file, page in _pairs(findings, below):
            yield base / file, page.encode()
        for report in findings.reports:
            yield base / f"{report.name}.html", report_page.html(report, below).encode()
            yield base / f"{report.name}.md", markdown.render(report).encode()
            yield base / f"{report.name}.json", report.to_json()
    issues = _issues(project)
    scripted = {findings.name: _scripted(project, findings.name) for findings in frameworks}
    for lifeline in leaks:
        fingerprint = lifeline.leak.fingerprint
        script = project.published / "reproducers" / f"{fingerprint}.py"
        name = script.name if script.is_file() else ""
        issue = issues.get(fingerprint, "")
        page = leak_page.leak(lifeline, frameworks, below, scripted, reproducer=name, issue=issue)
        yield PurePosixPath("leaks") / f"{fingerprint}.html", page.encode()
        if name:
            yield PurePosixPath("leaks") / name, script.read_bytes()
    if texts:
        for path in documents.published(texts):
            yield PurePosixPath("docs") / path.relative_to(texts).as_posix(), path.read_bytes()
    if asv_links:
        for path in _walk(asv):
            content = path.read_bytes()
            if path == asv / "index.html":
                content = content.replace(ASV_LINKS, ASV_LINKS + ASV_HOME, 1)
            yield PurePosixPath("asv") / path.relative_to(asv).as_posix(), content


def _issues(project: Project) -> dict[str, str]:
    """Return the addresses of upstream issues by fingerprint."""
    issues: dict[str, str] = {}
    for path in sorted(project.releases.glob("*/issues.toml")):
        issues |= decode_toml(path.read_bytes(), dict[str, str])
    return issues


def _scripted(project: Project, framework: str) -> frozenset[str]:
    """Return the names of the scenarios that a reproducer can send."""
    main = app.load(project, framework)
    return frozenset(
        scenario.name
        for scenario in scenarios.load_set(project.scenarios, "all")
        if main.serves(scenario) and not lacks(scenario, app.load(project, framework, scenario.app))
    )


def _findings(project: Project, name: str, problems: list[str]) -> Findings | None:
    """Return everything the site shows of a framework, None if its catalogue cannot be read."""
    try:
        main = stored.load(project, name)
        facts = record.facts(project, name, main)
    except OutliveError as error:
        problems.append(str(error))
        return None
    elsewhere = [stored.load(project, name, python) for python in KNOWN if python != main.python]
    timelines = sorted((main, *elsewhere), key=lambda timeline: timeline.measured, reverse=True)
    problems += (
        *(problem for timeline in timelines for problem in timeline.problems),
        *facts.reliefs.problems,
    )
    reports = _reports(project, name, facts, problems)
    several = tuple(timeline for timeline in timelines if timeline.measured > 1)
    return Findings(
        name,
        frameworks.load(project, name).title,
        timelines[0],
        steps.find(timelines[0], facts.logs),
        reports,
        several,
        pair_page.choices(several, [report.name for report in reports]),
        facts,
    )


def _pairs(findings: Findings, frame: Frame) -> Iterator[tuple[str, str]]:
    """Yield the pages of pairs without a stored report, and the page for any pair."""
    reported = {report.name for report in findings.reports}
    for timeline in findings.timelines:
        for before, after in pair_page.pairs(timeline):
            name = pair_page.name(before.release.version, after.release.version, timeline.python)
            if name not in reported:
                page = pair_page.pair(before, after, timeline, findings.facts, frame)
                yield f"{name}.html", page
    if findings.choices:
        yield (
            "any.html",
            pair_page.any_pair(findings.name, findings.timelines, findings.choices, findings.facts, frame),
        )


def _reports(project: Project, name: str, facts: Facts, problems: list[str]) -> list[Report]:
    """Return the stored reports of a framework, newest release first."""
    reports: dict[str, Report] = {}
    folders = reversed(record.folders(project, name))  # a later path with the same name replaces the earlier
    paths = {path.name: path for folder in folders for path in sorted(folder.glob("*.json"))}
    for path in paths.values():
        try:
            stored_evidence = evidence.read(path)
            if path.is_relative_to(project.published):
                stored_evidence = evidence.published(stored_evidence)
            report = record.build(stored_evidence, facts, Rates())
            framework = report.comparison.after.stack.framework
            if framework != name:
                raise FaultError(f"{path} is about {framework!r}, but the folder's name is {name!r}")
        except OutliveError as error:
            problems.append(str(error))
            continue
        if report.name in reports:
            problems.append(f"{path} is the second report on {report.comparison.subject}: it is left out")
            continue
        reports[report.name] = report
    return sorted(
        reports.values(), key=lambda report: str(report.comparison.after.release.uploaded), reverse=True
    )


def _manifest(folder: Path) -> Manifest | None:
    """Return the manifest of the site in `folder`, None if there is none yet."""
    path = folder / MANIFEST
    try:
        manifest = msgspec.json.decode(read_bytes(path), type=Manifest)
    except FileNotFoundError:
        if folder.is_dir() and any(folder.iterdir()):
            raise UsageError(
                f"{folder} contains something other than an outlive site: name a new folder"
            ) from None
        return None
    except NotADirectoryError:
        raise UsageError(f"{folder} is not a folder") from None
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError:
        return Manifest("", {})  # damaged: everything is written again
    names = map(PurePosixPath, manifest.files)
    return Manifest("", {}) if any(name.is_absolute() or ".." in name.parts for name in names) else manifest


def _digest(project: Project) -> str:
    """Return one hash of all inputs: the code, stored results, documents and asv pages."""
    digest = hashlib.sha256(f"{__version__} {documents.possible()}".encode())
    roots = [Path(__file__).parents[1], *(project.root / name for name in INPUTS)]
    roots += [results / name for results in project.results for name in RESULTS]
    for at, root in enumerate(roots):
        for path in _walk(root):
            if path.suffix not in {".pyc", ".txt"} or at == 0:
                digest.update(f"{at} {path.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    asv = project.work / "asv" / "html"
    for path in _walk(asv):
        status = path.stat()
        digest.update(f"{path.relative_to(asv)} {status.st_size} {status.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def _walk(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _intact(folder: Path, name: str, sha: str) -> bool:
    try:
        return _sha(read_bytes(folder / name)) == sha
    except OSError:
        return False


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
