"""Where cells are measured: in this process, or by the workers of a Dask scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from outlive.errors import FaultError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.replay.measure import measure
from outlive.replay.subject import Task
from outlive.service.scenarios import Scenario
from outlive.stacks import environments
from outlive.stacks.environments import Environment
from outlive.stacks.locks import Lock
from outlive.stacks.pythons import Interpreter

LOCAL = "local"
"""The scheduler with one worker process on this machine for each server that runs at once."""
WINDOW = 8
"""Releases that this process measures in one pool. A server can only be idle at the pool's end."""


class Place:
    """This process, which installs stacks and measures cells of `scenarios`, with `jobs` servers at once.

    `window` is how many stacks it takes at once, None for all.
    """

    window: int | None = WINDOW

    def __init__(self, scenarios: Iterable[Scenario], jobs: int) -> None:
        self.scenarios = scenarios
        self.jobs = jobs

    def install(self, lock: Lock, interpreter: Interpreter) -> Environment:
        """Return the environment of `lock` on `interpreter`. Raises as `environments.ensure` does."""
        return environments.ensure(lock, interpreter)

    def measure(self, tasks: Sequence[Task], done: Callable[[Measurement], object]) -> Iterable[Measurement]:
        """Return a measurement of each cell as `outlive.replay.measure.measure` does."""
        return measure(tasks, self.scenarios, self.jobs, done)


@contextmanager
def at(scheduler: str | None, project: Project, scenarios: Iterable[Scenario], jobs: int) -> Iterator[Place]:
    """Yield the workers of `scheduler`, or this process if it is None.

    Raises UsageError if `scheduler` names none, and FaultError if it or all its workers are unreachable, if
    they have another version of outlive or other data, or if the extra is not installed.
    """
    if scheduler is None:
        yield Place(scenarios, jobs)
        return
    try:
        from outlive.replay.cluster import workers  # noqa: PLC0415 - needs an extra
    except ModuleNotFoundError as error:
        raise FaultError(
            f"{error.name} is not installed: --scheduler needs it, as in pip install 'outlive[cluster]'"
        ) from None
    with workers.connected(scheduler, project, jobs) as cluster:
        yield cluster
