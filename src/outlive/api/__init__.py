"""The verbs as functions: they take stacks and options, and return records. See docs/api.md.

No function prints or needs a terminal. All of them raise the errors of `outlive.errors`: UsageError for
unknown names, FaultError if the harness or an environment fails, UnavailableError for a release that
cannot be installed or is yanked. Options that several functions take are in `Options`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypedDict, Unpack, get_args

from msgspec.structs import replace

from outlive.api import evidence
from outlive.api.explained import ExplanationDocument, explained
from outlive.api.selection import Selection, stack_of
from outlive.applications import opened as applications
from outlive.applications.opened import State
from outlive.applications.settings import LIMITS
from outlive.comparison.sizes import Rates
from outlive.errors import UsageError
from outlive.gates import limits as reviewed_limits
from outlive.gates import run as gating
from outlive.gates.run import Gate
from outlive.history.lifelines import LifeLinesDocument
from outlive.history.stored import lifelines
from outlive.loads.plan import LoadTest
from outlive.project import Project
from outlive.records.load import Deployment, LoadMeasurement, Traffic, Watch
from outlive.records.measurement import CONNECTIONS, Connection, Document
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.engine import SILENT, Progress
from outlive.replay.explanation.allocations import Tracer
from outlive.replay.store import provenance
from outlive.reports import record
from outlive.reports.record import Report
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.stacks.prepare import check_withdrawn, prepare
from outlive.wording import listed, one_line

States = Callable[[Sequence[str], Sequence[str]], list[State]]
"""Returns the states of an application that words and requirements files name."""
SECONDS = 30.0
"""Default seconds of a load test."""
ELSEWHERE = ("python", "app", "requirements", "project", "progress")
"""Options that select nothing: they say what is opened, and who is told."""


class Options(TypedDict, total=False):
    """What to measure, and how; the defaults are those of the command line.

    `scenarios` are names or patterns (`"*-error"`) in `set` (`default`, `extended` or `all`). `connections`
    and `gc` are kinds of connection and gc policies. `python` is a version (`"3.11"`) or a path, `worker` a
    name in app.toml. `fresh` measures again what is stored; `jobs` is how many servers run at once. With
    `sensitivity` N, a leak of one object in N requests is found. `practices` are applied to the app, each
    `"FILE.py:function"` or the name of a built-in one. `scheduler` is the address or file of a Dask
    scheduler whose workers measure. `app` is the folder of your own application: stacks are then states of
    it, as with `--app` on the command line (`""` is the present one), with the files in `requirements`.
    `project` is a checkout, by default that of the current folder: `outlive.project.Project.find(folder)`.
    `progress` is told of each measurement: `outlive.replay.engine.Progress(done=print)`. Other options,
    values that an option does not take, and options that a function cannot heed raise UsageError.
    """

    scenarios: Sequence[str]
    set: scenarios.Set | None
    connections: Sequence[Connection]
    gc: Sequence[str]
    python: str | None
    worker: str | None
    fresh: bool
    jobs: int
    sensitivity: int | None
    scheduler: str | None
    practices: Sequence[str]
    app: str | Path | None
    requirements: Sequence[str]
    project: Project | None
    progress: Progress


def measure(*stacks: str, **options: Unpack[Options]) -> Document:
    """Return the exact measurements of each stack: what it leaves in memory per request, cell by cell.

    >>> document = outlive.measure("flask==3.1.3", scenarios=["not-found"], gc=["off"])
    >>> document.measurements[0].survivors_per_request  # gc-tracked objects
    """
    selection = _selection(options)
    with _opened(stacks, options) as (project, named):
        prepared = [selection.prepared(project, stack, options.get("python")) for stack in named]
        by_stack = engine.run(project, prepared, selection.request(project), options.get("progress", SILENT))
    return Document(
        provenance=provenance([stack.record for stack in prepared]),
        measurements=tuple(itertools.chain.from_iterable(by_stack)),
    )


def compare(before: str, after: str, *, rates: Rates | None = None, **options: Unpack[Options]) -> Report:
    """Return what changes from one stack to another: the verdict, the rows, and the costs at `rates`.

    >>> report = outlive.compare("aiohttp==3.11.13", "aiohttp==3.11.14", gc=["off"])
    >>> report.comparison.headline, report.comparison.rows[0].direction
    """
    with _compared(before, after, rates, options) as (_, compared):
        return compared


def report(
    before: str, after: str, *, rates: Rates | None = None, **options: Unpack[Options]
) -> tuple[Report, Path]:
    """Write a report as HTML, Markdown and JSON; return what `compare` returns, and the path of the page."""
    from outlive.pages import write  # noqa: PLC0415 - templates take a tenth of a second to import

    with _compared(before, after, rates, options) as (project, compared):
        return write.write(project, compared)


def explain(
    stack: str,
    scenario: str,
    *,
    connection: Connection = "close",
    tracers: Sequence[Tracer] = (),
    **options: Unpack[Options],
) -> ExplanationDocument:
    """Return the references that keep alive what a scenario leaves; with `tracers`, also its allocations.

    `gc` is a single policy, by default `off`; with `on`, only leaked objects are explained. One server runs,
    whatever `jobs` is.

    >>> document = outlive.explain("flask==2.3.3", "not-found")
    >>> document.analysis.structures[0].fingerprint
    """
    selection = _selection(options, "scenarios", "set", "connections", "sensitivity", "scheduler")
    _check_word("connection", connection, CONNECTIONS)
    for tracer in tracers:
        _check_word("tracer", tracer, get_args(Tracer))
    with _opened((stack,), options) as (project, (named,)):
        return explained(
            project,
            named,
            scenario,
            connection=connection,
            policy=_policy(selection),
            practices=selection.practices,
            tracers=tracers,
            python=options.get("python"),
            worker=selection.worker,
            fresh=selection.fresh,
            progress=options.get("progress", SILENT),
        ).document


def load(
    stack: str,
    traffic: Traffic | None = None,
    *,
    deployment: Deployment | None = None,
    python: str | None = None,
    app: str | Path | None = None,
    project: Project | None = None,
    watch: Watch | None = None,
) -> LoadMeasurement:
    """Put a release under load, and return its memory in bytes, and pauses and latencies in seconds.

    `traffic` is by default half a minute of the user ErrorHeavy. `deployment` is by default one worker of
    the app's first class with gc on. With `app`, the stack is a state of that application, and its own user
    is the default. `watch` is called each second with the latest sample. Needs the extra `load`.

    >>> record = outlive.load("flask==3.1.3", Traffic(requests=2000), deployment=Deployment(worker="gthread"))
    >>> record.growth
    """
    from outlive.loads.run import run  # noqa: PLC0415 - what it needs comes with an extra

    with _opened((stack,), {"app": app, "project": project}) as (opened, (named,)):
        prepared = prepare(opened, named, python)
        served = apps.load(opened, prepared.release.framework)
        if traffic is None:
            traffic = Traffic(seconds=SECONDS)
            traffic = replace(traffic, user=(served.own.user if served.own else "") or traffic.user)
        if deployment is None:
            deployment = Deployment(worker=(served.worker(traffic.connection) or served.workers[0]).name)
        return run(opened, LoadTest(prepared, deployment, traffic), watch=watch or (lambda _: None))


def gate(
    stack: str,
    *,
    limits: str | Path | None = None,
    plant: bool = False,
    allow_yanked: bool = False,
    **options: Unpack[Options],
) -> Gate:
    """Measure a release now, whatever `fresh` is; return the verdict of a gate that proved that it can fail.

    `stack` can be the name of a framework, which means its newest release. `limits` is a file to use instead
    of the framework's limits or the application's `outlive-limits.toml`. `gc` is a single policy, by default
    `off`. Raises UnavailableError for a yanked release, unless `allow_yanked`.

    >>> outlive.gate("flask", gc=["off"]).code  # an ExitCode
    """
    selection = _selection(options, "set", "sensitivity", "practices")
    if limits and not Path(limits).exists():
        raise UsageError(f"limits {limits}: there is no such file")
    app = options.get("app")
    word = stack if app is not None else str(stack_of(_project(options), stack))
    with _opened((word,), options) as (project, (named,)):
        wanted = gating.Wanted.of(
            project,
            selection.patterns,
            selection.connections,
            gc=_policy(selection),
            jobs=selection.jobs,
            worker=selection.worker,
            scheduler=selection.scheduler,
            plant=plant,
        )
        packages = apps.packages(project, named.framework, wanted.worker)
        prepared = prepare(project, named, options.get("python"), packages=packages)
        if not allow_yanked:
            check_withdrawn(prepared.release)
        file = Path(limits) if limits else Path(app) / LIMITS if app else None
        reviewed = reviewed_limits.load(project, named.framework, wanted.known, file=file)
        return gating.run(project, prepared, wanted, reviewed, options.get("progress", SILENT))


def leaks(
    framework: str = "",
    *,
    app: str | Path | None = None,
    python: str | None = None,
    project: Project | None = None,
) -> LifeLinesDocument:
    """Return the releases in which each leak and ring appeared, changed and disappeared, from stored results.

    With `app`, the releases are the measured states of that application. `python` selects the results on
    one Python.

    >>> [line.fingerprint for line in outlive.leaks("aiohttp").lines]
    """
    if app is None:
        return lifelines(project or Project.find(), framework, python)[0]
    with _opened((), {"app": app, "project": project}) as (opened, (stack,)):
        return lifelines(opened, stack.framework, python)[0]


@contextlib.contextmanager
def _opened(
    words: Sequence[str], options: Options, states: States = applications.one_each
) -> Iterator[tuple[Project, list[Stack]]]:
    """Yield the project and the stacks that the words name; with an `app`, its project and `states`."""
    project, app = _project(options), options.get("app")
    for word in words:
        if not isinstance(word, str):
            raise UsageError(f"{one_line(repr(word))} is not a stack: write it as in flask==3.1.3")
    if app is None:
        if not words:
            raise UsageError("name at least one stack, as in flask==3.1.3")
        if options.get("requirements"):
            raise UsageError("requirements are those of an application: name its folder as app")
        yield project, [Stack.parse(word) for word in words]
    else:
        named = states(words, options.get("requirements", ()))
        with applications.opened(Path(app), project, named) as application:
            yield application


@contextlib.contextmanager
def _compared(
    before: str, after: str, rates: Rates | None, options: Options
) -> Iterator[tuple[Project, Report]]:
    """Yield the open project, and the comparison of two stacks."""
    selection = _selection(options)
    with _opened((before, after), options, applications.two) as (project, (first, second)):
        measured = evidence.measured(
            project,
            (first, second),
            options.get("python"),
            selection,
            options.get("progress", SILENT),
            words=_app_words(before, after, options),
        )
        facts = record.facts(project, measured.after.stack.framework)
        yield project, record.build(measured, facts, rates or Rates())


def _app_words(before: str, after: str, options: Options) -> tuple[str, ...]:
    """Return the command-line words that name two states of an application; none without an `app`."""
    if (app := options.get("app")) is None:
        return ()
    files = (word for file in options.get("requirements", ()) for word in ("--requirements", file))
    return ("--app", str(app), *files, *filter(None, (before, after)))


def _policy(selection: Selection) -> str:
    """Return the requested gc policy, by default off. Raises UsageError for several."""
    policies = selection.policies or ("off",)
    if len(policies) != 1:
        raise UsageError(f"it takes one gc policy, not {len(policies)}")
    return policies[0]


def _check_word(name: str, word: str, words: Sequence[str]) -> None:
    """Raise UsageError for a word that is none of the words."""
    if word not in words:
        raise UsageError(f"no {name} {word!r}; there are {listed(words)}")


def _project(options: Options) -> Project:
    return options.get("project") or Project.find()


def _selection(options: Options, *ignored: str) -> Selection:
    """Return what the options select. Raises UsageError as `Selection.of` does."""
    return Selection.of({name: value for name, value in options.items() if name not in ELSEWHERE}, ignored)
