"""`outlive remedies`: show what each remedy does for a release, and recommend one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import click

from outlive.commands.parts.progress import loads
from outlive.commands.parts.selection import JOBS, all_measured, load_extra, measured, scheduler_option
from outlive.commands.parts.writing import json_option, write_json
from outlive.comparison.noisy.noise import LEAST_ROUNDS
from outlive.errors import UsageError
from outlive.loads import turns
from outlive.loads.turns import Arm, Load
from outlive.project import Project
from outlive.records.load import Traffic
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.records.stack import Stack
from outlive.replay import engine
from outlive.replay.store import provenance
from outlive.reports import remedies as relief
from outlive.reports import remedies_text as report
from outlive.reports.remedies import Relief, ReliefDocument, RemedyRow
from outlive.service import app, remedies, scenarios
from outlive.service.users import locustfile, mix
from outlive.stacks.prepare import Prepared, prepare
from outlive.tables import output

REQUESTS = 3000
"""Default requests of each load test; with errors, a rate of growth shows after a few seconds."""


@click.command("remedies")
@click.argument("stack", metavar="FRAMEWORK==VERSION")
@click.option("--remedy", "names", multiple=True, metavar="NAME", help="Remedy. [default: all]")
@click.option("--scenario", "patterns", multiple=True, metavar="PATTERN", help="Scenario. [default: all]")
@click.option("--connection", type=click.Choice(CONNECTIONS), default="close", show_default=True)
@click.option(
    "--user", default="ErrorHeavy", show_default=True, help="User whose mix is sent, from users.toml."
)
@click.option(
    "--rounds",
    type=click.IntRange(0),
    default=0,
    help=f"Rounds of load tests, at least {LEAST_ROUNDS}. [default: show earlier ones]",
)
@click.option(
    "--requests",
    type=click.IntRange(1),
    default=REQUESTS,
    show_default=True,
    help="Requests in each load test.",
)
@click.option(
    "--clients", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Concurrent clients."
)
@click.option("--python", metavar="X.Y", help="Python for a stack that names none.")
@click.option("--fresh", is_flag=True, help="Replay even what is stored.")
@click.option("--jobs", type=click.IntRange(1, 64), default=JOBS, show_default=True)
@scheduler_option
@json_option
def remedies_command(
    stack: str,
    *,
    names: tuple[str, ...],
    patterns: tuple[str, ...],
    connection: Connection,
    user: str,
    rounds: int,
    requests: int,
    clients: int,
    python: str | None,
    fresh: bool,
    jobs: int,
    scheduler: str | None,
    json_file: Path | None,
) -> int:
    """Show what each remedy does for a release, and what it costs.

    The last line recommends one.

    A replay counts exactly what requests leave. With --rounds, the unchanged release and each remedy also
    take turns under load, with gc off and on, to compare memory, throughput and latency.

    \b
    outlive remedies flask==3.1.3
    outlive remedies flask==3.1.3 --rounds 8
    outlive remedies aiohttp==3.10.10,python==3.11 --json
    """  # noqa: D301 - click's mark for lines that stay as they are
    if 0 < rounds < LEAST_ROUNDS:
        raise UsageError(f"--rounds {rounds}: {LEAST_ROUNDS} at least, or an interval says nothing")
    if locustfile(user):
        raise UsageError(f"--user {user}: a locustfile has no mix to weigh scenarios by: name a user of ours")
    project = Project.find()
    wanted = Stack.parse(stack)
    shares = mix(project.loadtests, user)
    every = remedies.load(project, wanted.framework)
    chosen = [remedies.find(project, wanted.framework, name) for name in dict.fromkeys(names)] or list(every)
    plain = prepare(project, wanted, python)
    stacks = [prepare(project, wanted, python, remedy) for remedy in chosen]
    selected = scenarios.find(project.scenarios, patterns)
    cells = engine.cells(selected, (connection,), ("off",))
    request = engine.CellRequest(selected, cells, fresh=fresh, jobs=jobs, scheduler=scheduler)
    replayed = [plain, *(stack for stack in stacks if stack.remedy and stack.remedy.counted)]
    replays = measured(project, replayed, request)
    by_remedy = {stack.remedy_name: cells for stack, cells in zip(replayed, replays, strict=True)}
    failing = frozenset(scenario.name for scenario in selected if scenario.fails)
    rows = tuple(
        relief.row(
            t.remedy, plain.release.version, relief.left(by_remedy.get(t.remedy_name, ()), shares, failing)
        )
        for t in (plain, *stacks)
    )
    traffic = Traffic(user=user, clients=clients, requests=requests, connection=connection)
    earlier = relief.load(project, plain.record, user, connection)
    rows = relief.remembered(rows, earlier)
    if rounds:
        worker = app.load(project, wanted.framework).worker(connection)
        assert worker is not None
        load = Load(worker=worker.name, traffic=traffic, rounds=rounds)
        rows = _under_load(project, plain, stacks, load, rows)
    records = dict.fromkeys(trial.record for trial in (plain, *stacks))

    def document(rows: tuple[RemedyRow, ...]) -> ReliefDocument:
        result = Relief(
            release=str(plain.release),
            python=plain.lock.python,
            user=user,
            connection=connection,
            rows=rows,
            advice=relief.advise(rows),
        )
        return ReliefDocument(provenance=provenance(records), relief=result)

    if not patterns:
        relief.keep(project, plain.record, document(relief.merged(rows, earlier, every)))
    write_json(json_file, document(rows))
    report.show(document(rows).relief, output())
    return all_measured(itertools.chain.from_iterable(replays))


def _under_load(
    project: Project, plain: Prepared, stacks: Sequence[Prepared], load: Load, rows: tuple[RemedyRow, ...]
) -> tuple[RemedyRow, ...]:
    """Return the rows with the results of load tests, with gc off and on; show progress on standard error."""
    version = plain.release.version
    arms = {
        policy: [
            Arm(stack, gc)
            for stack in stacks
            if stack.remedy and not stack.remedy.against(version) and (gc := stack.remedy.policy(policy))
        ]
        for policy in ("off", "on")
    }
    tests = load.rounds * sum(len(trials) + 2 for trials in arms.values())
    with load_extra(), loads(load.traffic, tests) as whole:
        for policy, trials in arms.items():
            runs = turns.run(project, Arm(plain, policy), trials, load, whole.test)
            rows = relief.tried(rows, policy, runs)
    return rows
