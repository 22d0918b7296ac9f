"""The releases of every framework as a git repository, so that asv can walk them like commits.

Each release is one commit with one tag (`aiohttp-3.11.14`), each framework one branch. A commit depends only
on the release's version and upload date and on earlier releases: its hash is the same on every machine, and
later releases do not change it. The repository is generated, in `.outlive/history`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from outlive import processes
from outlive.errors import FaultError, UsageError
from outlive.files import unwritten, write_text
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.releases.lineage import branches, commits, tag

IDENTITY = "outlive <outlive@invalid>"
RELEASE_FILE = "release.toml"  # all that a commit's tree holds
DIGEST_FILE = "outlive-digest"  # in the git directory, written last: the digest of the imported stream
BRANCHES = re.compile(r'"branches": \[[^]]*\]')
NOTHING = "0" * 40  # a reference set to this commit is removed by fast-import


def stream(catalogues: Sequence[Catalogue]) -> bytes:
    """Return the input of `git fast-import` for the whole history, the same bytes on every machine."""
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
    """Return the path of the history, whether or not it exists."""
    return project.work / "history"


def ensure(project: Project) -> Path:
    """Return the repository of all releases in the catalogues, after adding those that it lacks.

    Several processes may call this at once. Raises FaultError if git is missing or fails.
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
            raise unwritten(folder, error) from None
    return folder


def name_branches(project: Project) -> None:
    """Write the names of the history's branches into `asv.conf.json`, if it exists: asv needs them there."""
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
    """Return the release of `commit` (a hash, a tag or a branch), as a stack without pins.

    Raises UsageError if the history has no such commit.
    """
    done = _git(repository, "show", f"{commit}:{RELEASE_FILE}")
    if done.returncode:
        raise UsageError(f"{commit} is not a commit of the release history in {repository}")
    held = tomllib.loads(done.stdout)
    return Stack(held["framework"], held["version"])


def _import(folder: Path, wanted: bytes, head: str) -> None:
    """Import the stream and remove references that it does not name."""
    _check(_git(folder, "init", "--quiet", "--template=", str(folder)))
    _check(_git(folder, "symbolic-ref", "HEAD", f"refs/heads/{head}"))
    listed = _check(_git(folder, "for-each-ref", "--format=%(refname)")).split()
    text = wanted.decode()
    kept = set(re.findall(r"^(?:commit|reset) (\S+)$", text, re.MULTILINE))
    removed = "".join(f"reset {name}\nfrom {NOTHING}\n" for name in listed if name not in kept)
    _check(_git(folder, "fast-import", "--quiet", "--force", text=text + removed))


def _git(folder: Path, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run git without any settings of the user or of a calling git, and return how it ended."""
    if not shutil.which("git"):
        raise FaultError("git is not installed: asv needs it to walk the releases")
    environ = {
        "PATH": os.environ.get("PATH", os.defpath),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_DEFAULT_HASH": "sha1",
        "LC_ALL": "C",
        "TZ": "UTC",
    }
    return processes.run(["git", f"--git-dir={folder / '.git'}", *arguments], env=environ, text=text)


def _check(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        command = done.args[2]
        raise FaultError(f"the release history cannot be made: {command}: {processes.complaint(done)}")
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
