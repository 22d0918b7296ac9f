"""Unreleased frameworks: a wheel, an sdist or a source tree, so that a pull request can be gated.

What is not a wheel is built into one first, a source tree from a copy: setuptools would leave `build` and
`*.egg-info` in it. The lock is the wheel with its hash and its dependencies as they are today.
"""

from __future__ import annotations

import email.parser
import hashlib
import re
import shutil
import tempfile
import zipfile
from pathlib import Path
from urllib.parse import unquote, urlsplit

import requests
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from outlive.errors import FaultError, UsageError
from outlive.project import Project, cache_dir
from outlive.records.release import Release
from outlive.records.stack import Package
from outlive.releases.index import wheel_tags
from outlive.stacks import pythons
from outlive.stacks.locks import PINNED, Lock, side
from outlive.stacks.prepare import Prepared
from outlive.stacks.pythons import Interpreter
from outlive.stacks.uv import explain, try_uv
from outlive.wording import one_line

SDISTS = (".tar.gz", ".zip")
DOWNLOAD_TIMEOUT = 60.0


def prepare(
    project: Project,
    framework: str,
    source: str,
    python: str | None = None,
    *,
    distribution: str | None = None,
) -> Prepared:
    """Return the stack of the framework in `source`, a path or an http(s) address.

    `distribution` is the framework's name on the index, where it has another one there.

    Raises UsageError for something that is no wheel, sdist or source tree of `framework`, FaultError where it
    does not build, and as `pythons.choose` does.
    """
    distribution = distribution or framework
    with tempfile.TemporaryDirectory(prefix="outlive-") as folder:
        path = _fetched(source, Path(folder)) if "://" in source else Path(source)
        if not path.exists():
            raise UsageError(f"--unreleased {source}: there is no such file or folder")
        if path.suffix != ".whl":
            path = _built(path, source, _builder(python), Path(folder).resolve())
        wheel = _kept(path, _release(path, source, framework, distribution))
    release = _release(wheel, source, framework, distribution)
    interpreter = pythons.choose([release], python)
    return Prepared(release, interpreter, _lock(project, release, wheel, interpreter))


def _fetched(address: str, folder: Path) -> Path:
    name = unquote(Path(urlsplit(address).path).name)
    if not address.startswith(("http://", "https://")) or not name.endswith((".whl", *SDISTS)):
        raise UsageError(
            f"--unreleased {address}: only the address of a .whl, .tar.gz or .zip can be fetched; "
            "clone a repository first"
        )
    try:
        answer = requests.get(address, timeout=DOWNLOAD_TIMEOUT)
        answer.raise_for_status()
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else type(error).__name__
        raise FaultError(f"--unreleased {address}: cannot be fetched: {status}") from None
    path = folder / name
    path.write_bytes(answer.content)
    return path


def _builder(python: str | None) -> Interpreter:
    """Return the interpreter to build with: the one asked for, else the newest there is."""
    fitting = [one for one in pythons.installed() if python in (None, one.minor)]
    if not fitting:
        raise FaultError(f"Python {python or ''} is not installed: choose another with --python")
    return fitting[-1]


def _built(path: Path, source: str, interpreter: Interpreter, folder: Path) -> Path:
    """Return the wheel of an sdist or a source tree, built in `folder`."""
    if path.is_file() and not path.name.endswith(SDISTS):
        raise UsageError(f"--unreleased {source}: not a wheel, an sdist (.tar.gz) or a source tree")
    if path.is_dir():
        if not any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise UsageError(
                f"--unreleased {source}: not a source tree: no pyproject.toml and no setup.py in it"
            )
        path = _copied(path.resolve(), source, folder)
    built = folder / "built"
    done = try_uv(["build", "--wheel", "--python", interpreter.path, "--out-dir", built, path.resolve()])
    wheels = sorted(built.glob("*.whl")) if built.is_dir() else []
    if done.returncode or not wheels:
        raise FaultError(f"--unreleased {source}: does not build with {interpreter}: {_why(done.stderr)}")
    return wheels[0]


def _copied(tree: Path, source: str, folder: Path) -> Path:
    """Return a copy of a source tree in `folder`, without virtual environments.

    `.git` is copied, for some versions come from there; so is what git ignores, for generated sources are.
    """

    def left_out(where: str, names: list[str]) -> list[str]:
        paths = [Path(where, name) for name in names]
        return [one.name for one in paths if one == folder or (one / "pyvenv.cfg").is_file()]

    copy = folder / "tree" / (tree.name or "tree")  # some versions come from the folder's name
    try:
        shutil.copytree(tree, copy, symlinks=True, ignore=left_out)
    except shutil.Error as error:
        _, _, why = error.args[0][0]
        raise FaultError(f"--unreleased {source}: cannot be copied: {one_line(str(why))}") from None
    except OSError as error:
        raise FaultError(f"--unreleased {source}: cannot be copied: {error.strerror}") from None
    return copy


def _why(stderr: str) -> str:
    """Return what a build's output says went wrong: a compiler's error, an exception, or what uv says."""
    lines = [" ".join(line.split()) for line in stderr.splitlines()]
    compiling = [line for line in lines if re.match(r"\S+:\d+(:\d+)?: (fatal )?error: ", line)]
    raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    causes = ": ".join(line.removeprefix("cause: ") for line in lines if line.startswith("cause: "))
    said = [*compiling[:1], *raised[-1:], causes, *filter(None, reversed(lines)), "the build said nothing"]
    return next(filter(None, said))[:300]


def _release(wheel: Path, source: str, framework: str, distribution: str) -> Release:
    """Return the release that a wheel would be."""
    try:
        _, version, _, _ = parse_wheel_filename(wheel.name)
        with zipfile.ZipFile(wheel) as archive:
            inside = next(one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
            metadata = email.parser.HeaderParser().parsestr(archive.read(inside).decode())
        name = canonicalize_name(str(metadata["Name"]))  # a file can be renamed
    except (InvalidWheelFilename, zipfile.BadZipFile, StopIteration, OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--unreleased {source}: not a wheel: {error or 'no metadata in it'}") from None
    if name != canonicalize_name(distribution):
        raise UsageError(f"--unreleased {source}: that is {name} {version}, not a {distribution}")
    return Release(
        framework=framework,
        version=str(version),
        uploaded=None,
        requires_python=metadata["Requires-Python"],
        yanked=False,
        yanked_reason=None,
        wheels=tuple(sorted(wheel_tags([wheel.name]))),
        sdist=False,
    )


def _kept(wheel: Path, release: Release) -> Path:
    """Return a copy of `wheel` in the cache, in a folder named by what it holds."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    kept = cache_dir() / "unreleased" / release.framework / digest[:12] / wheel.name
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        copy = kept.with_name(f".{wheel.name}")
        shutil.copyfile(wheel, copy)
        copy.replace(kept)
    return kept


def _lock(project: Project, release: Release, wheel: Path, interpreter: Interpreter) -> Lock:
    bare = side(project, release, interpreter.minor)
    wanted = "".join(f"{one}\n" for one in (*bare.pins, *bare.extras))
    arguments = ["pip", "compile", "-", "--python-version", interpreter.minor, "--generate-hashes"]
    arguments += ["--no-header", "--no-annotate", "--only-binary", ":all:"]
    done = try_uv(arguments, text=f"{release.framework} @ {wheel.as_uri()}\n{wanted}")
    if done.returncode:
        raise explain(done.stderr)
    packages = [Package(name, version) for name, version in PINNED.findall(done.stdout)]
    packages.append(Package(release.framework, release.version))
    return Lock(
        release.framework, release.version, interpreter.minor, tuple(sorted(packages)), done.stdout, None
    )
