"""`outlive bisect`: find the commit of a package that changed what requests leave."""

from __future__ import annotations

from pathlib import Path

import click
from rich.text import Text

from outlive.api.selection import one_scenario, stack_of
from outlive.commands.parts.selection import gc_policy, worker_option
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode, UsageError
from outlive.history import bisect, bisect_text
from outlive.history.bisect import ASPECTS, Attempt, Question, What
from outlive.project import Project
from outlive.records.measurement import CONNECTIONS, Cell, Connection
from outlive.tables import output


@click.command("bisect")
@click.argument("stack", metavar="FRAMEWORK|STACK")
@click.argument("old")
@click.argument("new")
@click.option(
    "--repo",
    "repository",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Git clone of the package; it is not modified.",
)
@click.option("--package", metavar="NAME", help="Package in the stack. [default: the framework]")
@click.option("--scenario", required=True, metavar="NAME", help="Scenario to measure.")
@click.option("--connection", type=click.Choice(CONNECTIONS), default="keep-alive", show_default=True)
@click.option("--gc", "policy", type=gc_policy, default="off", show_default=True, metavar="POLICY")
@click.option(
    "--by",
    "what",
    type=click.Choice(ASPECTS),
    default="count",
    show_default=True,
    help="What to compare: objects per request, the kind of growth, or the set of rings.",
)
@click.option("--python", metavar="X.Y", help="Python for a stack that names none.")
@worker_option
@click.option(
    "--first-parent", is_flag=True, help="Follow only first parents, as `git bisect --first-parent` does."
)
@click.option("--paths", multiple=True, metavar="PATH", help="Only commits that touch this path.")
@click.option(
    "--jobs",
    type=click.IntRange(1, 3),
    default=1,
    show_default=True,
    help="Commits to build at once; with 3, both possible next commits are built while one is measured.",
)
@json_option
def bisect_command(
    *,
    stack: str,
    old: str,
    new: str,
    repository: Path,
    package: str | None,
    scenario: str,
    connection: Connection,
    policy: str,
    what: What,
    json_file: Path | None,
    **more: object,
) -> int:
    """Find the commit that changed what requests leave.

    OLD and NEW are revisions in a clone of the framework, or of another package in the stack. `git bisect`
    runs in a clone of your clone, builds and measures each commit, and skips those that fail. The other
    packages and the Python do not change.

    \b
    outlive bisect flask 3.1.3 main --repo ../flask --scenario ok
    outlive bisect flask==3.1.3 3.1.3 main --package werkzeug --repo ../werkzeug --scenario ok
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    chosen = one_scenario(project, scenario, "bisect")
    if not chosen.over(connection):
        raise UsageError(f"{connection} makes no difference to {scenario}: choose another --connection")
    named = stack_of(project, stack)
    question = Question(
        stack=named,
        package=package or named.framework,
        repository=repository,
        old=old,
        new=new,
        scenario=chosen,
        cell=Cell(chosen.name, connection, policy),
        what=what,
        **more,  # type: ignore[arg-type]
    )
    console = output()

    def watch(step: Attempt) -> None:
        console.print(Text(bisect_text.line(step)), overflow="ellipsis", no_wrap=True)

    result = bisect.bisect(project, question, watch)
    bisect_text.show(result, question, console)
    write_json(json_file, result)
    return ExitCode.FINE if len(result.suspects) == 1 else ExitCode.INCONCLUSIVE
