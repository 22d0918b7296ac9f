"""`outlive load`: load-test a release with many clients, as a deployment would serve it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from outlive.commands.parts.own import AppOption, app_options, stacks_named
from outlive.commands.parts.progress import loads
from outlive.commands.parts.selection import gc_policy, load_extra, practice_option, sender, traffic_options
from outlive.commands.parts.writing import file_option, writing_options
from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.loads import plan
from outlive.loads import text as report
from outlive.loads.plan import LoadTest
from outlive.loads.store import LoadStore
from outlive.project import shown
from outlive.records.load import GRACEFUL_TIMEOUT, Deployment, LoadDocument, LoadMeasurement, Traffic
from outlive.records.measurement import ASKED, Connection
from outlive.replay.store import provenance
from outlive.service import app as apps
from outlive.service import remedies
from outlive.stacks.prepare import prepare
from outlive.tables import output, whole
from outlive.wording import one_line

DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s?)?")
SECONDS = 30.0
"""Default seconds of a load test without --requests."""


def duration(text: str) -> float:
    """Return the seconds of a duration such as `30s`, `2h` or `1h30m`. Raises UsageError for other texts."""
    match = DURATION.fullmatch(text)
    hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0)
    total = 3600.0 * hours + 60 * minutes + seconds
    if not total:
        raise UsageError(f"{one_line(text)!r} is not a duration, as in 30s, 10m, 2h or 1h30m")
    return total


@click.command("load")
@click.argument("stack", required=False, metavar="FRAMEWORK==VERSION")
@app_options
@click.option(
    "--gc", "policies", multiple=True, type=gc_policy, metavar="POLICY", help="gc policy. [default: on]"
)
@click.option(
    "--worker-class", "names", multiple=True, metavar="NAME", help="gunicorn worker, by its name in app.toml."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="gunicorn's workers."
)
@click.option("--preload", is_flag=True, help="Load the app before forking (gunicorn --preload).")
@click.option(
    "--max-requests", type=click.IntRange(0), default=0, help="Replace a worker after this many requests."
)
@click.option(
    "--graceful-timeout",
    type=click.IntRange(1, 86_400),
    default=GRACEFUL_TIMEOUT,
    show_default=True,
    help="Seconds for a replaced worker to finish its requests.",
)
@traffic_options
@click.option(
    "--scenario", "patterns", multiple=True, metavar="PATTERN", help="Only these scenarios of the mix."
)
@click.option("--connection", type=click.Choice(ASKED), default="keep-alive", show_default=True)
@click.option("--duration", type=duration, metavar="TIME", help="How long to send, as in 30s, 10m or 2h.")
@click.option(
    "--processes", type=click.IntRange(1, 64), default=1, show_default=True, help="locust's processes."
)
@click.option("--python", metavar="X.Y", help="Python for a stack that names none.")
@click.option(
    "--predict", is_flag=True, help="With gc off, also replay the same mix one request at a time and count."
)
@click.option("--fresh", is_flag=True, help="Do not continue an interrupted test.")
@practice_option
@file_option("--html", "Also write a page with plots over time.")
@writing_options
def load_command(
    *,
    stack: str | None,
    app: AppOption | None,
    policies: tuple[str, ...],
    names: tuple[str, ...],
    user: str | None,
    patterns: tuple[str, ...],
    connection: Connection,
    clients: int,
    requests: int | None,
    duration: float | None,
    rate: float | None,
    processes: int,
    python: str | None,
    practices: tuple[str, ...],
    predict: bool,
    fresh: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    html_file: Path | None,
    **deployed: Any,
) -> int:
    """Load-test a release with many clients and many errors.

    By default two fifths of the requests fail.

    The same command continues an interrupted test. Several policies or worker classes are tested in turn and
    shown side by side. `outlive report` turns stored records into a page.

    \b
    outlive load flask==3.1.3 --gc on --gc off --gc freeze --requests 20000
    outlive load aiohttp==3.14.5 --worker-class uvloop --workers 2 --preload --rate 300
    outlive load flask==3.1.3 --gc off --duration 2h --html load.html
    outlive load --app . --user locustfile.py --duration 10m
    """  # noqa: D301 - click's mark for lines that stay as they are
    with load_extra():
        from outlive.loads.run import run  # noqa: PLC0415 - what it needs comes with an extra

    project, (named_stack, *_) = stacks_named(app, [stack] if stack else [])
    if requests and duration:
        raise UsageError("--requests and --duration exclude each other: one of them ends the test")
    traffic = Traffic(
        user=sender(project, named_stack.framework, user),
        clients=clients,
        requests=requests,
        seconds=None if requests else duration or SECONDS,
        rate=rate,
        workers=processes,
        scenarios=patterns,
        connection=connection,
    )
    practice = remedies.practices(project, named_stack.framework, practices)
    prepared = prepare(project, named_stack, python, practice)
    served = apps.load(project, prepared.release.framework)
    chosen = [served.named(name) for name in names] or [served.worker(connection) or served.workers[0]]
    measurements: list[LoadMeasurement] = []
    stacks = []
    paths: list[Path] = []
    tests = [*itertools.product(chosen, dict.fromkeys(policies or ("on",)))]
    with loads(traffic, len(tests)) as progress:
        for worker, policy in tests:
            deployment = Deployment(worker=worker.name, gc=policy, **deployed)
            test = LoadTest(prepared, deployment, traffic)
            stack_record = plan.recorded(project, test).record
            store = LoadStore(project, stack_record, prepared.remedy)
            earlier = None if fresh else store.unfinished(deployment, traffic)
            if earlier is not None:
                click.echo(f"continuing the test that began at {earlier.segments[0].started}", err=True)
            measurements.append(
                run(
                    project,
                    test,
                    earlier=earlier,
                    watch=progress.test(f"gc {policy}", traffic),
                    predictions=plan.predictions(project, test),
                    replayed=predict,
                )
            )
            stacks.append(stack_record)
            if measurements[-1].samples:
                paths.append(store.path(measurements[-1]))
    console = output()
    report.show(measurements, console)
    for path in paths:
        whole(console, f"record: {shown(path)}", "dim")
    if json_file:
        recorded = provenance(dict.fromkeys(stacks))
        document = LoadDocument(provenance=recorded, measurements=tuple(measurements))
        write_text(json_file, document.to_json())
    if markdown_file:
        write_text(markdown_file, report.render(measurements))
    if html_file:
        from outlive.pages import load_view  # noqa: PLC0415 - templates take a tenth of a second to import

        write_text(html_file, load_view.html(measurements))
    return code(measurements)


def code(measurements: Sequence[LoadMeasurement]) -> int:
    """Return the exit code: a fault if any test failed, unavailable if none was possible."""
    statuses = {measurement.status for measurement in measurements}
    if "failed" in statuses:
        return ExitCode.FAULT
    return ExitCode.UNAVAILABLE if statuses == {"unsupported"} else ExitCode.FINE
