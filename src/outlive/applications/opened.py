"""An application opened as a project: one framework, which is the app, whose releases are states of it.

So a user's own app goes through the same engine as the reference apps do. The project's folder is temporary;
what is measured is kept beside the app.
"""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Container, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from outlive import temporary
from outlive.applications import code, practices, requirements
from outlive.applications.settings import BASELINE, Read, Settings, read
from outlive.errors import UsageError
from outlive.files import copy_tree, read_text, toml_key, toml_value, write_text
from outlive.project import WORK, Project
from outlive.records.release import Release
from outlive.records.stack import AT, Stack
from outlive.releases.catalogue import Catalogue
from outlive.releases.frameworks import Framework, Requirements
from outlive.service.app import App, Own
from outlive.service.own import variables
from outlive.service.scenarios import Scenario

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


def one_each(words: Sequence[str], packages: Sequence[str]) -> list[State]:
    """Return a state for each word, or the present one without any. Raises UsageError."""
    if len(packages) > 1:
        raise UsageError("--requirements: one file here; two are compared")
    return [State.parse(word, packages[0] if packages else None) for word in words or ("",)]


def two(words: Sequence[str], packages: Sequence[str]) -> list[State]:
    """Return two states: the present one and a changed one, or both as named. Raises UsageError."""
    files = (None, *packages)[-2:] if packages else (None, None)
    both = ("", *words) if len(words) == 1 else tuple(words) or ("", "")
    if len(both) != 2 or len(packages) > 2 or (not any(words) and not packages):
        raise UsageError(
            "with --app say what changes: a package (aiohttp==3.12.15), two git revisions "
            "(@main @feature), or two --requirements"
        )
    return [State.parse(word, file) for word, file in zip(both, files, strict=True)]


@contextlib.contextmanager
def opened(folder: Path, base: Project, states: Sequence[State]) -> Iterator[tuple[Project, list[Stack]]]:
    """Yield the application in `folder` as a project, and the stacks that some states of it are.

    `base` has what all projects share. Raises UsageError for an app, a revision or requirements that cannot
    be read, and as `Stack.parse` does.
    """
    if not folder.is_dir():
        raise UsageError(f"--app {folder}: there is no such folder")
    folder = folder.resolve()
    found = read(folder, base)
    with temporary.folder() as root:
        project = Project(root, measured=base.at(folder).measured)
        releases = {
            state: _release(folder, found.settings, state, root / "code", number)
            for number, state in enumerate(dict.fromkeys(map(_bare, states)))
        }
        packages = {package for _, own in releases.values() for package in own.names}
        name = _name(folder, found.settings, packages)
        known = practices.ours(base, found.settings.protocol, packages)
        found = msgspec.structs.replace(found, serving=practices.applied(folder, found, known))
        _write(project, base, found, dict(releases.values()), folder=folder, name=name)
        _keep(project.apps / name / "remedies.toml", "remedy", known)
        if not (folder / WORK / ".gitignore").exists():
            write_text(folder / WORK / ".gitignore", "*\n")
        yield project, [_stack(name, releases[_bare(each)][0], each, found.settings) for each in states]


def _bare(state: State) -> State:
    return msgspec.structs.replace(state, changes="")


def _release(
    folder: Path, settings: Settings, state: State, target: Path, number: int
) -> tuple[Release, Requirements]:
    """Copy the code of a state to its place in `target`; return it as a release, and what it asks for."""
    copy, where, named = target / f"{number}", folder, f"{folder}"
    copy.parent.mkdir(exist_ok=True)
    if state.revision is None:
        code.copy(folder, copy)
        local = code.digest(folder, copy)
    else:
        named = f"{folder}@{state.revision}"
        tree = target.with_name("trees") / f"{number}"
        sha, where = code.revision(folder, state.revision, tree)
        copy_tree(where, copy, lambda *_: [], f"@{state.revision}")
        local = f"{code.local_version(state.revision)}.g{sha[:8]}"
    if state.packages:
        local += f".{code.local_version(Path(state.packages).stem)}"
    about = _project(copy)
    version = f"{about.version}+{local}"
    if not (target / version).exists():
        copy.rename(target / version)
    try:
        asked = requirements.read(where, state.packages or settings.packages)
    except UsageError as error:  # do not name a temporary folder
        raise UsageError(str(error).replace(str(where), named)) from None
    return Release.of_none("", version, about.python), asked


class _About(msgspec.Struct, frozen=True):
    """The version of an app, and the Pythons that it is for."""

    version: str = "0"
    python: str | None = msgspec.field(name="requires-python", default=None)


def _project(copy: Path) -> _About:
    """Return what an app's pyproject.toml says of it; version 0 where it says nothing."""
    try:
        document = tomllib.loads(read_text(copy / "pyproject.toml"))
        about = msgspec.convert(document.get("project", {}), _About)
        SpecifierSet(about.python or "")
        return _About(Version(about.version).public, about.python)
    except (OSError, ValueError):  # packaging's, tomllib's and msgspec's are ValueErrors
        return _About()


def _name(folder: Path, settings: Settings, packages: Container[str]) -> str:
    """Return what the app is called: not as one of its packages."""
    name = canonicalize_name(settings.name or code.local_version(folder.name).replace(".", "-"))
    return f"{name}-app" if name in packages else name


def _stack(name: str, release: Release, state: State, settings: Settings) -> Stack:
    stack = Stack.parse(",".join(filter(None, [f"{name}=={release.version}", state.changes])))
    return stack if stack.python else msgspec.structs.replace(stack, python=settings.python)


def _write(
    project: Project,
    base: Project,
    found: Read,
    releases: dict[Release, Requirements],
    *,
    folder: Path,
    name: str,
) -> None:
    """Write what a project has of its framework."""
    settings = found.settings
    own = Own(
        folder=str(folder),
        code=str(project.root / "code"),
        protocol=settings.protocol,
        user=settings.user,
        env=tuple(settings.env.items()),
        secrets=settings.secrets,
        before=settings.commands,
        start_limit=settings.start_limit,
    )
    variables(own)  # a secret that is not set is reported before anything is built
    app = App(framework=name, app_version=1, target=settings.target, workers=found.serving.workers, own=own)
    asked = {release.version: own for release, own in releases.items()}
    framework = Framework(title=name, packages=found.serving.packages, application=asked)
    write_text(project.apps / name / "app.toml", _toml(app))
    write_text(project.apps / name / "framework.toml", _toml(framework))
    named = tuple(msgspec.structs.replace(release, framework=name) for release in releases)
    Catalogue.of(name, named).save(project)
    (project.releases / "gunicorn.toml").symlink_to(base.releases / "gunicorn.toml")
    _keep(project.scenarios, "scenario", found.scenarios)
    users = {user: _weights(user, found.scenarios) for user in USERS} | settings.users
    write_text(
        project.loadtests / "users.toml", "\n".join(f"{user} = {toml_value(w)}" for user, w in users.items())
    )
    (project.loadtests / "locustfile.py").symlink_to(base.loadtests / "locustfile.py")


def _keep(path: Path, name: str, records: Iterable[msgspec.Struct]) -> None:
    """Write records as an array of tables."""
    write_text(path, "\n".join(f"[[{name}]]\n{_toml(record)}" for record in records))


def _toml(record: msgspec.Struct) -> str:
    fields = msgspec.to_builtins(record).items()
    return "".join(f"{toml_key(key)} = {toml_value(value)}\n" for key, value in fields if value is not None)


def _weights(user: str, scenarios: Sequence[Scenario]) -> dict[str, int]:
    """Return how many of about a hundred requests of a user are of each scenario."""
    others = [scenario.name for scenario in scenarios if scenario.name != BASELINE]
    plain = USERS[user] if others else 100
    each = max(1, round((100 - plain) / len(others))) if others and plain < 100 else 0
    return {BASELINE: plain} | {name: each for name in others if each}
