"""History: the releases of every framework as a git repository, so that asv can walk them like commits.

One commit a release, with one tag (`aiohttp-3.11.14`), and one branch a framework. A commit is made from
nothing but the release's version and upload date and from what was published before it: every machine gives
it the same hash, and a later release changes none. The repository is generated, in `.outlive/history`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from outlive.errors import FaultError, UsageError
from outlive.files import write_text
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.releases.lineage import branches, commits, tag

IDENTITY = "outlive <outlive@invalid>"
RELEASE_FILE = "release.toml"  # all that a commit's tree holds
DIGEST_FILE = "outlive-digest"  # in the git directory, written last: of the stream it was made from
BRANCHES = re.compile(r'"branches": \[[^]]*\]')
NOTHING = "0" * 40  # the commit that fast-import takes to mean: remove the reference


def stream(catalogues: Sequence[Catalogue]) -> bytes:
    """Return what `git fast-import` makes the whole history from: the same bytes on every machine."""
    parts: list[str] = []
    marks: dict[Release, int] = {}
    for catalogue in catalogues:
        for commit in commits(catalogue):
            marks[commit.release] = len(marks) + 1
            parts += [
                f"commit refs/tags/{tag(commit.release)}\nmark :{marks[commit.release]}\n",
                f"committer {IDENTITY} {_seconds(commit.release)} +0000\n",
                _data(f"{commit.release}\n"),
                f"from :{marks[commit.parent]}\n" if commit.parent else "",
                f"M 100644 inline {RELEASE_FILE}\n",
                _data(_file(commit.release)),
            ]
        for name, tip in branches(catalogue).items():
            parts.append(f"reset refs/heads/{name}\nfrom :{marks[tip]}\n")
    return "".join(parts).encode()


def path(project: Project) -> Path:
    """Return where the history is, or would be."""
    return project.root / ".outlive" / "history"


def ensure(project: Project) -> Path:
    """Return the repository with all releases of the catalogues, made or extended first where it lacks some.

    Safe when several processes ask for it. Raises FaultError where git is missing or fails.
    """
    folder = path(project)
    catalogues = [Catalogue.load(project, framework) for framework in project.frameworks()]
    wanted = stream(catalogues)
    digest = hashlib.sha256(wanted).hexdigest()
    if _digest(folder) != digest:
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if _digest(folder) != digest:
                    _import(folder, wanted, head=project.frameworks()[0])
                    write_text(folder / ".git" / DIGEST_FILE, digest)
        except OSError as error:
            raise FaultError(f"{folder} cannot be written: {error.strerror}") from None
    return folder


def name_branches(project: Project) -> None:
    """Have `asv.conf.json` name the branches of the history, where it is there: asv takes no other way."""
    settings = project.root / "asv.conf.json"
    if not settings.is_file():
        return
    text = settings.read_text(encoding="utf-8")
    catalogues = [Catalogue.load(project, framework) for framework in project.frameworks()]
    names = sorted(name for catalogue in catalogues for name in branches(catalogue))
    named = BRANCHES.sub(f'"branches": {json.dumps(names)}', text)
    if named != text:
        write_text(settings, named)


def release_at(repository: Path, commit: str) -> Stack:
    """Return the release that `commit` (a hash, a tag or a branch) stands for, as a stack of nothing else.

    Raises UsageError where the history has no such commit.
    """
    done = _git(repository, "show", f"{commit}:{RELEASE_FILE}")
    if done.returncode:
        raise UsageError(f"{commit} is not a commit of the release history in {repository}")
    held = tomllib.loads(done.stdout.decode())
    return Stack(held["framework"], held["version"])


def _import(folder: Path, wanted: bytes, head: str) -> None:
    """Bring the repository to what the stream says: references that it does not name are removed."""
    _check(_git(folder, "init", "--quiet", "--template=", str(folder)))
    _check(_git(folder, "symbolic-ref", "HEAD", f"refs/heads/{head}"))
    listed = _check(_git(folder, "for-each-ref", "--format=%(refname)")).decode().split()
    kept = set(re.findall(r"^(?:commit|reset) (\S+)$", wanted.decode(), re.MULTILINE))
    removed = "".join(f"reset {name}\nfrom {NOTHING}\n" for name in listed if name not in kept)
    _check(_git(folder, "fast-import", "--quiet", "--force", stdin=wanted + removed.encode()))


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Return how git ended; nothing that a user or a calling git has set reaches it."""
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DEFAULT_HASH": "sha1",
        "LC_ALL": "C",
        "TZ": "UTC",
    }
    command = ["git", f"--git-dir={folder / '.git'}", *arguments]
    try:
        return subprocess.run(command, env=environ, input=stdin, capture_output=True, check=False)
    except FileNotFoundError:
        raise FaultError("git is not installed: asv needs it to walk the releases") from None


def _check(done: subprocess.CompletedProcess[bytes]) -> bytes:
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit status {done.returncode}"]
        raise FaultError(f"the release history cannot be made: {' '.join(done.args[2:3])}: {said[-1]}")
    return done.stdout


def _digest(folder: Path) -> str | None:
    try:
        return (folder / ".git" / DIGEST_FILE).read_text(encoding="utf-8")
    except OSError:
        return None


def _file(release: Release) -> str:
    moment = dt.datetime.fromtimestamp(_seconds(release), dt.UTC)
    return (
        f'framework = "{release.framework}"\nversion = "{release.version}"\n'
        f"uploaded = {moment:%Y-%m-%dT%H:%M:%SZ}\n"
    )


def _seconds(release: Release) -> int:
    assert release.uploaded is not None, "commits() leaves out releases without a date"
    return int(release.uploaded.timestamp())


def _data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"
