"""`outlive gate`: run the gate for each release, then show and write its verdict."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from outlive.api.selection import stack_of
from outlive.applications.settings import LIMITS
from outlive.commands.parts.own import AppOption, app_options
from outlive.commands.parts.progress import loads, progress
from outlive.commands.parts.selection import (
    gc_policy,
    load_extra,
    scheduler_option,
    selecting_options,
    worker_option,
)
from outlive.commands.parts.writing import file_option, json_option, write_json
from outlive.errors import ExitCode, UsageError
from outlive.files import write_text
from outlive.gates import accept as accepting
from outlive.gates import limits
from outlive.gates import run as gate
from outlive.gates.junit_sarif import junit, sarif
from outlive.gates.run import Gate, GateDocument, Wanted
from outlive.gates.text import show, summary
from outlive.project import Project
from outlive.records.load import Traffic
from outlive.records.measurement import Connection
from outlive.records.stack import AT, Stack, is_stack
from outlive.releases.catalogue import Catalogue
from outlive.replay.store import provenance
from outlive.service import app as apps
from outlive.stacks.prepare import Prepared, check_withdrawn, prepare
from outlive.tables import output
from outlive.wording import counted

CERTAIN = ("within", "over", "under", "unsupported")
"""Outcomes of cells that can become limits."""


@click.command("gate")
@click.argument("what", nargs=-1, metavar="FRAMEWORK[==VERSION] [VERSION…]")
@app_options
@click.option("--gc", "policy", required=True, type=gc_policy, metavar="POLICY", help="on, off, freeze, …")
@selecting_options
@worker_option
@scheduler_option
@click.option("--load", "under_load", is_flag=True, help="Check what is left after concurrent load.")
@click.option("--unreleased", "source", metavar="PATH|URL", help="Gate this wheel, sdist or source tree.")
@click.option(
    "--limits",
    "limits_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Your own limits file.",
)
@click.option("--accept", is_flag=True, help="Write the measured counts as new limits, for review.")
@click.option("--prove", metavar="STACK", help="Also check this known-bad release, which must fail.")
@click.option("--plant", is_flag=True, help="Keep the planted leak, to see the gate fail.")
@click.option("--allow-yanked", is_flag=True, help="Allow withdrawn releases.")
@json_option
@file_option("--junit", "Also write JUnit XML.")
@file_option("--sarif", "Also write SARIF 2.1.0.")
@file_option("--summary", "Also write Markdown. [default: $GITHUB_STEP_SUMMARY, if set]")
def gate_command(
    *,
    what: tuple[str, ...],
    app: AppOption | None,
    policy: str,
    patterns: tuple[str, ...],
    connections: tuple[Connection, ...],
    python: str | None,
    worker: str | None,
    under_load: bool,
    source: str | None,
    limits_file: Path | None,
    accept: bool,
    prove: str | None,
    plant: bool,
    allow_yanked: bool,
    jobs: int,
    scheduler: str | None,
    **files: Path | None,
) -> int:
    """Check releases of a framework against its reviewed limits.

    The gate checks the newest release, or the releases that you name.

    \b
    outlive gate flask --gc off
    outlive gate aiohttp==3.14.5 --gc on --scenario not-found --python 3.11
    outlive gate --app . --gc off
    outlive gate flask --gc off --unreleased dist/flask-3.2.0-py3-none-any.whl

    Exit codes: 0 within the limits, 1 over or under a limit, or a stale limit, 2 usage, 3 a count did not
    repeat, 4 a fault, or the gate failed its own proof, 5 yanked.
    """  # noqa: D301 - click's mark for lines that stay as they are
    if accept and plant:
        raise UsageError("--accept and --plant exclude each other: a planted leak is no limit")
    if under_load and (accept or prove or scheduler or len(connections) > 1):
        raise UsageError("--load takes one connection, and excludes --accept, --prove and --scheduler")
    if limits_file and not limits_file.exists() and not accept:
        raise UsageError(f"--limits {limits_file}: there is no such file; --accept writes it")
    project, stacks = _project_and_stacks(app, what, source, prove)
    if app:
        limits_file = limits_file or app.folder / LIMITS
    elif accept and not limits_file:
        _renewable(project, worker)
    wanted = Wanted.of(
        project, patterns, connections, gc=policy, jobs=jobs, worker=worker, scheduler=scheduler, plant=plant
    )
    bad = Stack.parse(prove) if prove else None
    reviewed = limits.load(project, stacks[0].framework, wanted.known, file=limits_file)
    packages = apps.packages(project, stacks[0].framework, worker)
    prepared = [prepare(project, named, python, packages=packages) for named in stacks]
    if not allow_yanked:
        for stack in prepared:
            check_withdrawn(stack.release)
    gates: list[Gate] = []
    console = output()
    app_words = [(*app.words, *filter(None, [word])) for word in what or ("",)] if app else [()] * len(stacks)
    for named, stack, words in zip(stacks, prepared, app_words, strict=True):
        source = named.release.removeprefix(AT) if named.release.startswith(AT) else None
        if under_load:
            result = _under_load(project, stack, wanted, reviewed, source)
        else:
            with progress() as callbacks:
                result = gate.run(project, stack, wanted, reviewed, callbacks, source=source)
        result = msgspec.structs.replace(result, pins=named.pins, allow_yanked=allow_yanked, app=words)
        if bad:
            with progress() as callbacks:
                result = gate.replay(project, result, bad, wanted, limits=reviewed, progress=callbacks)
        if gates:
            console.print()
        show(result, console, accepting=accept)
        gates.append(result)
    code = gate.code(gates)
    _write(gates, code, **files)
    file = limits_file or limits.limits_path(project, stacks[0].framework)
    return _accepted(project, reviewed, gates, wanted, file) if accept else code


def _under_load(
    project: Project, prepared: Prepared, wanted: Wanted, reviewed: limits.Limits, source: str | None
) -> Gate:
    with load_extra():
        from outlive.gates import load as loadgate  # noqa: PLC0415 - what it needs comes with an extra
    with loads(Traffic(requests=loadgate.TOTAL), 1) as whole:
        return loadgate.run(project, prepared, wanted, reviewed, whole.test, source=source)


def _project_and_stacks(
    app: AppOption | None, words: Sequence[str], source: str | None, prove: str | None
) -> tuple[Project, list[Stack]]:
    """Return the project and the stacks to check. Raises UsageError."""
    if app is None:
        project = Project.find()
        return project, _stacks(project, words, source)
    if source or prove:
        raise UsageError("--unreleased and --prove work with releases of a framework, not with --app")
    return app.one(words)


def _renewable(project: Project, worker: str | None) -> None:
    """Raise UsageError if `--accept` must not write the framework's limits."""
    if worker:
        raise UsageError("--accept with --worker needs --limits FILE: the framework's are not for one worker")
    project.renewable("--accept without --limits FILE")


def _stacks(project: Project, words: Sequence[str], source: str | None) -> list[Stack]:
    """Return the stacks that the words name; without a version, the newest release of the framework."""
    if not words:
        raise UsageError("name a framework, or your own application with --app")
    first, *versions = words
    if source and (versions or is_stack(first)):
        raise UsageError("--unreleased takes the framework's name alone: its version is that of the file")
    if source:
        return [Stack(first, AT + source)]
    named = [] if versions and not is_stack(first) else [stack_of(project, first)]
    framework = named[0].framework if named else first
    return [*named, *(Stack.parse(f"{framework}=={version}") for version in versions)]


def _write(
    gates: Sequence[Gate],
    code: int,
    *,
    json_file: Path | None,
    junit_file: Path | None,
    sarif_file: Path | None,
    summary_file: Path | None,
) -> None:
    stacks = provenance([result.stack for result in gates])
    write_json(json_file, GateDocument(provenance=stacks, exit_code=code, gates=tuple(gates)))
    for file, text in ((junit_file, junit), (sarif_file, sarif), (summary_file, summary)):
        if file:
            write_text(file, text(gates))
    if not summary_file and (step := os.environ.get("GITHUB_STEP_SUMMARY")):
        with Path(step).open("a", encoding="utf-8") as stream:  # after the summaries of earlier commands
            stream.write(summary(gates))


def _accepted(
    project: Project, reviewed: limits.Limits, gates: Sequence[Gate], wanted: Wanted, file: Path
) -> int:
    """Write the measurements as limits to `file`, unless a cell is in doubt; return the exit code."""
    code = gate.code(gates)
    doubtful = [cell for result in gates for cell in result.cells if cell.outcome not in CERTAIN]
    if doubtful or not all(control.seen for result in gates for control in result.controls):
        click.echo(f"not accepted: {counted(len(doubtful), 'cell')} in doubt; the limits are as they were")
        return code if code != ExitCode.REGRESSION else ExitCode.INCONCLUSIVE
    framework = gates[0].stack.framework
    releases = [release.version for release in Catalogue.load(project, framework).releases]
    measurements = [cell.measurement for result in gates for cell in result.cells]
    new = accepting.accept(reviewed, measurements, releases, wanted.known, wanted.today)
    if new == reviewed and not reviewed.text:
        click.echo(f"nothing to accept: no request leaves anything, and without {reviewed.path} none may")
    elif new == reviewed:
        click.echo(f"{reviewed.path} is as measured")
    else:
        write_text(file, new.text)
        click.echo(f"{reviewed.path} written: review it, and explain in each `reason` why it is acceptable")
    return ExitCode.FINE
