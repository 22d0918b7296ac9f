"""`outlive releases`: what is known of a framework's releases."""

from __future__ import annotations

import click
from packaging.version import InvalidVersion, Version
from rich.console import Console

from outlive.asv.repository import name_branches
from outlive.commands.parts import inventory
from outlive.commands.parts.progress import Meter, progressing
from outlive.errors import ExitCode, UsageError
from outlive.project import Project
from outlive.releases.catalogue import Catalogue
from outlive.stacks import eras
from outlive.tables import output


@click.group("releases")
def releases_command() -> None:
    """List the releases of a framework, or update the list.

    \b
    outlive releases list aiohttp --since 3.11
    outlive releases update
    outlive releases claims
    """  # noqa: D301 - click's mark for lines that stay as they are


@releases_command.command("list")
@click.argument("framework")
@click.option("--since", metavar="VERSION", help="Only releases from this version on.")
@click.option("--all", "everything", is_flag=True, help="List pre-releases, too.")
def list_command(framework: str, since: str | None, everything: bool) -> int:
    """List the releases of a framework, newest first: dates, Pythons, what is yanked and why."""
    catalogue = Catalogue.load(Project.find(), framework)
    releases = catalogue.releases if everything else catalogue.stable()
    if since:
        try:
            first = Version(since)
        except InvalidVersion:
            raise UsageError(f"--since takes a version, as in 3.11.0, not {since!r}") from None
        releases = tuple(one for one in releases if one.parsed >= first)
    inventory.show_releases(tuple(reversed(releases)), output())
    return ExitCode.FINE


@releases_command.command("update")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
def update_command(frameworks: tuple[str, ...]) -> int:
    """Read the list from the package index.

    In a checkout it renews its files (releases/) and locks what is new, elsewhere a list of your own.
    """
    from outlive.releases.index import update  # noqa: PLC0415 - takes a third of a second, for this verb alone

    project = Project.find()
    names = frameworks or project.frameworks()
    for framework in progressing(names, "reading the list of", Console(stderr=True)):
        inventory.show_update(update(project, framework), output())
    if project.inside:
        with Meter(Console(stderr=True), "locks") as meter:
            meter.more(sum(len(eras.missing(project, framework)) for framework in names))
            for framework in names:
                inventory.show_locks(framework, eras.add_missing(project, framework, meter.advance), output())
        name_branches(project)
    return ExitCode.FINE


@releases_command.command("claims")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
def claims_command(frameworks: tuple[str, ...]) -> int:
    """Read what changelogs say of memory, from the released packages, in a checkout."""
    from outlive.releases import packages  # noqa: PLC0415 - as above

    project = Project.find()
    project.renewable("releases claims")
    for framework in progressing(frameworks or project.frameworks(), "reading", Console(stderr=True)):
        inventory.show_claims(framework, packages.refresh(project, framework), output())
    return ExitCode.FINE
