"""Sources: packages of a stack that are not releases, but a wheel, an sdist, a source tree or a git checkout.

Anything that is not a wheel is built into one, in isolation, from a copy (setuptools would leave `build` and
`*.egg-info` in the tree). Wheels are kept in the cache by a hash of their source, so each is built only once.
"""

from __future__ import annotations

import email.parser
import hashlib
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote, urlsplit

from filelock import FileLock
from packaging.specifiers import SpecifierSet
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from outlive import packed, temporary
from outlive.errors import FaultError, UsageError
from outlive.files import copy_tree, write_bytes
from outlive.project import cache_dir
from outlive.records.release import Release
from outlive.records.stack import AT, Wheel
from outlive.releases.catalogue import wheel_tags
from outlive.stacks.pythons import Interpreter
from outlive.stacks.uv import NO_ROOM, explain, try_uv
from outlive.wording import one_line

SDISTS = (".tar.gz", ".zip")
FILE_NAME = re.compile(r"[\w!+~-][\w!+~.-]*")
"""A package's file name: no separator, no leading dot."""
LARGEST = 1024**3
"""Most bytes of a package that is fetched; no real package is that large."""
DOWNLOAD_TIMEOUT = 60.0
NOT_SOURCE = {".git", "__pycache__"}
"""Names in a source tree that do not affect the package."""
EVERYWHERE = "-none-any.whl"
"""Ends the name of a wheel for every Python and platform."""


class BuildError(FaultError):
    """A package does not build."""


def build(name: str, source: str, interpreter: Interpreter, *, key: str | None = None) -> Wheel:
    """Return the wheel of package `name` from `source`, a path or an http(s) address, for `interpreter`.

    Its version ends in a mark that distinguishes it from a release of that version and from other sources.
    `key` is the hash of its tree, if the caller knows it. Raises UsageError if `source` is not a wheel, sdist
    or source tree of `name`, and FaultError if it does not build.
    """
    label = f"{name}{AT}{source}"
    if key and (wheel := kept(name, key, interpreter, label)):
        return wheel
    with temporary.folder() as folder:
        path = _fetched(source, label, folder) if "://" in source else Path(source).expanduser()
        if not path.exists():
            raise UsageError(f"{label}: there is no such file or folder")
        _check(path, label)
        if path.is_dir():
            path = _copied(path.resolve(), label, folder.resolve())
        digest = key or _digest(path)
        with FileLock(_folder(digest).with_suffix(".lock")):
            if not kept(name, digest, interpreter, label):
                built = path if path.suffix == ".whl" else _built(path, label, interpreter, folder)
                _read(built, label, name)
                place = "any" if built.name.endswith(EVERYWHERE) else interpreter.key
                write_bytes(_folder(digest) / place / built.name, built.read_bytes())
    wheel = kept(name, digest, interpreter, label)
    assert wheel
    return wheel


def kept(name: str, digest: str, interpreter: Interpreter, label: str) -> Wheel | None:
    """Return the wheel that was built from the source with this digest, or None if there is none.

    Raises UsageError, which calls the source `label`, if it is another package.
    """
    for place in ("any", interpreter.key):
        for path in sorted((_folder(digest) / place).glob("*.whl")):
            version, requires_python = _read(path, label, name)
            local = "." if "+" in version else "+"
            return Wheel(canonicalize_name(name), f"{version}{local}{digest[:8]}", str(path), requires_python)
    return None


def release(wheel: Wheel) -> Release:
    """Return a release that describes the wheel of a framework."""
    tags = wheel_tags([Path(wheel.path).name])
    return Release.of_none(wheel.name, wheel.version, wheel.requires_python, tags)


def _fetched(address: str, label: str, folder: Path) -> Path:
    name = unquote(urlsplit(address).path).rpartition("/")[2]
    if not FILE_NAME.fullmatch(name):
        raise UsageError(f"{label}: {one_line(name)!r} is not the name of a wheel or an sdist")
    if not address.startswith(("http://", "https://")) or not name.endswith((".whl", *SDISTS)):
        raise UsageError(
            f"{label}: only the address of a .whl, .tar.gz or .zip can be fetched; clone a repository first"
        )
    import requests  # noqa: PLC0415 - slow to import, for addresses alone

    try:
        with requests.get(address, timeout=DOWNLOAD_TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            _saved(answer.iter_content(1024**2), folder / name, label)
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else type(error).__name__
        raise FaultError(f"{label}: cannot be fetched: {status}") from None
    return folder / name


def _saved(chunks: Iterable[bytes], path: Path, label: str) -> None:
    size = 0
    with path.open("wb") as file:
        for chunk in chunks:
            size += file.write(chunk)
            if size > LARGEST:
                raise FaultError(f"{label}: larger than {LARGEST // 1024**2} MiB: no package is")


def _check(path: Path, label: str) -> None:
    """Raise UsageError if `path` cannot be a source, such as a pipe or a device."""
    if not path.is_file() and not path.is_dir():
        raise UsageError(f"{label}: neither a file nor a folder")
    if path.is_file() and not path.name.endswith((".whl", *SDISTS)):
        raise UsageError(f"{label}: not a wheel, an sdist (.tar.gz) or a source tree")
    if path.is_dir() and not any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
        raise UsageError(f"{label}: not a source tree: no pyproject.toml and no setup.py in it")


def _built(path: Path, label: str, interpreter: Interpreter, folder: Path) -> Path:
    """Build the wheel of an sdist or a source tree in `folder` and return its path."""
    built = folder / "built"
    done = try_uv(["build", "--wheel", "--python", interpreter.path, "--out-dir", built, path.resolve()])
    wheels = sorted(built.glob("*.whl")) if built.is_dir() else []
    if done.returncode and NO_ROOM in done.stderr:
        raise explain(done.stderr)
    if done.returncode or not wheels:
        raise BuildError(f"{label}: does not build with {interpreter}: {_why(done.stderr)}")
    return wheels[0]


def _copied(tree: Path, label: str, folder: Path) -> Path:
    """Return a copy of a source tree in `folder`, without virtual environments.

    `.git` is copied because some versions come from there. Files that git ignores are copied because they can
    be generated sources.
    """

    def left_out(where: str, names: list[str]) -> list[str]:
        paths = [Path(where, name) for name in names]
        return [path.name for path in paths if path == folder or (path / "pyvenv.cfg").is_file()]

    copy = folder / "tree" / (tree.name or "tree")  # some versions come from the folder's name
    copy_tree(tree, copy, left_out, f"{label}:")
    return copy


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files of a tree."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for inner in sorted(path.rglob("*")):
        if NOT_SOURCE.isdisjoint(inner.relative_to(path).parts) and (inner.is_symlink() or inner.is_file()):
            content = str(inner.readlink()).encode() if inner.is_symlink() else inner.read_bytes()
            digest.update(f"{inner.relative_to(path)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _folder(digest: str) -> Path:
    """Return the folder in the cache for the wheels that were built from one source."""
    path = cache_dir() / "wheels" / digest[:24]
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _why(stderr: str) -> str:
    """Return why a build failed, from its output: a compiler's error, an exception, or uv's words."""
    lines = [" ".join(line.split()) for line in stderr.splitlines()]
    compiling = [line for line in lines if re.match(r"\S+:\d+(:\d+)?: (fatal )?error: ", line)]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    causes = ": ".join(line.removeprefix("cause: ") for line in lines if line.startswith("cause: "))
    reasons = [*compiling[:1], *raised[-1:], causes, *filter(None, reversed(lines)), "the build said nothing"]
    return next(filter(None, reasons))[:300]


def _read(wheel: Path, label: str, package: str) -> tuple[str, str | None]:
    """Return a wheel's version and Requires-Python. Raises UsageError if it is not a wheel of `wanted`."""
    try:
        _, version, _, _ = parse_wheel_filename(wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            metadata = email.parser.HeaderParser().parsestr(packed.member(archive, inside).decode())
        name = canonicalize_name(str(metadata["Name"]))  # a file can be renamed
        SpecifierSet(metadata["Requires-Python"] or "")
    except (InvalidWheelFilename, StopIteration, *packed.DAMAGE) as error:
        raise UsageError(f"{label}: not a wheel: {one_line(str(error)) or 'no metadata in it'}") from None
    if name != canonicalize_name(package):
        raise UsageError(f"{label}: that is {name} {version}, not {package}")
    return str(version), metadata["Requires-Python"]
