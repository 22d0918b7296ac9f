"""Opens an application as a project with one framework, the app, whose releases are states of the app.

So your own app goes through the same engine as the reference apps. The project's folder is temporary;
measurements are kept beside the app.
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
"""Plain successes in a hundred requests of each user; the other scenarios share the rest evenly."""


class State(msgspec.Struct, frozen=True):
    """A state of an application: a git revision (None: the working tree), its requirements, and changes.

    `changes` are parts of a stack, such as `aiohttp==3.12.15,python==3.12`.
    """

    revision: str | None = None
    packages: str | None = None
    changes: str = ""

    @classmethod
    def parse(cls, word: str, packages: str | None = None) -> State:
        """Return the state that a word names: `@main`, `aiohttp==3.12.15` or `@main,aiohttp==3.12.15`."""
        first, comma, changes = word.partition(",")
        if first.startswith(AT):
            return cls(first.removeprefix(AT), packages, changes)
        return cls(None, packages, first + comma + changes)


def one_each(words: Sequence[str], packages: Sequence[str]) -> list[State]:
    """Return a state for each word, by default the present one. Raises UsageError for two files."""
    if len(packages) > 1:
        raise UsageError("--requirements: one file here; two are compared")
    return [State.parse(word, packages[0] if packages else None) for word in words or ("",)]


def two(words: Sequence[str], packages: Sequence[str]) -> list[State]:
    """Return two states: the present and a changed one, or the two that are named. Raises UsageError."""
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
    """Yield the application in `folder` as a project, and a stack for each of the states.

    `base` has what all projects share. Raises UsageError for an app, a revision or requirements that cannot
    be read, and as `Stack.parse` does.
    """
    if not folder.is_dir():
        raise UsageError(f"--app {folder}: there is no such folder")
    folder = folder.resolve()
    application = read(folder, base)
    settings = application.settings
    with temporary.folder() as root:
        project = Project(root, measured=base.at(folder).measured)
        releases = {
            state: _release(folder, settings, state, root / "code", number)
            for number, state in enumerate(dict.fromkeys(map(_bare, states)))
        }
        packages = {package for _, required in releases.values() for package in required.names}
        name = _name(folder, settings, packages)
        builtin = practices.ours(base, settings.protocol, packages)
        serving = practices.applied(folder, application, builtin)
        application = msgspec.structs.replace(application, serving=serving)
        _write(project, base, application, dict(releases.values()), folder=folder, name=name)
        if builtin:  # else there is no such file
            _keep(project.apps / name / "remedies.toml", "remedy", builtin)
        if not (folder / WORK / ".gitignore").exists():
            write_text(folder / WORK / ".gitignore", "*\n")
        yield project, [_stack(name, releases[_bare(state)][0], state, settings) for state in states]


def _bare(state: State) -> State:
    return msgspec.structs.replace(state, changes="")


def _release(
    folder: Path, settings: Settings, state: State, target: Path, number: int
) -> tuple[Release, Requirements]:
    """Copy the code of a state to its place in `target`; return it as a release, and its requirements."""
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
    about = _about(copy)
    version = f"{about.version}+{local}"
    if not (target / version).exists():
        copy.rename(target / version)
    try:
        required = requirements.read(where, state.packages or settings.packages)
    except UsageError as error:  # do not name a temporary folder
        raise UsageError(str(error).replace(str(where), named)) from None
    return Release.of_none("", version, about.python), required


class _About(msgspec.Struct, frozen=True):
    """The version of an app, and the Pythons that it supports."""

    version: str = "0"
    python: str | None = msgspec.field(name="requires-python", default=None)


def _about(copy: Path) -> _About:
    """Return the metadata in an app's pyproject.toml; version 0 if there is none."""
    try:
        document = tomllib.loads(read_text(copy / "pyproject.toml"))
        about = msgspec.convert(document.get("project", {}), _About)
        SpecifierSet(about.python or "")
        return _About(Version(about.version).public, about.python)
    except (OSError, ValueError):  # packaging's, tomllib's and msgspec's are ValueErrors
        return _About()


def _name(folder: Path, settings: Settings, packages: Container[str]) -> str:
    """Return the name of the app, which differs from the names of its packages."""
    name = canonicalize_name(settings.name or code.local_version(folder.name).replace(".", "-"))
    return f"{name}-app" if name in packages else name


def _stack(name: str, release: Release, state: State, settings: Settings) -> Stack:
    stack = Stack.parse(",".join(filter(None, [f"{name}=={release.version}", state.changes])))
    return stack if stack.python else msgspec.structs.replace(stack, python=settings.python)


def _write(
    project: Project,
    base: Project,
    application: Read,
    releases: dict[Release, Requirements],
    *,
    folder: Path,
    name: str,
) -> None:
    """Write the files of a project: its framework, release, scenarios and users."""
    settings, serving = application.settings, application.serving
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
    app = App(framework=name, app_version=1, target=settings.target, workers=serving.workers, own=own)
    required = {release.version: packages for release, packages in releases.items()}
    framework = Framework(title=name, packages=serving.packages, application=required)
    write_text(project.apps / name / "app.toml", _toml(app))
    write_text(project.apps / name / "framework.toml", _toml(framework))
    named = tuple(msgspec.structs.replace(release, framework=name) for release in releases)
    Catalogue.of(name, named).save(project)
    (project.releases / "gunicorn.toml").symlink_to(base.releases / "gunicorn.toml")
    _keep(project.scenarios, "scenario", application.scenarios)
    users = {user: _weights(user, application.scenarios) for user in USERS} | settings.users
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
    """Return how often a user sends each scenario, in about a hundred requests."""
    failures = [scenario.name for scenario in scenarios if scenario.name != BASELINE]
    plain = USERS[user] if failures else 100
    share = max(1, round((100 - plain) / len(failures))) if failures and plain < 100 else 0
    return {BASELINE: plain} | {name: share for name in failures if share}
