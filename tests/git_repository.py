"""A git repository to bisect in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BACKEND = '''
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    """Put what is in the tree into a wheel: no build requirements, no index."""
    name = "flask-3.1.3-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        for path in sorted(pathlib.Path("flask").rglob("*.py")):
            wheel.write(path)
        metadata = pathlib.Path("METADATA").read_text()
        wheel.writestr("flask-3.1.3.dist-info/METADATA", metadata)
        wheel.writestr("flask-3.1.3.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("flask-3.1.3.dist-info/RECORD", "")
    return name
'''
LEAK = """

_kept = []
_dispatch_request = Flask.dispatch_request


def dispatch_request(self, *values):
    _kept.append([])
    return _dispatch_request(self, *values)


Flask.dispatch_request = dispatch_request
"""


class Repository:
    """A repository whose commits are told apart by their subjects."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.org")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", "-C", self.folder, *words], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def commit(self, subject: str, path: str = "code.py") -> str:
        (self.folder / path).write_text(subject)
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def state(self) -> tuple[str, ...]:
        """Return all that must stay as it is."""
        shown = (
            "for-each-ref",
            "status --short --branch",
            "worktree list",
            "stash list",
            "config --list --local",
        )
        objects = str(sorted((self.folder / ".git" / "objects").rglob("*")))
        return (*(self.git(*words.split()) for words in shown), objects)


class Flask(Repository):
    """A repository of what Flask 3.1.3 is, as it is in a folder of installed packages."""

    def __init__(self, folder: Path, packages: Path) -> None:
        super().__init__(folder)
        shutil.copytree(packages / "flask", folder / "flask", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(packages / "flask-3.1.3.dist-info" / "METADATA", folder)
        build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        (folder / "pyproject.toml").write_text(build)
        self.app = folder / "flask" / "app.py"
        self.source = self.app.read_text()
        self.commit(BACKEND, "backend.py")

    def change(self, subject: str, more: str, backend: str = BACKEND) -> str:
        """Commit `more` code at the end of its application, and what builds it; return the commit."""
        (self.folder / "backend.py").write_text(backend)
        self.app.write_text(self.source + more)
        return self.commit(subject, "NEWS")
