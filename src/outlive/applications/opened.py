"""An application opened as a project: one framework, which is the app, whose releases are states of it.

So a user's own app goes through the same engine as the reference apps do. The project's folder is temporary;
what is measured is kept beside the app.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from outlive import temporary
from outlive.applications import code, requirements
from outlive.applications.settings import BASELINE, Read, Settings, read
from outlive.errors import UsageError
from outlive.files import toml_key, toml_value, write_text
from outlive.project import Project
from outlive.records.release import Release
from outlive.records.stack import AT, Stack
from outlive.releases.catalogue import Catalogue
from outlive.releases.frameworks import Framework, Requirements
from outlive.service.app import App, Own
from outlive.service.own import variables
from outlive.service.scenarios import Scenario

WORK = ".outlive"
"""The folder beside `outlive.toml` in which what is measured is kept; git ignores it."""
USERS = {"ErrorHeavy": 60, "ErrorStorm": 5, "Steady": 100}
"""How many of a hundred requests of each user are plain successes; the others are spread evenly."""


class State(msgspec.Struct, frozen=True):
    """A state of an application: a git revision (None: the working tree), its requirements, and changes.

    `changes` are parts of a stack, as in `aiohttp==3.12.15,python==3.12`.
    """

    revision: str | None = None
    packages: str | None = None
    changes: str = ""

    @classmethod
    def parse(cls, word: str, packages: str | None = None) -> State:
        """Return the state that a word names: `@main`, `aiohttp==3.12.15` or `@main,aiohttp==3.12.15`."""
        first, comma, others = word.partition(",")
        if first.startswith(AT):
            return cls(first.removeprefix(AT), packages, others)
        return cls(None, packages, first + comma + others)


class Opened(msgspec.Struct, frozen=True):
    """An application as a project, and the stacks that its states are."""

    project: Project
    stacks: tuple[Stack, ...]
    settings: Settings


@contextlib.contextmanager
def opened(folder: Path, base: Project, states: Sequence[State]) -> Iterator[Opened]:
    """Yield the application in `folder` with some states of it; `base` has what all projects share.

    Raises UsageError for an app, a revision or requirements that cannot be read, and as `Stack.parse` does.
    """
    if not folder.is_dir():
        raise UsageError(f"--app {folder}: there is no such folder")
    folder = folder.resolve()
    found = read(folder, base)
    with temporary.folder() as root:
        project = Project(root, None, base.measured if base.named else folder / WORK / "results")
        releases: dict[State, tuple[str, Requirements]] = {}
        for number, state in enumerate(dict.fromkeys(map(_bare, states))):
            releases[state] = _release(folder, found.settings, state, root / "code", number)
        name = _name(folder, found.settings, [own for _, own in releases.values()])
        _write(project, base, name, found, dict(releases.values()))
        if not (folder / WORK / ".gitignore").exists():
            write_text(folder / WORK / ".gitignore", "*\n")
        stacks = tuple(_stack(name, releases[_bare(state)][0], state, found.settings) for state in states)
        yield Opened(project, stacks, found.settings)


def _bare(state: State) -> State:
    return msgspec.structs.replace(state, changes="")


def _release(
    folder: Path, settings: Settings, state: State, target: Path, number: int
) -> tuple[str, Requirements]:
    """Copy the code of a state to its place in `target`; return its version and what it asks for."""
    copy = target / f"{number}"
    copy.parent.mkdir(exist_ok=True)
    if state.revision is None:
        code.copy(folder, copy)
        local = code.digest(folder, copy)
    else:
        sha = code.revision(folder, state.revision, copy)
        local = f"{code.local_version(state.revision)}.g{sha[:8]}"
    if state.packages:
        local += f".{code.local_version(Path(state.packages).stem)}"
    version = f"{_version(copy)}+{local}"
    if not (target / version).exists():
        copy.rename(target / version)
    where = target / version if state.revision else folder
    return version, requirements.read(where, state.packages or settings.packages)


def _version(copy: Path) -> str:
    """Return the version that an app's pyproject.toml has, or 0."""
    try:
        project = tomllib.loads((copy / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return Version(str(project["version"])).public
    except (OSError, ValueError, KeyError, TypeError, InvalidVersion):
        return "0"


def _name(folder: Path, settings: Settings, asked: Sequence[Requirements]) -> str:
    """Return what the app is called: not as one of its packages."""
    name = canonicalize_name(settings.name or code.local_version(folder.name).replace(".", "-"))
    packages = {canonicalize_name(line.split("=")[0].strip()) for own in asked for line in own.lines}
    return f"{name}-app" if name in packages else name


def _stack(name: str, version: str, state: State, settings: Settings) -> Stack:
    stack = Stack.parse(",".join(filter(None, [f"{name}=={version}", state.changes])))
    return stack if stack.python else msgspec.structs.replace(stack, python=settings.python)


def _write(
    project: Project, base: Project, name: str, found: Read, releases: dict[str, Requirements]
) -> None:
    """Write what a project has of its framework."""
    settings = found.settings
    own = Own(
        code=str(project.root / "code"),
        env=tuple(settings.env.items()),
        secrets=settings.secrets,
        before=settings.commands,
        start_limit=settings.start_limit,
    )
    variables(own)  # a secret that is not set is reported before anything is built
    app = App(framework=name, app_version=1, target=settings.target, workers=found.serving.workers, own=own)
    framework = Framework(title=name, packages=found.serving.packages, application=releases)
    folder = project.apps / name
    write_text(folder / "app.toml", _toml(app))
    write_text(folder / "framework.toml", _toml(framework))
    Catalogue.of(name, tuple(_as_release(name, version) for version in releases)).save(project)
    (project.releases / "gunicorn.toml").symlink_to(base.releases / "gunicorn.toml")
    write_text(
        project.scenarios, "\n".join(f"[[scenario]]\n{_toml(scenario)}" for scenario in found.scenarios)
    )
    users = {user: _weights(user, found.scenarios) for user in USERS} | settings.users
    write_text(
        project.loadtests / "users.toml", "\n".join(f"{user} = {toml_value(w)}" for user, w in users.items())
    )
    (project.loadtests / "locustfile.py").symlink_to(base.loadtests / "locustfile.py")


def _toml(record: msgspec.Struct) -> str:
    fields = msgspec.to_builtins(record)
    return "".join(
        f"{toml_key(key)} = {toml_value(value)}\n" for key, value in fields.items() if value is not None
    )


def _as_release(name: str, version: str) -> Release:
    return Release(
        framework=name,
        version=version,
        uploaded=None,
        requires_python=None,
        yanked=False,
        yanked_reason=None,
        wheels=("py3",),
        sdist=False,
    )


def _weights(user: str, scenarios: Sequence[Scenario]) -> dict[str, int]:
    """Return how many of about a hundred requests of a user are of each scenario."""
    others = [scenario.name for scenario in scenarios if scenario.name != BASELINE]
    plain = USERS[user] if others else 100
    each = max(1, round((100 - plain) / len(others))) if others and plain < 100 else 0
    return {BASELINE: plain} | {name: each for name in others if each}
