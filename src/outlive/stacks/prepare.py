"""Prepares stacks: from the text that names a stack to its release, Python, wheels and lock."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.errors import UnavailableError, UsageError
from outlive.project import Project
from outlive.records.measurement import StackRecord
from outlive.records.release import Release
from outlive.records.remedy import Remedy
from outlive.records.stack import AT, Difference, Package, Stack, Wheel
from outlive.releases import frameworks
from outlive.releases.catalogue import Catalogue
from outlive.stacks import controlled, environments, locks, pythons, sources
from outlive.stacks.locks import Lock, LockInput
from outlive.stacks.pythons import Interpreter

Identity = tuple[str, str, str, str, str | None]


class Prepared(msgspec.Struct, frozen=True):
    """A stack with everything chosen: release, Python, lock. Its environment is built when needed.

    `remedy` is the change to its app, or None. `extras` are the requirements in the lock that come neither
    from the release nor from its pins, but from the remedy and the gunicorn worker.
    """

    release: Release
    interpreter: Interpreter
    lock: Lock
    remedy: Remedy | None = None
    extras: tuple[str, ...] = ()

    @property
    def remedy_name(self) -> str | None:
        """The name of its remedy, or None."""
        return self.remedy.name if self.remedy else None

    @property
    def identity(self) -> Identity:
        """What distinguishes it from other stacks: framework, release, Python, lock's digest, remedy."""
        release, lock = self.release, self.lock
        return release.framework, release.version, lock.python, lock.digest, self.remedy_name

    @property
    def record(self) -> StackRecord:
        """The stack as results record it."""
        return StackRecord(
            framework=self.release.framework,
            release=self.release.version,
            python=self.lock.python,
            lock=self.lock.digest,
            packages=self.lock.packages,
            interpreters=(self.interpreter.record,),
            practice=self.remedy_name,
        )


class Pair(msgspec.Struct, frozen=True):
    """Both sides of a comparison, and what apart from the framework could not be held equal."""

    before: Prepared
    after: Prepared
    differences: tuple[Difference, ...]


class _Choice(msgspec.Struct, frozen=True):
    """A stack with its release, Python and wheels, before its lock is resolved."""

    stack: Stack
    release: Release
    interpreter: Interpreter
    wheels: tuple[Wheel, ...]

    @property
    def pins(self) -> tuple[Package, ...]:
        return tuple(pin for pin in self.stack.pins if not pin.version.startswith(AT))

    def side(self, project: Project, extras: tuple[str, ...] = ()) -> LockInput:
        side = locks.side(
            project, self.release, self.interpreter.minor, self.pins, self.wheels, extras=extras
        )
        return msgspec.structs.replace(side, changed=bool(side.application and self.stack.pins))

    def prepared(self, project: Project, remedy: Remedy | None, packages: tuple[str, ...]) -> Prepared:
        lock = locks.of_era(project, self.side(project))
        lock = locks.on(lock, self.interpreter.python)
        applies = remedy and not remedy.against(self.release.version)
        extras = _extras(remedy if applies else None, packages)
        lock = locks.with_packages(lock, self.release, extras)
        return Prepared(self.release, self.interpreter, lock, remedy, extras)


def _extras(remedy: Remedy | None, packages: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*(remedy.packages if remedy else ()), *packages)))


def prepare(
    project: Project,
    stack: Stack,
    python: str | None = None,
    remedy: Remedy | None = None,
    *,
    packages: tuple[str, ...] = (),
) -> Prepared:
    """Return `stack` with its era lock, on the Python that it names, on `python`, or on the best Python.

    The packages of a `remedy` are locked with it if the remedy applies to the release, and so are further
    `packages`, such as those of a gunicorn worker. Raises as `pythons.choose`, `sources.build` and
    `locks.era` do.
    """
    (choice,) = _choose(project, [stack], python)
    return choice.prepared(project, remedy, packages)


def prepare_each(
    project: Project,
    before: Stack,
    after: Stack,
    python: str | None = None,
    remedy: Remedy | None = None,
    *,
    packages: tuple[str, ...] = (),
) -> tuple[Prepared, Prepared]:
    """Return two stacks, each with its era lock, on the same Python unless a stack names its own.

    Raises as `prepare` does, and UsageError if they have different frameworks.
    """
    choices = _choose(project, [before, after], python)
    first, second = (choice.prepared(project, remedy, packages) for choice in choices)
    return first, second


def prepare_pair(
    project: Project,
    before: Stack,
    after: Stack,
    python: str | None = None,
    remedy: Remedy | None = None,
    *,
    packages: tuple[str, ...] = (),
) -> Pair:
    """Return two stacks with controlled locks, on the same Python unless a stack names its own.

    The packages of a `remedy` and further `packages` are locked with both. Raises as `pythons.choose`,
    `sources.build` and `controlled.locks` do, and UsageError if they have different frameworks.
    """
    choices = _choose(project, [before, after], python)
    by_minor = {choice.interpreter.minor: choice.interpreter for choice in choices}
    modules = frameworks.load(project, before.framework).modules

    def works(lock: Lock) -> bool:
        environment = environments.ensure(lock, by_minor[lock.python])
        return environments.import_error(environment, modules) is None

    extras = _extras(remedy, packages)
    sides = [choice.side(project, extras) for choice in choices]
    if sides[0].application != sides[1].application:
        return _as_they_are([choice.prepared(project, remedy, packages) for choice in choices])
    asked = sorted({pin.name for stack in (before, after) for pin in stack.pins})
    pair = controlled.locks(project, sides, asked, works)
    first, second = (
        Prepared(
            choice.release, choice.interpreter, locks.on(lock, choice.interpreter.python), remedy, extras
        )
        for choice, lock in zip(choices, (pair.before, pair.after), strict=True)
    )
    return Pair(first, second, pair.differences)


def _as_they_are(states: Sequence[Prepared]) -> Pair:
    """Return two states of an application, each with the packages of its own requirements."""
    before, after = states
    reason = "as each side's requirements have it"
    differences = (Difference(*apart, reason, asked=True) for apart in before.lock.apart(after.lock))
    return Pair(before, after, tuple(differences))


def _choose(project: Project, stacks: Sequence[Stack], python: str | None) -> list[_Choice]:
    """Return each stack's release, Python, and wheels of packages that are not releases.

    A stack that names no Python shares one with the others. A framework that is not a release is built with
    the requested Python, by default the newest. Raises UsageError if the stacks have different frameworks.
    """
    if stacks[0].framework != stacks[-1].framework:
        raise UsageError(
            f"{stacks[0].framework} and {stacks[-1].framework} are two frameworks: "
            "compare two stacks of the same one, as in flask==2.3.3 flask==3.1.3"
        )
    releases: list[Release] = []
    wheels: list[list[Wheel]] = []
    for stack in stacks:
        if stack.release.startswith(AT):
            builder = pythons.choose([], stack.python or python)
            wheel = sources.build(stack.framework, stack.release.removeprefix(AT), builder)
            releases.append(sources.release(wheel))
            wheels.append([wheel])
        else:
            releases.append(Catalogue.load(project, stack.framework).find(stack.release))
            wheels.append([])
    interpreters = _interpreters(stacks, releases, python)
    chosen: list[_Choice] = []
    for stack, release, built, interpreter in zip(stacks, releases, wheels, interpreters, strict=True):
        built += [
            sources.build(pin.name, pin.version.removeprefix(AT), interpreter)
            for pin in (*stack.pins, *locks.local(project, release, stack.pins))
            if pin.version.startswith(AT)
        ]
        chosen.append(_Choice(stack, release, interpreter, tuple(built)))
    return chosen


def _interpreters(
    stacks: Sequence[Stack], releases: Sequence[Release], python: str | None
) -> list[Interpreter]:
    """Return each stack's interpreter: the one that it names, or one that all releases support."""
    named = [stack.python for stack in stacks if stack.python]
    if not named:
        return [pythons.choose(releases, python)] * len(stacks)
    return [
        pythons.choose([release], stack.python or python or named[0])
        for stack, release in zip(stacks, releases, strict=True)
    ]


def check_withdrawn(release: Release) -> None:
    """Raise UnavailableError if the release was withdrawn from the index."""
    if release.yanked:
        raise UnavailableError(f"{release} is yanked: {release.why_yanked}")
