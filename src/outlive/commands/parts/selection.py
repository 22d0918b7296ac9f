"""The options that measuring verbs share, and what these ask of the engine."""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

from outlive.commands.parts.progress import progress
from outlive.errors import ExitCode, FaultError, UsageError
from outlive.project import Project
from outlive.records.gcpolicy import GcPolicy
from outlive.records.measurement import CONNECTIONS, Measurement, Tool, ToolReading
from outlive.replay import engine
from outlive.replay.explanation import tools
from outlive.replay.subject import Subject
from outlive.retention.growth import LEAST_SENSITIVITY, MOST_SENSITIVITY, SENSITIVITY, TO_COMPARE
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.service.users import USUAL
from outlive.stacks import environments
from outlive.stacks.prepare import Prepared
from outlive.wording import one_line

F = TypeVar("F", bound=Callable[..., Any])
JOBS = (os.cpu_count() or 1) + 1
"""Default of `--jobs`: servers that run at once."""


def sensitivity(text: str) -> int:
    """Return 1000 for `1/1000`, the requests per object. Raises UsageError for an unsupported sensitivity."""
    match = re.fullmatch(r"1/([0-9]{1,9})", text)
    if match and LEAST_SENSITIVITY <= int(match[1]) <= MOST_SENSITIVITY:
        return int(match[1])
    raise UsageError(
        f"--sensitivity takes an object for each N requests, from 1/{LEAST_SENSITIVITY} "
        f"to 1/{MOST_SENSITIVITY}, as in 1/1000, not {one_line(text)!r}"
    )


def gc_policy(text: str) -> str:
    """Return the gc policy as records spell it. Raises UsageError if the text is not one."""
    return str(GcPolicy.parse(text))


def several(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return a decorator that adds several options, which help lists in this order."""
    return lambda command: functools.reduce(lambda target, option: option(target), reversed(options), command)


worker_option = click.option("--worker", metavar="NAME", help="gunicorn worker, by its name in app.toml.")
scheduler_option = click.option(
    "--scheduler",
    metavar="ADDRESS|FILE",
    help=(
        "Dask scheduler whose workers measure, with --jobs servers each; `local` starts --jobs workers here."
    ),
)
practice_option = click.option(
    "--with-practice",
    "practices",
    multiple=True,
    metavar="FILE.py:FUNCTION",
    help="Function that changes the app, or the name of a built-in practice; repeatable.",
)
tool_option = click.option(
    "--with",
    "attached",
    multiple=True,
    type=click.Choice(tools.TOOLS),
    help="Also run with this tool attached, and show its findings.",
)
selecting_options = several(
    click.option(
        "--scenario",
        "patterns",
        multiple=True,
        metavar="PATTERN",
        help="Scenario; * and ? match several. [default: the whole set]",
    ),
    click.option(
        "--connection",
        "connections",
        multiple=True,
        type=click.Choice(CONNECTIONS),
        help="Kind of connection. [default: all but client-reset; with --set extended, all]",
    ),
    click.option("--python", metavar="X.Y", help="Python for stacks that name none."),
    click.option(
        "--jobs",
        type=click.IntRange(1, 64),
        default=JOBS,
        show_default=True,
        help="Servers to run at once; one more than cores, as some cells mostly wait.",
    ),
)
measuring_options = several(
    selecting_options,
    click.option(
        "--set",
        "chosen",
        type=click.Choice(scenarios.SETS),
        help="Set of scenarios. [default: default, or the set of the named scenarios]",
    ),
    click.option(
        "--sensitivity",
        type=sensitivity,
        metavar="1/N",
        help=(
            f"Smallest leak that is sure to be found, in objects per request. [default: 1/{TO_COMPARE} "
            f"for compare and report, else 1/{SENSITIVITY}]"
        ),
    ),
    click.option(
        "--gc",
        "policies",
        multiple=True,
        type=gc_policy,
        metavar="POLICY",
        help="on, off, freeze, periodic:N or thresholds:A,B,C. [default: on and off]",
    ),
    worker_option,
    click.option("--fresh", is_flag=True, help="Measure even what is stored."),
    scheduler_option,
)
traffic_options = several(
    click.option(
        "--user",
        metavar="NAME|FILE.py[:CLASS]",
        help=f"User whose mix is sent, from users.toml, or your own locustfile. [default: {USUAL}]",
    ),
    click.option(
        "--clients", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Concurrent clients."
    ),
    click.option(
        "--requests", type=click.IntRange(1), metavar="N", help="Exact number of requests in each load test."
    ),
    click.option(
        "--rate",
        type=float,
        metavar="R",
        help="Requests to send per second, whether or not earlier ones were answered.",
    ),
)
"""Options for what a load test sends."""


def sender(project: Project, framework: str, named: str | None) -> str:
    """Return the user that sends: the named one, else the application's own, else the usual one."""
    application = apps.load(project, framework).own
    return named or (application.user if application else "") or USUAL


def measured(
    project: Project, stacks: Sequence[Prepared], request: engine.CellRequest
) -> list[tuple[Measurement, ...]]:
    """Return the measurements of each stack, with progress on standard error."""
    with progress() as callbacks:
        return engine.run(project, stacks, request, callbacks)


def tool_readings(
    project: Project, stack: Prepared, request: engine.CellRequest, wanted: Sequence[Tool]
) -> tuple[ToolReading, ...]:
    """Return the readings of the wanted tools for each measured scenario and connection."""
    if not wanted:
        return ()
    framework = stack.release.framework
    environment = environments.ensure(stack.lock, stack.interpreter)
    served = engine.serving(project, framework, request.scenarios)
    by_name = {scenario.name: scenario for scenario in request.scenarios}
    readings: list[ToolReading] = []
    for name, connection in dict.fromkeys((cell.scenario, cell.connection) for cell in request.cells):
        if name in served:
            folder = project.apps / framework
            subject = Subject(environment, served[name].app, folder, request.worker, stack.remedy)
            readings += tools.run(subject, stack, by_name[name], connection, wanted)
    return tuple(readings)


@contextlib.contextmanager
def load_extra() -> Iterator[None]:
    """Run imports that need the extra `load`. Raises FaultError if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise FaultError(
            f"{error.name} is not installed: a load test needs it, as in pip install 'outlive[load]'"
        ) from None


def fault_code(measurements: Sequence[Measurement]) -> int:
    """Return the exit code: a fault if any cell failed; the report gives the reasons."""
    return ExitCode.FAULT if any(m.status == "failed" for m in measurements) else ExitCode.FINE


def all_measured(measurements: Iterable[Measurement]) -> int:
    """Return the exit code. Raises FaultError, with the reason, for the first cell that failed.

    For reports that do not give the reason of each failed cell, as `fault_code` expects.
    """
    for measurement in measurements:
        if measurement.status == "failed":
            remedy = f" with {measurement.remedy}" if measurement.remedy else ""
            raise FaultError(f"{measurement.scenario}{remedy} could not be measured: {measurement.reason}")
    return ExitCode.FINE
