"""Pythons: the interpreters on this machine, and the choice of one for a measurement."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from packaging.version import Version

from outlive import processes
from outlive.errors import FaultError, OutliveError, UnavailableError, UsageError
from outlive.files import write_text
from outlive.project import cache_dir
from outlive.records.measurement import PythonRecord
from outlive.records.release import Release
from outlive.records.stack import AT, KNOWN, PYTHON_VERSION
from outlive.stacks import selfcheck
from outlive.stacks.uv import run_uv
from outlive.wording import one_line

OLDEST = (3, 8)
REMEMBERED = 8
"""Most PATHs for which the interpreters are remembered: each virtual environment has its own."""
ANSWERS_WITHIN = 20.0
"""Seconds that an interpreter may take to describe itself."""
ASK = """
import hashlib, json, platform, sys, sysconfig
level = {"final": ""}.get(sys.version_info[3], sys.version_info[3][0].replace("c", "rc"))
level += str(sys.version_info[4]) if level else ""
print(json.dumps({
    "implementation": platform.python_implementation(),
    "version": "%d.%d.%d" % sys.version_info[:3] + level,
    "path": getattr(sys, "_base_executable", None) or sys.executable,  # not a virtual environment's
    "build": " ".join(platform.python_build()),
    "compiler": platform.python_compiler(),
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "configured": sysconfig.get_config_var("CONFIG_ARGS") or "",
}))
"""


class Interpreter(msgspec.Struct, frozen=True):
    """A CPython: its full version (`3.11.7`), the path of its executable, and its build.

    `name` is what results call it; empty means that they use its minor version.
    """

    version: str
    path: str
    build: str = ""
    compiler: str = ""
    free_threaded: bool = False
    configured: str = ""
    name: str = ""

    @property
    def minor(self) -> str:
        """Its minor version, as in `3.11`."""
        return "{}.{}".format(*self.parsed.release)

    @property
    def parsed(self) -> Version:
        """Its version, which sorts as in PEP 440."""
        return Version(self.version)

    @property
    def python(self) -> str:
        """Its name in results: the version as requested, by default the minor version."""
        return self.name or f"{self.minor}{self.mark}"

    @property
    def mark(self) -> str:
        """`t` for a free-threaded build, else empty."""
        return "t" if self.free_threaded else ""

    @property
    def digest(self) -> str:
        """Eight hex digits that distinguish its build from others of its version."""
        built = "\n".join((self.version, self.build, self.compiler, self.configured))
        return hashlib.sha256(built.encode()).hexdigest()[:8]

    @property
    def key(self) -> str:
        """A key that is unique on this machine: its full version, with the build if a path named it."""
        return self.name if "+" in self.name else self.version + self.mark

    @property
    def tried(self) -> bool:
        """Whether the probe is tested on its minor version. If not, a self-check must come first."""
        return self.minor in KNOWN and not self.free_threaded

    @property
    def record(self) -> PythonRecord:
        """The interpreter as results record it."""
        return PythonRecord(
            version=self.version + self.mark,
            build=self.build,
            compiler=self.compiler,
            self_checked=not self.tried,
        )

    def __str__(self) -> str:
        return f"Python {self.version}{self.mark}"


class _Answer(Interpreter, frozen=True, kw_only=True):
    implementation: str


class _Listed(msgspec.Struct, frozen=True):
    """An entry of `uv python list`."""

    path: str | None
    implementation: str


class _Remembered(msgspec.Struct, frozen=True):
    """The interpreters found, and the folders and executables looked at with their modification times."""

    looked_in: dict[str, int]
    found: tuple[Interpreter, ...]


@functools.cache
def every() -> tuple[Interpreter, ...]:
    """Return all CPythons on PATH, managed by uv or pyenv, or known to the `py` launcher, oldest first.

    Of several with the same version, the first counts; others can be named by their paths. Asking them takes
    a second, so they are asked again only if a folder or an executable has changed. Raises FaultError if none
    is found because uv failed.
    """
    path = cache_dir() / "interpreters.json"
    folders = _folders()
    remembered: tuple[_Remembered, ...] = ()
    with contextlib.suppress(OSError, msgspec.DecodeError):
        remembered = msgspec.json.decode(path.read_bytes(), type=tuple[_Remembered, ...])
    for entry in remembered:
        if entry.looked_in == folders | _changed(entry.found):
            return entry.found
    paths, failure = _of_pyenv(), None
    try:
        paths += _of_uv()
    except OutliveError as error:
        failure = error
    with ThreadPoolExecutor() as pool:
        answers = pool.map(ask, dict.fromkeys(paths))
    by_version: dict[tuple[Version, bool], Interpreter] = {}
    for answer in answers:
        if isinstance(answer, Interpreter):
            by_version.setdefault((answer.parsed, answer.free_threaded), answer)
    interpreters = tuple(by_version[version] for version in sorted(by_version))
    if failure:
        if not interpreters:
            raise failure
        return interpreters
    latest = _Remembered(folders | _changed(interpreters), interpreters)
    others = [entry for entry in remembered if entry.looked_in.keys() != latest.looked_in.keys()]
    with contextlib.suppress(FaultError):  # a full disk only makes the next call slow
        write_text(path, msgspec.json.encode([latest, *others[: REMEMBERED - 1]]).decode())
    return interpreters


def installed() -> tuple[Interpreter, ...]:
    """Return the newest patch of each minor version, oldest first; a pre-release only if there is no other.

    Free-threaded builds are left out: they are only used if they are named.
    """
    newest_last = sorted(every(), key=lambda cpython: (not cpython.parsed.is_prerelease, cpython.parsed))
    best = {cpython.minor: cpython for cpython in newest_last if not cpython.free_threaded}
    return tuple(sorted(best.values(), key=lambda cpython: cpython.parsed))


def ask(path: str) -> Interpreter | str:
    """Return the interpreter whose executable is `path`, or one line that says why it cannot be used."""
    if not Path(path).is_file():
        return "there is no such program"
    if not os.access(path, os.X_OK):
        return "that is not executable"
    try:
        done = processes.run([path, "-I", "-c", ASK], timeout=ANSWERS_WITHIN)
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except (FaultError, msgspec.DecodeError):
        return "that is not a Python 3"
    if answer.implementation != "CPython":
        return f"that is {answer.implementation}, and outlive can only count in CPython"
    if answer.parsed.release < OLDEST:
        return f"that is Python {answer.version}, and outlive measures on 3.8 and newer"
    return Interpreter(**{name: getattr(answer, name) for name in Interpreter.__struct_fields__})


def _changed(interpreters: Sequence[Interpreter]) -> dict[str, int]:
    """Return the executables with their modification times in ns, 0 if the file is gone."""
    paths = {interpreter.path: Path(interpreter.path) for interpreter in interpreters}
    return {name: path.stat().st_mtime_ns if path.exists() else 0 for name, path in paths.items()}


def _folders() -> dict[str, int]:
    """Return the folders that change if a Python is installed or removed, with their modification times."""
    on_path = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    managed = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python")
    folders = [*on_path, managed, *(root / "versions" for root in _pyenv_roots())]
    return {str(folder): folder.stat().st_mtime_ns for folder in folders if folder.is_dir()}


def _pyenv_roots() -> list[Path]:
    """Return where pyenv can be: in PYENV_ROOT, or else in the home folder and beside shims on PATH."""
    if named := os.environ.get("PYENV_ROOT"):
        return [Path(named)]
    shims = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry.endswith("shims")]
    return list(dict.fromkeys([Path.home() / ".pyenv", *(folder.parent for folder in shims)]))


def choose(releases: Sequence[Release], requested: str | None = None) -> Interpreter:
    """Return an interpreter on which all of `releases` can be installed: the requested or the best one.

    The best is the newest that was out when the oldest release was uploaded, because metadata does not say
    that an old release fails on a later Python. If there is none, it is the oldest. `requested` is a minor
    version, a patch version, or `@` and the path of an interpreter. Raises UsageError if it is none of these,
    FaultError if it is not installed or fails its self-check, and UnavailableError if the releases do not
    support it.
    """
    if requested is None:
        return _usable(_best(releases))
    chosen = _at(requested) if requested.startswith(AT) or os.sep in requested else _named(requested)
    for release in releases:
        if reason := release.why_not(chosen.name or chosen.minor):
            raise UnavailableError(f"{reason}: choose with --python")
    return _usable(chosen)


def _best(releases: Sequence[Release]) -> Interpreter:
    available = installed()
    fitting = [
        cpython for cpython in available if all(release.supports(cpython.minor) for release in releases)
    ]
    if not fitting:
        raise _none_fits(releases, available)
    oldest = min((release.date for release in releases if release.date), default=max(KNOWN.values()))
    of_their_time = [cpython for cpython in fitting if KNOWN.get(cpython.minor, dt.date.max) <= oldest]
    return of_their_time[-1] if of_their_time else fitting[0]


def why(releases: Sequence[Release]) -> str:
    """Return why `choose` takes a Python for these releases if none is requested."""
    dated = [release for release in releases if release.date]
    oldest = min(dated, key=lambda release: release.date or dt.date.max, default=None)
    if oldest is None:
        return "the newest installed version that fits"
    return (
        f"the newest installed version that was out when {oldest} was released ({oldest.date}), or else "
        "the oldest that fits"
    )


def _at(requested: str) -> Interpreter:
    path = requested.removeprefix(AT)
    answer = ask(str(Path(path).expanduser().absolute()))
    if isinstance(answer, str):
        raise UsageError(f"python@{path}: {answer}")
    return msgspec.structs.replace(answer, name=f"{answer.version}{answer.mark}+{answer.digest}")


def _named(requested: str) -> Interpreter:
    parts = PYTHON_VERSION.fullmatch(requested)
    if parts is None:
        raise UsageError(f"{one_line(requested)!r} is not a Python version, as in 3.11 or 3.12.1, nor a path")
    minor, mark = parts.groups()
    if Version(minor).release < OLDEST:
        raise UsageError(f"Python {requested} is too old: outlive measures on 3.8 and newer")
    of_minor = [cpython for cpython in every() if (cpython.minor, cpython.mark) == (minor, mark)]
    final = [cpython for cpython in of_minor if not cpython.parsed.is_prerelease]
    if requested == minor + mark and of_minor:
        return (final or of_minor)[-1]
    for cpython in of_minor:
        if cpython.version + mark == requested:
            return msgspec.structs.replace(cpython, name=requested)
    available = of_minor if requested != minor + mark and of_minor else installed()
    raise FaultError(
        f"Python {requested} is not installed (there are {_names(available, of_minor)}): install it, as in "
        f"`uv python install {requested}`, or choose another with --python"
    )


def _usable(interpreter: Interpreter) -> Interpreter:
    """Return the interpreter after a self-check, if it needs one. Raises FaultError if that fails."""
    if not interpreter.tried and (wrong := selfcheck.wrong(interpreter.path, interpreter.digest)):
        raise FaultError(f"the probe cannot count in {interpreter} ({interpreter.path}): {wrong}")
    return interpreter


def _none_fits(releases: Sequence[Release], available: Sequence[Interpreter]) -> UnavailableError:
    sides = []
    oldest, *_, newest = KNOWN
    for release in dict.fromkeys(releases):
        minors = [minor for minor in KNOWN if release.supports(minor)]
        if not minors:
            return UnavailableError(f"{release.why_not(newest)}: outlive knows Python {oldest} to {newest}")
        sides.append(f"{release} runs on {', '.join(minors)}")
    return UnavailableError(
        f"no installed Python fits: {'; '.join(sides)}; there are {_names(available)}: install one that fits"
    )


def _names(cpythons: Sequence[Interpreter], exact: Sequence[Interpreter] = ()) -> str:
    return ", ".join(cpython.version if cpython in exact else cpython.minor for cpython in cpythons) or "none"


def _of_uv() -> list[str]:
    text = run_uv(["python", "list", "--only-installed", "--offline", "--output-format", "json"])
    try:
        listed = msgspec.json.decode(text, type=list[_Listed])
    except msgspec.DecodeError:
        return []
    return [
        entry.path
        for entry in listed
        if entry.path and entry.implementation == "cpython" and Path(entry.path).parent.name != "shims"
    ]


def _of_pyenv() -> list[str]:
    """Return the executables in pyenv's folder; its shims on PATH only run the selected versions."""
    return [str(path) for root in _pyenv_roots() for path in sorted(root.glob("versions/*/bin/python"))]
