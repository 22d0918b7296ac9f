"""Reads an application's requirements from a requirements file, pyproject.toml, uv.lock, or a list."""

from __future__ import annotations

import datetime as dt
import re
import shlex
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from outlive.errors import UsageError
from outlive.files import read_text
from outlive.releases.frameworks import Requirements, exact
from outlive.stacks.uv import run_uv
from outlive.wording import one_line

INDEX_OPTIONS = (
    "-i",
    "--index-url",
    "--extra-index-url",
    "-f",
    "--find-links",
    "--no-index",
    "--trusted-host",
)
HARMLESS = ("--pre", "--prefer-binary", "--no-binary", "--only-binary", "--require-hashes", "--use-feature")
EXTRAS = re.compile(r"(.*\.toml)\[([\w.,\s-]+)\]")
NAMED = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[[^\]]*\])?\s*@\s*(\S+)\s*(?:;.*)?")


class _Line(NamedTuple):
    """A requirement, the name of its file, and whether it only constrains what something else requires."""

    file: str
    text: str
    constrains: bool = False


class _Project(msgspec.Struct):
    dependencies: tuple[str, ...] = ()
    optional: dict[str, tuple[str, ...]] = msgspec.field(name="optional-dependencies", default_factory=dict)
    dynamic: tuple[str, ...] = ()


def read(folder: Path, packages: str | Sequence[str]) -> Requirements:
    """Return the requirements of the application in `folder`; paths are relative to it.

    Raises UsageError, with the place, for a file that cannot be read or a line that is no requirement.
    """
    if not isinstance(packages, str):
        return _requirements((_Line("packages", line) for line in packages), folder)
    extras = EXTRAS.fullmatch(packages)
    path = folder / (extras[1] if extras else packages)
    if path.suffix == ".toml":
        wanted = [name.strip() for name in extras[2].split(",")] if extras else []
        return _requirements((_Line(path.name, line) for line in _dependencies(path, wanted)), path.parent)
    if path.name == "uv.lock":
        _text(path)
        if not path.with_name("pyproject.toml").is_file():
            raise UsageError(f"packages: there is no pyproject.toml beside {path}: uv reads both")
        arguments = ["export", "--frozen", "--no-emit-project", "--no-dev", "--no-header", "--no-annotate"]
        text = run_uv([*arguments, "--project", path.parent], cwd=path.parent)
        return _requirements((_Line(path.name, line) for line in _logical(text)), path.parent)
    return _requirements(_lines(path, ()), folder)


def _dependencies(path: Path, extras: Sequence[str]) -> Iterator[str]:
    try:
        table = tomllib.loads(_text(path)).get("project")
        if table is None:
            raise UsageError(f"{path.name} has no [project]: export its dependencies to a requirements file")
        project = msgspec.convert(table, _Project)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"{path.name}: {one_line(str(error))}") from None
    if "dependencies" in project.dynamic:
        raise UsageError(f"{path.name}: its dependencies are dynamic: export them to a requirements file")
    if unknown := [name for name in extras if name not in project.optional]:
        raise UsageError(
            f"{path.name} has no extra {', '.join(unknown)}; it has {', '.join(project.optional)}"
        )
    yield from project.dependencies
    for name in extras:
        yield from project.optional[name]


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        raise UsageError(f"packages: there is no {path}") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: it is not UTF-8 text") from None


def _logical(text: str) -> Iterator[str]:
    """Yield the lines of a requirements file, those that go on joined, without comments."""
    for line in re.sub(r"\\\r?\n", " ", text).splitlines():
        if stripped := re.sub(r"(^|\s)#.*", "", line).strip():
            yield stripped


def _lines(path: Path, above: tuple[Path, ...], *, constrains: bool = False) -> Iterator[_Line]:
    """Yield each line of a file and of the files that it includes."""
    if path in above:
        raise UsageError(f"{path.name}: includes itself")
    for line in _logical(_text(path)):
        words = shlex.split(line.replace("=", " ", 1)) if line.startswith("-") else [""]
        option = words[0]
        if option in {"-r", "--requirement"} and len(words) > 1:
            yield from _lines(path.parent / words[1], (*above, path), constrains=constrains)
        elif option in {"-c", "--constraint"} and len(words) > 1:
            yield from _lines(path.parent / words[1], (*above, path), constrains=True)
        elif option in {"-e", "--editable"} and len(words) > 1:
            yield _Line(path.name, str(path.parent / words[1]), constrains)
        elif option in INDEX_OPTIONS:
            raise UsageError(f"{path.name}: {option}: name the package index with OUTLIVE_INDEX_URL instead")
        elif option and option not in HARMLESS:
            raise UsageError(f"{path.name}: {one_line(line)!r} is not understood")
        elif not option:
            yield _Line(path.name, line, constrains)


def _requirements(lines: Iterable[_Line], folder: Path) -> Requirements:
    texts: list[str] = []
    constraints: list[str] = []
    local: dict[str, str] = {}
    hashes: dict[str, tuple[str, ...]] = {}
    for file, line, constrains in lines:
        bare, *given = re.split(r"\s+--hash=", line)
        named = NAMED.fullmatch(bare)
        if named or re.match(r"[./~]|file:|git\+|https?:", bare) or bare.endswith((".whl", ".tar.gz")):
            if constrains:
                raise UsageError(f"{file}: {one_line(bare)!r}: only versions can be constraints")
            source = _source(named[2] if named else bare, file, folder)
            local[canonicalize_name(named[1] if named else _name(source, file))] = source
            continue
        try:
            requirement = Requirement(bare)
        except InvalidRequirement:
            raise UsageError(f"{file}: {one_line(bare)!r} is not a requirement") from None
        if constrains:
            requirement.extras.clear()  # which uv does not take
        (constraints if constrains else texts).append(str(requirement))
        if given:
            name = canonicalize_name(requirement.name)
            hashes[name] = (*hashes.get(name, ()), *(checksum.split()[0] for checksum in given))
    _check_once(texts)
    requirements = Requirements(tuple(dict.fromkeys(texts)), tuple(constraints), local, hashes)
    if all(map(exact, map(Requirement, texts))):
        return requirements
    return msgspec.structs.replace(requirements, day=dt.datetime.now(dt.UTC).date().isoformat())


def _check_once(lines: Sequence[str]) -> None:
    """Raise UsageError if a package is pinned to two versions, which no set of packages can satisfy."""
    pins: dict[str, tuple[Version | str, Requirement]] = {}
    for requirement in map(Requirement, lines):
        text = exact(requirement)
        if requirement.marker or text is None:
            continue
        version: Version | str
        try:
            version = Version(text)
        except InvalidVersion:
            version = text  # `===` takes any text
        except ValueError:
            raise UsageError(f"{one_line(str(requirement))}: its version has too many digits") from None
        name = canonicalize_name(requirement.name)
        first, earlier = pins.setdefault(name, (version, requirement))
        if first != version:
            raise UsageError(f"{name} is pinned twice: {earlier} and {requirement}")


def _source(text: str, file: str, folder: Path) -> str:
    """Return the absolute path or the address of a package that is not a release."""
    if text.startswith("git+"):
        raise UsageError(f"{file}: {one_line(text)!r}: clone the repository, and name the folder")
    if text.startswith(("http://", "https://")):
        return text
    path = Path(unquote(urlsplit(text).path) if text.startswith("file:") else text).expanduser()
    return str((folder / path).absolute())


def _name(source: str, file: str) -> str:
    """Return the name of a package from its wheel's name or its pyproject.toml."""
    path = Path(source)
    try:
        if path.suffix == ".whl":
            return parse_wheel_filename(path.name)[0]
        return str(tomllib.loads(read_text(path / "pyproject.toml"))["project"]["name"])
    except (InvalidWheelFilename, OSError, ValueError, KeyError):
        raise UsageError(
            f"{file}: {source} does not say its name: write NAME @ {source}, without -e"
        ) from None
