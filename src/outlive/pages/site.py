"""The static site: all pages from what is stored, written only where they changed.

What a site was made from and what was written is kept beside it, in `.outlive-site.json`. With the same
inputs nothing is made anew; else all is, and files that are as they were stay untouched. Files that belonged
to the site and no longer do are removed; others are never touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from outlive import __version__
from outlive.comparison.sizes import Rates
from outlive.errors import FaultError, OutliveError, UsageError
from outlive.files import decode_toml, write_bytes
from outlive.history import lifelines, steps, stored
from outlive.pages import documents, framework_page, leak_page, pair_page, report_page
from outlive.pages.drawings.badge import badge
from outlive.pages.feed import verdicts
from outlive.pages.leak_page import Known
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
    """What a site was made from, as one hash, and the hash of each file; `problems` are as they were told."""

    inputs: str
    files: dict[str, str]
    problems: tuple[str, ...] = ()


class Published(msgspec.Struct, frozen=True):
    """How many files there are and how many were written or removed; `problems` were left out, and why."""

    files: int
    written: int
    removed: int
    problems: tuple[str, ...]


def publish(project: Project, folder: Path) -> Published:
    """Bring the site in `folder` up to date with what is stored.

    Raises UsageError where the folder holds something else than a site of ours, FaultError where it cannot be
    written.
    """
    known = _manifest(folder)
    inputs = _digest(project)
    if (
        known
        and known.inputs == inputs
        and all(_intact(folder, name, sha) for name, sha in known.files.items())
    ):
        return Published(len(known.files), 0, 0, known.problems)
    problems: list[str] = []
    files = {str(path): content for path, content in _files(project, problems)}
    gone = sorted(set(known.files if known else ()) - files.keys())
    for name in gone:
        (folder / name).unlink(missing_ok=True)
    manifest = Manifest(inputs, {name: _sha(content) for name, content in files.items()}, tuple(problems))
    # before the files: what is interrupted is a site of ours that is not intact, and the next run goes on
    write_bytes(folder / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n")
    changed = [name for name, sha in manifest.files.items() if not _intact(folder, name, sha)]
    for name in changed:
        write_bytes(folder / name, files[name])
    return Published(len(files), len(changed), len(gone), tuple(problems))


def _files(project: Project, problems: list[str]) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield every file of the site; what cannot be read is a problem, and left out."""
    asv = project.work / "asv" / "html"
    asv_links = (Link("asv", "asv/index.html"),) if (asv / "index.html").is_file() else ()
    frameworks = [known for name in project.frameworks() if (known := _known(project, name, problems))]
    kept = lifelines.collect([one.timeline for one in frameworks])
    try:
        texts = documents.build(project)
    except OutliveError as error:
        problems.append(str(error))
        texts = None
    links = (
        *(Link(one.name, f"{one.name}/index.html") for one in frameworks),
        *((Link("documents", "docs/index.html"),) if texts else ()),
        *asv_links,
        Link("feed", "feed.xml"),
    )
    top, below = (Frame(root, links, documents=texts is not None) for root in ("", "../"))
    yield PurePosixPath("index.html"), framework_page.home(frameworks, top).encode()
    yield (
        PurePosixPath("feed.xml"),
        verdicts([r for one in frameworks for r in one.reports]).encode(),
    )
    yield PurePosixPath("report.schema.json"), msgspec.json.encode(record.json_schema()) + b"\n"
    for known in frameworks:
        base = PurePosixPath(known.name)
        yield base / "index.html", framework_page.framework(known, kept, below).encode()
        yield base / "badge.svg", badge(known.timeline).encode()
        reported = {report.name for report in known.reports}
        for file, page in _pairs(known, reported, below):
            yield base / file, page.encode()
        for report in known.reports:
            yield base / f"{report.name}.html", report_page.html(report, below).encode()
            yield base / f"{report.name}.md", markdown.render(report).encode()
            yield base / f"{report.name}.json", report.to_json()
    issues, scripted = _issues(project), {one.name: _scripted(project, one.name) for one in frameworks}
    for one in kept:
        script = project.published / "reproducers" / f"{one.leak.fingerprint}.py"
        name = script.name if script.is_file() else ""
        issue = issues.get(one.leak.fingerprint, "")
        page = leak_page.leak(one, frameworks, below, scripted, reproducer=name, issue=issue)
        yield PurePosixPath("leaks") / f"{one.leak.fingerprint}.html", page.encode()
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
    """Return where what outlives a request is tracked upstream, by fingerprint."""
    issues: dict[str, str] = {}
    for path in sorted(project.releases.glob("*/issues.toml")):
        issues |= decode_toml(path.read_bytes(), dict[str, str])
    return issues


def _scripted(project: Project, framework: str) -> frozenset[str]:
    """Return the scenarios that a reproducer may send."""
    main = app.load(project, framework)
    return frozenset(
        scenario.name
        for scenario in scenarios.load_set(project.scenarios, "all")
        if main.serves(scenario) and not lacks(scenario, app.load(project, framework, scenario.app))
    )


def _known(project: Project, name: str, problems: list[str]) -> Known | None:
    """Return all that is known of a framework, None where it has no readable catalogue."""
    try:
        main = stored.load(project, name)
        facts = record.facts(project, name, main)
    except OutliveError as error:
        problems.append(str(error))
        return None
    elsewhere = [stored.load(project, name, python) for python in KNOWN if python != main.python]
    timelines = sorted((main, *elsewhere), key=lambda one: one.measured, reverse=True)
    problems += (*(found for one in timelines for found in one.problems), *facts.reliefs.problems)
    reports = _reports(project, name, facts, problems)
    several = tuple(one for one in timelines if one.measured > 1)
    return Known(
        name,
        frameworks.load(project, name).title,
        timelines[0],
        steps.find(timelines[0], facts.logs),
        reports,
        several,
        pair_page.choices(several, [report.name for report in reports]),
        facts,
    )


def _pairs(known: Known, reported: set[str], frame: Frame) -> Iterator[tuple[str, str]]:
    """Yield the pages of two releases for which no report is stored, and the one for all others."""
    for timeline in known.timelines:
        for before, after in pair_page.pairs(timeline):
            name = pair_page.name(before.release.version, after.release.version, timeline.python)
            if name not in reported:
                page = pair_page.pair(before, after, timeline, known.facts, frame)
                yield f"{name}.html", page
    if known.choices:
        yield "any.html", pair_page.any_pair(known.name, known.timelines, known.choices, known.facts, frame)


def _reports(project: Project, name: str, facts: Facts, problems: list[str]) -> list[Report]:
    """Return the reports that are stored of a framework, newest release first."""
    found: dict[str, Report] = {}
    own, *others = record.folders(project, name)
    paths = {path.name: path for folder in (*others, own) for path in sorted(folder.glob("*.json"))}
    for path in paths.values():
        try:
            made = evidence.read(path)
            if path.is_relative_to(project.published):
                made = evidence.published(made)
            report = record.build(made, facts, Rates())
            framework = report.comparison.after.stack.framework
            if framework != name:
                raise FaultError(f"{path} is about {framework!r}, but the folder's name is {name!r}")
        except OutliveError as error:
            problems.append(str(error))
            continue
        if report.name in found:
            problems.append(f"{path} is the second report on {report.comparison.subject}: it is left out")
            continue
        found[report.name] = report
    return sorted(
        found.values(), key=lambda report: str(report.comparison.after.release.uploaded), reverse=True
    )


def _manifest(folder: Path) -> Manifest | None:
    """Return what is known of the site in `folder`, None where there is none yet."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
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
        return Manifest("", {})  # damaged: all is written anew


def _digest(project: Project) -> str:
    """Return one hash of all that a site is made from: our code, what is stored, documents, asv pages."""
    hashed = hashlib.sha256(f"{__version__} {documents.possible()}".encode())
    roots = [Path(__file__).parents[1], *(project.root / name for name in INPUTS)]
    roots += [results / name for results in project.results for name in RESULTS]
    for at, root in enumerate(roots):
        for path in _walk(root):
            if path.suffix not in {".pyc", ".txt"} or at == 0:
                hashed.update(f"{at} {path.relative_to(root)}\0".encode())
                hashed.update(hashlib.sha256(path.read_bytes()).digest())
    asv = project.work / "asv" / "html"
    for path in _walk(asv):
        status = path.stat()
        hashed.update(f"{path.relative_to(asv)} {status.st_size} {status.st_mtime_ns}\0".encode())
    return hashed.hexdigest()


def _walk(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _intact(folder: Path, name: str, sha: str) -> bool:
    try:
        return _sha((folder / name).read_bytes()) == sha
    except OSError:
        return False


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
