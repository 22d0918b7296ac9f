"""Bisect: git's own bisect finds the commit of a package that changed the memory that requests leave.

Each commit is built into a wheel and measured in one cell, always with the same other packages and Python.
Earlier builds and measurements come from the cache.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec

from outlive import temporary
from outlive.comparison.cells import judge, match
from outlive.comparison.changes import OBJECTS
from outlive.errors import FaultError, OutliveError, UnavailableError, UsageError
from outlive.files import JsonDocument, check_writable, copy_tree
from outlive.history.clone import Clone, Commit, Outcome
from outlive.history.steps import changed_versions
from outlive.project import Project
from outlive.records.measurement import Cell, Growth, Measurement
from outlive.records.stack import AT, Stack, Wheel
from outlive.releases import frameworks
from outlive.releases.catalogue import Catalogue
from outlive.replay import engine
from outlive.replay.engine import CellRequest, Progress
from outlive.retention.fingerprints import Change, changes
from outlive.service import app as apps
from outlive.service.scenarios import Scenario
from outlive.stacks import environments, locks, pythons, sources
from outlive.stacks.locks import ERA, Lock, LockInput
from outlive.stacks.prepare import Prepared
from outlive.stacks.sources import BuildError
from outlive.wording import one_line

What = Literal["count", "class", "fingerprint"]
ASPECTS: tuple[What, ...] = ("count", "class", "fingerprint")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question: which commit of `package`, part of `stack`, changed `what` in one cell.

    `repository` is a clone of the package; `old` and `new` are revisions in it. `jobs` commits are built at
    the same time.
    """

    stack: Stack
    package: str
    repository: Path
    old: str
    new: str
    scenario: Scenario
    cell: Cell
    what: What = "count"
    python: str | None = None
    worker: str | None = None
    first_parent: bool = False
    paths: tuple[str, ...] = ()
    jobs: int = 1


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A commit that was tried: the objects per request that it leaves, or the reason why it was skipped.

    `built` is the seconds for its environment, 0 from the cache; `measured` those for its measurement.
    """

    commit: Commit
    outcome: Outcome
    objects: float | None = None
    growth: Growth | None = None
    reason: str | None = None
    built: float = 0.0
    measured: float = 0.0


class Bisection(JsonDocument, frozen=True, kw_only=True):
    """The result of a bisection.

    `python` is the full version: patch releases count differently.
    `suspects` holds the commit, or, if commits had to be skipped, several of which one is it. `before` and
    `after` are the measurements of its first parent and of itself, `changes` what became of each ring, and
    `differences` the other packages that its metadata changed. `further`: the count changed again later.
    """

    framework: str
    package: str
    python: str
    what: What
    cell: Cell
    old: Attempt
    new: Attempt
    steps: tuple[Attempt, ...]
    suspects: tuple[Commit, ...] = ()
    parent: Commit | None = None
    before: Measurement | None = None
    after: Measurement | None = None
    changes: tuple[Change, ...] = ()
    differences: tuple[str, ...] = ()
    further: bool = False


class _UnmeasuredError(FaultError):
    """A commit cannot be measured: its server does not start, or answers otherwise."""


UNTRIED = (UnavailableError, UsageError, BuildError, _UnmeasuredError)
"""What is the fault of a commit, which is skipped; any other fault ends the search."""


class _Built(msgspec.Struct, frozen=True):
    """A commit with its environment."""

    commit: Commit
    prepared: Prepared
    built: float


class _Tried(_Built, frozen=True):
    """A commit that was measured."""

    measured: float
    measurement: Measurement


def bisect(project: Project, question: Question, watch: Callable[[Attempt], None]) -> Bisection:
    """Return the bisection; `watch` is called with each step.

    Raises UsageError for revisions that do not exist or are the same commit, and UnavailableError or
    FaultError if an end cannot be built or measured, or if results cannot be stored.
    """
    check_writable(project.measured)
    with Clone.of(question.repository) as clone, ThreadPoolExecutor(question.jobs) as pool:
        return _Bisect(project, question, clone, pool, watch).run()


class _Bisect:
    def __init__(
        self,
        project: Project,
        question: Question,
        clone: Clone,
        pool: ThreadPoolExecutor,
        watch: Callable[[Attempt], None],
    ) -> None:
        self.project, self.question, self.clone, self.pool, self.watch = project, question, clone, pool, watch
        self.building: dict[str, Future[_Built]] = {}
        self.tried: dict[str, _Tried] = {}
        stack = question.stack
        self.extras = apps.packages(project, stack.framework, question.worker)
        catalogue = Catalogue.load(project, stack.framework)
        named = catalogue.find(stack.release)
        self.release = None if question.package == stack.framework else named
        suits = self.release or catalogue.newest()
        self.interpreter = pythons.choose([suits], stack.python or question.python)
        self.basis: Lock | None = None

    def run(self) -> Bisection:
        question = self.question
        revisions = (question.old, question.new)
        old, new = (self.clone.resolve(question.repository, revision) for revision in revisions)
        if old == new:
            raise UsageError(f"{question.old} and {question.new} are the same commit")
        old = self.clone.parting(old, new)
        if old == new:
            raise UsageError(f"{question.new} is older than {question.old}: name the older one first")
        self.clone.check_paths(old, new, question.paths)
        self.until = dt.datetime.fromisoformat(new.date) + ERA
        if self.release and self.release.uploaded:
            self.until = max(self.until, self.release.uploaded + ERA)
        self._find_basis(old, new)
        before, after = self._end(old), self._end(new)
        steps: list[Attempt] = []
        answer = Bisection(
            framework=question.stack.framework,
            package=question.package,
            python=self.interpreter.key,
            what=question.what,
            cell=question.cell,
            old=self._step(before, "old"),
            new=self._step(after, "new"),
            steps=(),
        )
        if not self._changed(before, after):
            return answer

        def judge(commit: Commit, following: tuple[Commit, ...]) -> Outcome:
            for ahead in following[: question.jobs - 1]:
                self._building(ahead)
            step = self._judged(commit, before)
            steps.append(step)
            self.watch(step)
            return step.outcome

        suspects = self.clone.bisect(
            old, new, judge, first_parent=question.first_parent, paths=question.paths
        )
        answer = msgspec.structs.replace(answer, steps=tuple(steps), suspects=suspects)
        return self._explained(answer, after) if len(suspects) == 1 else answer

    def _explained(self, answer: Bisection, newest: _Tried) -> Bisection:
        (commit,) = answer.suspects
        parent = self.clone.parent(commit)
        try:
            before, after = self._measured(parent), self._measured(commit)
        except UNTRIED:  # a parent of a merge need not build; the result stands
            return msgspec.structs.replace(answer, parent=parent)
        old, new = before.prepared.lock, after.prepared.lock
        return msgspec.structs.replace(
            answer,
            parent=parent,
            before=before.measurement,
            after=after.measurement,
            changes=changes([(before.measurement, after.measurement)]),
            differences=changed_versions(old.versions, new.versions, self.question.package),
            further=self._changed(after, newest),
        )

    def _find_basis(self, old: Commit, new: Commit) -> None:
        """Choose the packages with which every commit is measured: the newer end's or else the older end's.

        The newer end may need newer packages, and the older one may not work with them.
        """
        for commit in (new, old):
            try:
                self.basis = None
                with _an_end(commit):
                    self.basis = self._prepared(commit).lock
                for other in (old, new):
                    with _an_end(other):
                        self._importable(self._prepared(other))
            except UnavailableError:
                if commit is old:
                    raise
            else:
                return

    def _importable(self, prepared: Prepared) -> None:
        environment = environments.ensure(prepared.lock, prepared.interpreter)
        modules = frameworks.load(self.project, prepared.release.framework).modules
        if error := environments.import_error(environment, modules):
            raise UnavailableError(f"cannot be imported: {one_line(error)}")

    def _end(self, commit: Commit) -> _Tried:
        with _an_end(commit):
            return self._measured(commit)

    def _judged(self, commit: Commit, before: _Tried) -> Attempt:
        try:
            tried = self._measured(commit)
        except UNTRIED as error:
            return Attempt(commit=commit, outcome="skip", reason=str(error))
        return self._step(tried, "new" if self._changed(before, tried) else "old")

    def _step(self, tried: _Tried, outcome: Outcome) -> Attempt:
        return Attempt(
            commit=tried.commit,
            outcome=outcome,
            objects=objects(tried.measurement),
            growth=tried.measurement.growth,
            built=tried.built,
            measured=tried.measured,
        )

    def _changed(self, before: _Tried, after: _Tried) -> bool:
        old, new = before.measurement, after.measurement
        if self.question.what == "class":
            return old.growth != new.growth
        if self.question.what == "fingerprint":
            return set(old.fingerprints) != set(new.fingerprints)
        pairs, gaps = match([old], [new])
        (row,) = judge(pairs) or (None,)
        if row is None:
            raise FaultError(gaps[0].reason)
        return OBJECTS.name in row.told

    def _measured(self, commit: Commit) -> _Tried:
        if commit.sha in self.tried:
            return self.tried[commit.sha]
        ready = self._building(commit).result()
        question, started = self.question, time.monotonic()
        request = CellRequest((question.scenario,), (question.cell,), worker=question.worker, jobs=1)
        silent = Progress(lambda _: None, lambda _: None)
        ((measurement,),) = engine.run(self.project, [ready.prepared], request, silent)
        if measurement.status != "measured":
            raise _UnmeasuredError(measurement.reason or measurement.status)
        seconds = time.monotonic() - started
        tried = self.tried[commit.sha] = _Tried(commit, ready.prepared, ready.built, seconds, measurement)
        return tried

    def _building(self, commit: Commit) -> Future[_Built]:
        if commit.sha not in self.building:
            self.building[commit.sha] = self.pool.submit(self._built, commit)
        return self.building[commit.sha]

    def _built(self, commit: Commit) -> _Built:
        started = time.monotonic()
        prepared = self._prepared(commit)
        self._importable(prepared)
        return _Built(commit, prepared, time.monotonic() - started)

    def _prepared(self, commit: Commit) -> Prepared:
        name = self.question.package
        label = f"{name}{AT}{self.question.repository}"
        wheel = sources.kept(name, commit.tree, self.interpreter, label)
        if wheel is None:
            with self.clone.checkout(commit) as tree:
                wheel = self._wheel(tree, commit)
        release = self.release or sources.release(wheel)
        if reason := release.why_not(self.interpreter.name or self.interpreter.minor):
            raise UnavailableError(reason)
        pins = tuple(pin for pin in self.question.stack.pins if pin.name != name)
        minor = self.interpreter.minor
        wanted = locks.side(self.project, release, minor, pins, (wheel,), extras=self.extras)
        lock = self._lock(wanted)
        return Prepared(release, self.interpreter, locks.on(lock, self.interpreter.python))

    def _wheel(self, tree: Path, commit: Commit) -> Wheel:
        name = self.question.package

        def built(source: Path) -> Wheel:
            try:
                return sources.build(name, str(source), self.interpreter, key=commit.tree)
            except OutliveError as error:  # do not name the temporary folder of the checkout
                raise type(error)(str(error).removeprefix(f"{name}{AT}{source}: ")) from None

        try:
            return built(tree)
        except BuildError:
            if not (tree / ".gitmodules").exists():
                raise
        with temporary.folder() as folder:  # some refuse a checkout without its submodules
            bare = folder.resolve() / tree.name
            copy_tree(tree, bare, lambda _, names: [name for name in names if name == ".git"], commit.short)
            return built(bare)

    def _lock(self, wanted: LockInput) -> Lock:
        prefer = self.basis.packages if self.basis else ()
        leave = {self.question.package, self.question.stack.framework}
        prefer = tuple(package for package in prefer if package.name not in leave)
        return locks.kept(lambda: locks.resolve(wanted, self.until, prefer), Lock, wanted, self.until, prefer)


@contextlib.contextmanager
def _an_end(commit: Commit) -> Iterator[None]:
    """Name the commit, an end of the search, in errors."""
    try:
        yield
    except OutliveError as error:
        raise type(error)(f"{commit.short}, an end of the search: {error}") from None


def objects(measurement: Measurement) -> float | None:
    """Return the survivors per request of a cell, or under a collector the leaked objects."""
    survivors = measurement.survivors_per_request
    return measurement.leaked_per_request if survivors is None else survivors
