"""`outlive attribute`: find the package, Python or gc policy that causes a difference between two stacks."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.api.selection import Selection, one_scenario
from outlive.commands.parts.own import AppOption, app_options
from outlive.commands.parts.pairs import both_stacks
from outlive.commands.parts.selection import all_measured, gc_policy, measured, practice_option
from outlive.commands.parts.writing import json_option, write_json
from outlive.comparison import attribution_text
from outlive.comparison.attribution import AttributionDocument, Reached, waterfall
from outlive.errors import FaultError, UsageError
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.replay.store import provenance
from outlive.service import remedies
from outlive.stacks import swaps
from outlive.stacks.prepare import prepare_each
from outlive.stacks.swaps import Stage
from outlive.tables import output
from outlive.wording import step


@click.command("attribute")
@click.argument("what", nargs=-1, metavar="STACK STACK")
@app_options
@click.option("--scenario", required=True, metavar="NAME", help="Scenario to attribute.")
@click.option("--connection", type=click.Choice(CONNECTIONS), default="close", show_default=True)
@click.option("--gc", "policy", metavar="POLICY", default="off", show_default=True, help="gc policy before.")
@click.option("--gc-after", "policy_after", metavar="POLICY", help="gc policy after. [default: the same]")
@click.option("--python", metavar="X.Y", help="Python for stacks that name none.")
@practice_option
@json_option
def attribute_command(
    *,
    what: tuple[str, ...],
    app: AppOption | None,
    scenario: str,
    connection: Connection,
    policy: str,
    policy_after: str | None,
    python: str | None,
    practices: tuple[str, ...],
    json_file: Path | None,
) -> int:
    """Find the package, or the Python, that causes a difference.

    It swaps one package at a time, then the Python and the gc policy.

    A stack has the dependencies of its release date unless it names others.

    \b
    outlive attribute aiohttp==3.10.5 aiohttp==3.10.6 --scenario not-found
    outlive attribute aiohttp==3.11.14,python==3.11 aiohttp==3.14.5,python==3.13 --scenario not-found
    """  # noqa: D301 - click's mark for lines that stay as they are
    project, (before, after) = both_stacks(app, what)
    chosen = one_scenario(project, scenario, "attribute")
    policies = gc_policy(policy), gc_policy(policy_after or policy)
    practice = remedies.practices(project, before.framework, practices)
    ends = prepare_each(project, before, after, python, practice)
    stages = swaps.stages(project, *ends)
    if len(stages) == 1 and len(set(policies)) == 1:
        raise UsageError(f"{before} and {after} are the same stack: there is nothing to attribute")
    runs = [(stage, policies[0]) for stage in stages]
    if len(set(policies)) == 2:
        runs.append((Stage(stages[-1].stack, (f"gc {step(*policies)}",)), policies[1]))
    reached = _measure(project, chosen.name, connection, runs)
    result = waterfall(reached)
    attribution_text.show(result, output())
    stacks = provenance([stage.stack for stage in reached])
    write_json(json_file, AttributionDocument(provenance=stacks, waterfall=result))
    if all(stage.measurement.status != "measured" for stage in reached):
        raise FaultError(f"no stage could be measured: {reached[0].measurement.reason}")
    return all_measured(stage.measurement for stage in reached)


def _measure(
    project: Project, scenario: str, connection: Connection, runs: list[tuple[Stage, str]]
) -> list[Reached]:
    """Return each run with its measurement; runs with the same gc policy are measured together."""
    reached: list[Reached] = []
    for policy in dict.fromkeys(policy for _, policy in runs):
        stages = [stage for stage, stage_policy in runs if stage_policy == policy]
        selection = Selection((scenario,), None, (connection,), (policy,), None, fresh=False, jobs=2)
        measurements = measured(project, [stage.stack for stage in stages], selection.request(project))
        reached += [
            Reached(stage.swapped, stage.stack.record, measurement, stage.joined)
            for stage, (measurement,) in zip(stages, measurements, strict=True)
        ]
    return reached
