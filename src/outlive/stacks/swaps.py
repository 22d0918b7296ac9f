"""Swaps: the way from one stack to another in stages, one package or the Python at a time.

Each stage is a stack that can be installed and imported. A package that cannot be swapped alone, because a
release does not allow it, is swapped together with what allows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from outlive.errors import UnavailableError
from outlive.project import Project
from outlive.records.stack import Package
from outlive.releases import frameworks
from outlive.stacks import controlled, environments, locks
from outlive.stacks.locks import Lock
from outlive.stacks.prepare import Prepared
from outlive.stacks.pythons import Interpreter
from outlive.wording import NO_VERSION, step


class Stage(msgspec.Struct, frozen=True):
    """A stack on the way, and how it differs from the stage before it, as in `yarl 1.9.4 → 1.18.0`.

    `joined` gives the reasons why packages that are swapped together could not be swapped alone.
    """

    stack: Prepared
    swapped: tuple[str, ...]
    joined: tuple[str, ...] = ()


def stages(project: Project, before: Prepared, after: Prepared) -> tuple[Stage, ...]:
    """Return the stages: `before`, then the Python and each dependency swapped in turn, then `after`.

    The environments of the stages in between are built to see whether they work. Raises as
    `environments.ensure` does, and FaultError if the index cannot be reached.
    """
    way = [Stage(before, ())]
    refused: list[str] = []
    for stack in (*_between(project, before, after), after):
        if isinstance(stack, str):
            refused.append(stack)
        elif swapped := differences(way[-1].stack, stack):
            way.append(Stage(stack, swapped, tuple(dict.fromkeys(refused)) if len(swapped) > 1 else ()))
            refused.clear()
    return tuple(way)


def differences(before: Prepared, after: Prepared) -> tuple[str, ...]:
    """Return the differences between two stacks as texts: the Python first, then packages by name."""
    python = step(before.lock.python, after.lock.python)
    return (
        *([f"Python {python}"] if before.lock.python != after.lock.python else []),
        *(
            f"{name} {step(old or NO_VERSION, new or NO_VERSION)}"
            for name, old, new in before.lock.apart(after.lock)
        ),
    )


def _between(project: Project, before: Prepared, after: Prepared) -> Iterator[Prepared | str]:
    """Yield the stacks between `before` and `after` that work, and why others do not."""
    old, new = before.lock.versions, after.lock.versions
    dependencies = [
        name for name in old if name != before.release.framework and new.get(name, old[name]) != old[name]
    ]
    names: list[str | None] = [None] if before.lock.python != after.lock.python else []
    names += dependencies
    if before.release == after.release:
        names = names[:-1]  # the last swap would make `after` itself
    interpreter = before.interpreter
    pins: dict[str, Package] = {}
    stack = before
    for name in names:
        if name is None:
            interpreter = after.interpreter
        else:
            pins[name] = Package(name, new[name])
        trial = _trial(project, (before, after), pins, interpreter, stack.lock)
        if isinstance(trial, Prepared) and (reason := _unusable(project, trial, pins)):
            trial = reason
        stack = stack if isinstance(trial, str) else trial
        yield trial


def swapped(project: Project, before: Prepared, after: Prepared, name: str) -> Prepared | None:
    """Return `before` with one package in the version of `after`, or None if a release does not allow it.

    Nothing is installed: what it leaves can be stored. Raises FaultError if the index cannot be reached.
    """
    pins = {name: Package(name, after.lock.versions[name])}
    trial = _trial(project, (before, after), pins, before.interpreter, before.lock)
    return None if isinstance(trial, str) else trial


def _trial(
    project: Project,
    ends: tuple[Prepared, Prepared],
    pins: Mapping[str, Package],
    interpreter: Interpreter,
    model: Lock,
) -> Prepared | str:
    """Return the first end's release with these pins, otherwise as in `model`, or why there is none."""
    release, remedy = ends[0].release, ends[0].remedy
    gunicorn = Package("gunicorn", ends[0].lock.versions["gunicorn"])
    wanted = ({"gunicorn": gunicorn} | dict(pins)).values()
    wheels = {wheel.package: wheel for end in ends for wheel in end.lock.wheels}
    moments = [end.lock.until for end in ends if end.lock.until]
    until = max(moments) if len(moments) == 2 else None
    prefer = tuple(package for package in model.packages if package.name != model.framework)
    side = locks.side(
        project,
        release,
        interpreter.minor,
        tuple(pin for pin in wanted if pin not in wheels),
        tuple(wheels[pin] for pin in wanted if pin in wheels),
        extras=ends[0].extras,
    )
    try:
        lock = locks.kept(lambda: locks.resolve(side, until, prefer), Lock, side, until, prefer)
    except UnavailableError as error:
        versions, minor = model.versions, interpreter.minor
        reasons = (controlled.refusal(str(error), pin, versions, minor) for pin in pins.values())
        return next(filter(None, reasons), str(error))
    return Prepared(release, interpreter, locks.on(lock, interpreter.python), remedy, ends[0].extras)


def _unusable(project: Project, trial: Prepared, pins: Mapping[str, Package]) -> str | None:
    """Return why a stack cannot be imported, or None if it can. Its environment is built."""
    environment = environments.ensure(trial.lock, trial.interpreter)
    modules = frameworks.load(project, trial.release.framework).modules
    complaint = environments.import_error(environment, modules)
    if complaint is None:
        return None
    swaps = [f"{pin.name} {pin.version}" for pin in pins.values()] or [f"Python {trial.interpreter.minor}"]
    return f"{trial.release} cannot be imported with {', '.join(swaps)}: {complaint}"
