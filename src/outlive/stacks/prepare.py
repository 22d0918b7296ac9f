"""prepare."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from outlive.errors import UnavailableError, UsageError
from outlive.project import Project
from outlive.records.measurement import StackRecord
from outlive.records.release import Release
from outlive.records.remedy import Remedy
from outlive.records.stack import Difference, Package, Stack
from outlive.releases import frameworks
from outlive.releases.catalogue import Catalogue
from outlive.stacks import controlled, environments, locks, pythons
from outlive.stacks.locks import Lock
from outlive.stacks.pythons import Interpreter

Identity = tuple[str, str, str, str, str | None]


class Prepared(msgspec.Struct, frozen=True):
    """A stack with everything chosen: release, Python, lock. Its environment is built when it is needed.

    `remedy` is what is done to its app, None for the app as it is.
    """

    release: Release
    interpreter: Interpreter
    lock: Lock
    remedy: Remedy | None = None

    @property
    def remedy_name(self) -> str | None:
        """The name of its remedy, None for the release as it is."""
        return self.remedy.name if self.remedy else None

    @property
    def identity(self) -> Identity:
        """What tells it from others that are measured with it."""
        release, lock = self.release, self.lock
        return release.framework, release.version, lock.python, lock.digest, self.remedy_name

    @property
    def record(self) -> StackRecord:
        """The stack as results name it."""
        return StackRecord(
            framework=self.release.framework,
            release=self.release.version,
            python=self.lock.python,
            lock=self.lock.digest,
            packages=self.lock.packages,
            interpreters=(self.interpreter.record,),
        )


class Pair(msgspec.Struct, frozen=True):
    """Both sides of a comparison and what beside the framework could not be held equal."""

    before: Prepared
    after: Prepared
    differences: tuple[Difference, ...]


def find_release(project: Project, stack: Stack) -> Release:
    """Return the catalogued release of `stack`; UsageError names the nearest where there is none."""
    return Catalogue.load(project, stack.framework).find(stack.release)


def prepare(
    project: Project, stack: Stack, python: str | None = None, remedy: Remedy | None = None
) -> Prepared:
    """Return `stack` with its era lock on the Python it names, or `python`, or the one that suits it best.

    What a `remedy` needs beside the release is locked with it, unless it does not apply to the release.
    Raises as `pythons.choose` and `locks.era` do.
    """
    release = find_release(project, stack)
    interpreter = pythons.choose([release], stack.python or python)
    lock = _era(project, release, interpreter, stack.pins)
    if remedy and not remedy.against(release.version):
        lock = locks.with_packages(lock, release, remedy.packages)
    return Prepared(release, interpreter, lock, remedy)


def prepare_each(
    project: Project, before: Stack, after: Stack, python: str | None = None
) -> tuple[Prepared, Prepared]:
    """Return two stacks, each with its era lock, on one Python unless a stack names its own.

    Raises as `pythons.choose` and `locks.era` do, UsageError for two frameworks.
    """
    releases = _releases(project, before, after)
    first, second = (
        Prepared(release, interpreter, _era(project, release, interpreter, stack.pins))
        for stack, release, interpreter in zip(
            (before, after), releases, _interpreters((before, after), releases, python), strict=True
        )
    )
    return first, second


def prepare_pair(project: Project, before: Stack, after: Stack, python: str | None = None) -> Pair:
    """Return two stacks with controlled locks, on one Python unless a stack names its own.

    Raises as `pythons.choose` and `controlled.locks` do, UsageError for two frameworks.
    """
    releases = _releases(project, before, after)
    interpreters = _interpreters((before, after), releases, python)
    by_minor = {interpreter.minor: interpreter for interpreter in interpreters}

    modules = frameworks.load(project, before.framework).modules

    def works(lock: Lock) -> bool:
        environment = environments.ensure(lock, by_minor[lock.python])
        return environments.import_error(environment, modules) is None

    found = controlled.locks(project, before, after, (interpreters[0].minor, interpreters[1].minor), works)
    return Pair(
        Prepared(releases[0], interpreters[0], interpreters[0].locked(found.before)),
        Prepared(releases[1], interpreters[1], interpreters[1].locked(found.after)),
        found.differences,
    )


def _era(project: Project, release: Release, interpreter: Interpreter, pins: tuple[Package, ...]) -> Lock:
    return interpreter.locked(locks.era(project, release, interpreter.minor, pins))


def _releases(project: Project, before: Stack, after: Stack) -> list[Release]:
    if before.framework != after.framework:
        raise UsageError(
            f"{before.framework} and {after.framework} are two frameworks: "
            "compare two stacks of the same one, as in flask==2.3.3 flask==3.1.3"
        )
    return [find_release(project, stack) for stack in (before, after)]


def _interpreters(
    stacks: Sequence[Stack], releases: Sequence[Release], python: str | None
) -> tuple[Interpreter, Interpreter]:
    """Return the interpreters of two stacks: their own where named, else one that both releases support."""
    before, after = (stack.python for stack in stacks)
    if before is None and after is None:
        shared = pythons.choose(releases, python)
        return shared, shared
    named = before or after
    return (
        pythons.choose(releases[:1], before or python or named),
        pythons.choose(releases[1:], after or python or named),
    )


def check_withdrawn(release: Release) -> None:
    """Raise UnavailableError if the release was withdrawn from the index."""
    if release.yanked:
        raise UnavailableError(f"{release} is yanked: {release.yanked_reason or 'no reason given'}")
