"""`outlive compare … --load`: compare two stacks under the same load."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from outlive.api.selection import Selection
from outlive.commands.parts.progress import loads
from outlive.commands.parts.selection import load_extra, sender
from outlive.commands.parts.writing import write_json
from outlive.comparison.noisy import load_text as report
from outlive.comparison.noisy.load import LoadComparison, LoadComparisonDocument, Run, compare
from outlive.comparison.noisy.noise import LEAST_ROUNDS, ROUNDS
from outlive.comparison.noisy.rounds import Turn, order
from outlive.comparison.pair import Side
from outlive.errors import ExitCode, FaultError, UsageError
from outlive.files import write_text
from outlive.loads import stored
from outlive.loads.plan import LoadTest
from outlive.project import Project
from outlive.records.load import Deployment, Traffic, Watch
from outlive.replay.store import provenance
from outlive.reports import record
from outlive.service import app as apps
from outlive.service.users import locustfile
from outlive.stacks.prepare import Pair
from outlive.tables import output

REQUESTS = 4000
"""Default requests of each run: enough that a few slow ones do not decide p99."""


class LoadWanted(msgspec.Struct, frozen=True):
    """The options besides the selection."""

    rounds: int | None
    user: str | None
    clients: int
    requests: int | None
    rate: float | None
    everything: bool
    json_file: Path | None
    markdown_file: Path | None


def compare_under_load(project: Project, pair: Pair, selection: Selection, wanted: LoadWanted) -> int:
    """Run the rounds for each gc policy, and show and write the comparison; return the exit code.

    Whole rounds are shown and written even if a run fails or the user interrupts. Raises UsageError.
    """
    rounds = ROUNDS if wanted.rounds is None else wanted.rounds
    if rounds < LEAST_ROUNDS or rounds % 2:
        raise UsageError(f"--rounds {rounds}: the order is balanced for even numbers, from {LEAST_ROUNDS} on")
    if len(selection.connections) > 1:
        raise UsageError("--connection: a load test has one kind of connection")
    app = apps.load(project, pair.before.release.framework)
    connection = selection.connections[0] if selection.connections else "keep-alive"
    user = sender(project, app.framework, wanted.user)
    if locustfile(user):
        raise UsageError(f"{user}: each run of a comparison has a number of requests, a locustfile has none")
    traffic = Traffic(
        user=user,
        clients=wanted.clients,
        requests=wanted.requests or REQUESTS,
        rate=wanted.rate,
        scenarios=selection.patterns,
        connection=connection,
    )
    worker = app.named(selection.worker) if selection.worker else app.worker(connection) or app.workers[0]
    comparisons: list[LoadComparison] = []
    runs: list[tuple[Run, ...]] = []
    code = ExitCode.FINE
    policies, turns = dict.fromkeys(selection.policies or ("on",)), order(rounds)
    with loads(traffic, len(policies) * len(turns)) as whole:
        for policy in policies:
            deployment = Deployment(worker=worker.name, gc=policy)
            done: list[Run] = []
            stopped: BaseException | None = None
            try:
                for turn in turns:
                    watch = whole.test(f"gc {policy}, round {turn.round} of {rounds}, {turn.arm}", traffic)
                    done.append(
                        _run(project, pair, turn, deployment=deployment, traffic=traffic, watch=watch)
                    )
            except (FaultError, KeyboardInterrupt) as error:
                stopped = error
            if done:
                comparison = compare(
                    Side(pair.before.record, pair.before.release),
                    Side(pair.after.record, pair.after.release),
                    done,
                    pair.differences,
                    stopped=None if stopped is None else str(stopped) or "interrupted",
                )
                with whole.aside():
                    if comparisons:
                        click.echo()
                    report.show(comparison, output(), everything=wanted.everything)
                comparisons.append(comparison)
                stored.keep(project, comparison, record.name(comparison))
                runs.append(tuple(done))
                _write(wanted, pair, comparisons, runs)
            if isinstance(stopped, FaultError) and done:
                code = ExitCode.FAULT
            elif stopped is not None:
                raise stopped
    return code


def _run(
    project: Project, pair: Pair, turn: Turn, *, deployment: Deployment, traffic: Traffic, watch: Watch
) -> Run:
    """Load-test the stack whose turn it is on a fresh server, and store the record. Raises FaultError."""
    with load_extra():
        from outlive.loads.run import run  # noqa: PLC0415 - what it needs comes with an extra
    test = LoadTest(pair.after if turn.arm == "after" else pair.before, deployment, traffic)
    measurement = run(project, test, watch=watch)
    if measurement.status != "measured":
        name = f"{measurement.framework} {measurement.release}"
        raise FaultError(f"{turn}: {name} {measurement.status}: {measurement.reason}")
    return Run(turn, measurement)


def _write(
    wanted: LoadWanted, pair: Pair, comparisons: Sequence[LoadComparison], runs: Sequence[tuple[Run, ...]]
) -> None:
    document = LoadComparisonDocument(
        provenance=provenance([pair.before.record, pair.after.record]),
        comparisons=tuple(comparisons),
        runs=tuple(runs),
    )
    write_json(wanted.json_file, document)
    if wanted.markdown_file:
        write_text(wanted.markdown_file, "\n".join(map(report.render, comparisons)))
