"""Locks: the exact, hashed set of packages with which a stack runs.

An *era* lock has the dependencies as they were when the release came out. Whatever was resolved is kept in
the cache, so that it works again without a network. For *controlled* locks see `outlive.stacks.controlled`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from packaging.version import Version

from outlive import temporary
from outlive.errors import FaultError, UnavailableError
from outlive.files import decode_toml, write_text
from outlive.project import Project, cache_dir
from outlive.records.release import Release
from outlive.records.stack import AT, Package, Wheel, python_minor
from outlive.releases import frameworks
from outlive.releases.frameworks import Requirements
from outlive.stacks.uv import explain, try_uv
from outlive.wording import one_line

ERA = dt.timedelta(days=1)  # a release's dependencies are the newest that existed this long after its upload
# Days after that at which to look for packages that had no wheel yet, on a Python newer than the release.
LATER = (30, 90, 180, 365, 730, 1460, 2920)
EVER = "2999-01-01T00:00:00Z"  # the cut-off of a package at an exact version
CACHE_VERSION = 1  # of the records under locks/ in the cache

HEADER = re.compile(r"# dependencies until (\S+)\n")
PINNED = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s\\;]+)", re.MULTILINE)
WHEELLESS = re.compile(
    r"Wheels are required for `([^`]+)`"
    r"|([a-z0-9][\w.-]*)(?:[=<>!~]\S+)? ha(?:s|ve) no (?:usable wheels|wheels with a matching)"
)
FOLDER = re.compile(r" @ file://\S*/")  # of a wheel
LINE = re.compile(r"(?:[A-Za-z0-9][\w.-]*==[^\s\\;]+(?: ;[^\\]+)?|    --hash=sha256:[0-9a-f]{64})(?: \\)?")
"""A line of a lock: a package, or one of its hashes. A line that is continued ends in a backslash."""
AGAIN = "restore it, or remove it to have it resolved again"
NO_TIMES = "missing an upload date"

Record = TypeVar("Record", bound=msgspec.Struct)


class Lock(msgspec.Struct, frozen=True):
    """All packages of one stack; `text` is the requirements file with their hashes, sorted by name.

    `until` is the moment up to which dependencies were considered, None if the index gives no upload times.
    `wheels` are the wheels of the packages that are not releases.
    """

    framework: str
    release: str
    python: str
    packages: tuple[Package, ...]
    text: str
    until: dt.datetime | None
    wheels: tuple[Wheel, ...] = ()

    @property
    def digest(self) -> str:
        """The first 12 hex digits of the text's SHA-256, computed without the folders of wheels."""
        return hashlib.sha256(FOLDER.sub(" @ ", self.text).encode()).hexdigest()[:12]

    def __str__(self) -> str:
        return f"the lock of {self.framework} {self.release} on Python {self.python}"

    @property
    def versions(self) -> dict[str, str]:
        """The version of each package, by name."""
        return {package.name: package.version for package in self.packages}

    def apart(self, lock: Lock) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield (name, version here, version there) of the packages that differ, by name; None if absent."""
        ours, theirs = self.versions, lock.versions
        for name in sorted(ours | theirs):
            if ours.get(name) != theirs.get(name):
                yield name, ours.get(name), theirs.get(name)


class LockInput(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a lock is resolved from: a release, a Python (`3.11`), and `pins`, packages at exact versions.

    gunicorn is always among the pins. `extras` are further requirements, as in `gunicorn[gevent]`; `wheels`
    are the wheels of packages that are not releases. `application` holds the requirements of the user's own
    application, which is no package itself. `changed`: the user asks for other packages than it does.
    """

    release: Release
    python: str
    pins: tuple[Package, ...]
    extras: tuple[str, ...] = ()
    wheels: tuple[Wheel, ...] = ()
    application: Requirements | None = None
    changed: bool = False

    def __str__(self) -> str:
        return f"{self.release} on Python {self.python}"

    @property
    def exact(self) -> dict[str, str]:
        """The versions of the framework and the pins, by name, except for wheels."""
        exact = {self.release.framework: self.release.version} if self.application is None else {}
        exact |= {pin.name: pin.version for pin in self.pins}
        return {name: exact[name] for name in exact if name not in {wheel.name for wheel in self.wheels}}

    def holding(self, package: Package) -> LockInput:
        """Return this side with `package` pinned at its version."""
        pins = {pin.name: pin for pin in self.pins} | {package.name: package}
        return msgspec.structs.replace(self, pins=tuple(sorted(pins.values())))


class _Gunicorn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    versions: dict[str, str]


def side(
    project: Project,
    release: Release,
    python: str,
    pins: tuple[Package, ...] = (),
    wheels: tuple[Wheel, ...] = (),
    *,
    extras: tuple[str, ...] = (),
) -> LockInput:
    """Return what to resolve, with the packages that serving the framework needs.

    `extras` are further requirements. Unless `pins` name gunicorn, its version comes from
    `releases/gunicorn.toml`. Raises FaultError if that file has none for this Python.
    """
    path = project.releases / "gunicorn.toml"
    try:
        versions = decode_toml(path.read_bytes(), _Gunicorn).versions
        newest = max(versions, key=Version)  # a later Python gets the version of the newest one listed
        chosen = versions[newest if Version(python) > Version(newest) else python]
    except KeyError:
        raise FaultError(f"{path} does not say which gunicorn to use on Python {python}") from None
    except (OSError, ValueError) as error:  # msgspec's are ValueErrors
        why = error.strerror if isinstance(error, OSError) else one_line(str(error))
        raise FaultError(f"{path} cannot be read: {why}") from None
    framework = frameworks.load(project, release.framework)
    application = framework.application.get(release.version)
    if application:
        chosen = application.pinned.get("gunicorn", chosen)
    gunicorn = (Package("gunicorn", chosen),)
    bare = LockInput(release, python, gunicorn, (*framework.packages, *extras), wheels, application)
    for pin in pins:
        bare = bare.holding(pin)
    return bare


def local(project: Project, release: Release, pins: tuple[Package, ...]) -> tuple[Package, ...]:
    """Return an application's packages that are not releases, with their sources, except those in `pins`."""
    application = frameworks.load(project, release.framework).application.get(release.version)
    named = {pin.name for pin in pins}
    sources = application.local if application else {}
    return tuple(Package(name, AT + source) for name, source in sources.items() if name not in named)


def on(lock: Lock, python: str) -> Lock:
    """Return `lock` with `python`, the name in results, for a Python of the same minor version."""
    return msgspec.structs.replace(lock, python=python)


def era(project: Project, release: Release, python: str, pins: tuple[Package, ...] = ()) -> Lock:
    """Return the lock of `release` on `python` (`3.11`) with the dependencies of its time.

    Raises as `of_era` does.
    """
    return of_era(project, side(project, release, python, pins))


def of_era(project: Project, wanted: LockInput) -> Lock:
    """Return the lock of a side with the dependencies of its release's time.

    A committed lock has precedence over resolving. If a wheel needs newer packages, today's are taken. If a
    pin does, they are those of the first later time that has them. Raises UnavailableError if no set of
    packages fits, and FaultError if the index cannot be reached.
    """
    release, python = wanted.release, wanted.python
    plain = wanted == side(project, release, python)
    if plain:
        committed = read_era_lock(project, release, python)
        if committed:
            _check_whole(committed, wanted, era_lock_path(project, release, python))
            if all(pin in committed.packages for pin in wanted.pins):
                return committed
    until = release.uploaded + ERA if release.uploaded else None

    def find() -> Lock:
        try:
            return _with_own_hashes(resolve(wanted, until), wanted.application)
        except UnavailableError as error:
            if until is None or plain:
                raise
            try:
                today = resolve(wanted, None)
            except UnavailableError:
                raise error from None
        return today if wanted.wheels else _later(wanted, until)

    return kept(find, Lock, wanted)


def _with_own_hashes(lock: Lock, application: Requirements | None) -> Lock:
    """Return `lock`. Raises FaultError if a package's hashes contradict those in an application's files."""
    for name, hashes in application.hashes.items() if application else ():
        block = f"\n{lock.text}".partition(f"\n{name}==")[2].partition("==")[0]
        locked = {word.removeprefix("--hash=") for word in block.split()}
        pinned = application is not None and application.pinned.get(name) == lock.versions.get(name)
        if pinned and locked.isdisjoint(hashes):
            raise FaultError(f"{name}: the package index has no file with a hash from the requirements")
    return lock


def with_packages(lock: Lock, release: Release, extras: tuple[str, ...]) -> Lock:
    """Return `lock` with what `extras` require in addition; `lock` itself without extras.

    No package of `lock` changes, and additional packages are of its time. gunicorn is newer than most
    releases and can need newer ones; those are of the first later time that has them. Raises as `era` does.
    """
    if not extras:
        return lock
    pins = tuple(package for package in lock.packages if package.name != release.framework)
    application = None if release.framework in lock.versions else Requirements()  # it is no package
    python = python_minor(lock.python).removesuffix("t")
    wanted = LockInput(release, python, pins, extras, lock.wheels, application)
    extended = kept(lambda: _later(wanted, lock.until), Lock, wanted, lock.until)
    return on(extended, lock.python)


def _later(wanted: LockInput, until: dt.datetime | None) -> Lock:
    for days in (0, *LATER):
        result = attempt(wanted, until and until + dt.timedelta(days=days))
        if isinstance(result, Lock) or until is None:
            break
    required = wanted.extras or [str(pin) for pin in wanted.pins if pin.name != "gunicorn"]
    return _accepted(result, f"{wanted} cannot be served with {', '.join(required)}")


def _accepted(result: Lock | str, refusal: str) -> Lock:
    """Return the lock, or raise the error in uv's complaint; `refusal` introduces an UnavailableError."""
    if isinstance(result, Lock):
        return result
    error = explain(result)
    raise UnavailableError(f"{refusal}: {error}") if isinstance(error, UnavailableError) else error


def era_lock_path(project: Project, release: Release, python: str) -> Path:
    """Return the path of the committed era lock of `release`, which might not exist."""
    return project.releases / release.framework / "locks" / f"py{python}" / f"{release.version}.txt"


def read_era_lock(project: Project, release: Release, python: str) -> Lock | None:
    """Return the committed era lock of `release`, or None if there is none.

    Raises FaultError if the file is not a lock.
    """
    path = era_lock_path(project, release, python)
    if not path.is_file():
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise FaultError(f"{path} is not a lock: it is not UTF-8 text; {AGAIN}") from None
    header = HEADER.match(text)
    try:
        until = dt.datetime.fromisoformat(header[1]) if header else None
    except ValueError:
        raise FaultError(f"{path} is not a lock: its head names no time; {AGAIN}") from None
    body = text[header.end() :] if header else text
    return Lock(release.framework, release.version, python, _packages(body), body, until)


def _check_whole(lock: Lock, wanted: LockInput, path: Path) -> None:
    """Raise FaultError if a committed lock is cut off or damaged, because results depend on every line."""
    if missing := wanted.exact.keys() - lock.versions:
        raise FaultError(f"{path} does not hold {', '.join(sorted(missing))}; {AGAIN}")
    *lines, end = lock.text.split("\n")
    damaged = [at for at, line in enumerate(lines, 1) if not LINE.fullmatch(line)]
    if damaged or end or lines[-1].endswith("\\"):
        raise FaultError(f"{path} is damaged or cut at line {(damaged or [len(lines)])[0]}; {AGAIN}")


def write_era_lock(project: Project, lock: Lock, release: Release) -> Path:
    """Write `lock` as the committed era lock of `release`, and return its path."""
    path = era_lock_path(project, release, lock.python)
    header = f"# dependencies until {_iso(lock.until)}\n" if lock.until else ""
    write_text(path, header + lock.text)
    return path


def resolve(wanted: LockInput, until: dt.datetime | None, prefer: tuple[Package, ...] = ()) -> Lock:
    """Return the lock of `wanted` with dependencies up to `until`, in versions of `prefer` where allowed.

    Raises as `era` does.
    """
    pins = "".join(f", {pin}" for pin in wanted.pins if pin.name != "gunicorn")
    return _accepted(attempt(wanted, until, prefer), f"{wanted}{pins} cannot be installed")


def attempt(wanted: LockInput, until: dt.datetime | None, prefer: tuple[Package, ...] = ()) -> Lock | str:
    """Return the lock as `resolve` does, or uv's complaint if there is none.

    A dependency that had no wheel for this Python by `until` is taken from the first later time that has one.
    If an application's pins conflict with the side's `pins`, its other versions are kept where possible.
    """
    later: dict[str, int] = {}
    application = wanted.application
    while True:
        status, text, complaint = _compile(wanted, until, prefer, later)
        if status == 0:
            release = wanted.release
            packages = tuple(sorted((*_packages(text), *(wheel.package for wheel in wanted.wheels))))
            named = (release.framework, release.version, wanted.python)
            return Lock(*named, packages, text, until, wanted.wheels)
        if until and NO_TIMES in complaint:
            until = None
            continue
        if application and wanted.changed and application.loosened(wanted.exact) != application:
            names = {*wanted.exact, *(wheel.name for wheel in wanted.wheels)}
            pinned = {name: Package(name, version) for name, version in application.pinned.items()}
            prefer = tuple((pinned | {package.name: package for package in prefer}).values())
            loose = msgspec.structs.replace(wanted, application=application.loosened(names))
            return attempt(loose, until, prefer)
        lacking = {match[1] or match[2] for match in WHEELLESS.finditer(complaint)} - set(wanted.exact)
        if until is None or not lacking or any(later.get(name) == LATER[-1] for name in lacking):
            return complaint
        later |= {name: next(days for days in LATER if days > later.get(name, 0)) for name in lacking}


def _compile(
    wanted: LockInput, until: dt.datetime | None, prefer: tuple[Package, ...], later: dict[str, int]
) -> tuple[int, str, str]:
    """Return uv's exit status, requirements and complaint; `later` is in days after `until`."""
    arguments = ["pip", "compile", "-", "--output-file", "lock.txt", "--python-version", wanted.python]
    arguments += ["--generate-hashes", "--no-header", "--no-annotate", "--only-binary", ":all:"]
    if until:
        cutoffs = dict.fromkeys(wanted.exact, EVER)
        cutoffs |= {name: _iso(until + dt.timedelta(days=days)) for name, days in later.items()}
        arguments += ["--exclude-newer", _iso(until)]
        for name, cutoff in cutoffs.items():
            arguments += ["--exclude-newer-package", f"{name}={cutoff}"]
    requirements = "".join(f"{name}=={version}\n" for name, version in wanted.exact.items())
    lines = wanted.application.lines if wanted.application else ()
    requirements += "".join(f"{extra}\n" for extra in (*wanted.extras, *lines))
    requirements += "".join(f"{wheel.requirement}\n" for wheel in wanted.wheels)
    with temporary.folder() as folder:
        output, constraints = folder / "lock.txt", wanted.application and wanted.application.constraints
        if constraints:
            (folder / "constraints.txt").write_text("\n".join(constraints), encoding="utf-8")
            arguments += ["--constraint", "constraints.txt"]
        if prefer:  # uv keeps versions that are already in the output file wherever they are allowed
            output.write_text("".join(f"{package}\n" for package in prefer), encoding="utf-8")
        done = try_uv(arguments, text=requirements, cwd=folder)
        resolved = output.read_text(encoding="utf-8") if done.returncode == 0 else ""
        return done.returncode, resolved, done.stderr


def kept(find: Callable[[], Record], kind: type[Record], *inputs: object) -> Record:
    """Return what `find` returned for these inputs before, or call it now; failures are not kept."""
    key = hashlib.sha256(msgspec.json.encode((CACHE_VERSION, kind.__name__, inputs))).hexdigest()[:24]
    path = cache_dir() / "locks" / f"{key}.json"
    with contextlib.suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=kind)
    record = find()
    write_text(path, msgspec.json.encode(record).decode())
    return record


def _packages(text: str) -> tuple[Package, ...]:
    return tuple(sorted(Package(name, version) for name, version in PINNED.findall(text)))


def _iso(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
