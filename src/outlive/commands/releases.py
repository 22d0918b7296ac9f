"""`outlive releases`: what is known of a framework's releases."""

from __future__ import annotations

import click
from rich.console import Console

from outlive.asv.repository import name_branches
from outlive.commands.parts import inventory
from outlive.errors import ExitCode, UsageError
from outlive.project import Project
from outlive.releases.catalogue import Catalogue
from outlive.stacks import eras


@click.command("releases")
@click.argument("words", nargs=-1, required=True, metavar="FRAMEWORK | update|claims [FRAMEWORK…]")
@click.option("--all", "everything", is_flag=True, help="List pre-releases, too.")
def releases_command(words: tuple[str, ...], everything: bool) -> int:
    """List the releases of a framework, or update the list.

    `update` reads them from the package index. In a checkout it renews its files (releases/), elsewhere a
    list of your own.

    `claims` reads what their changelogs say of memory, from the released packages, in a checkout.

    \b
    outlive releases aiohttp
    outlive releases update
    outlive releases claims
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    if words[0] == "update":
        from outlive.releases.index import update  # noqa: PLC0415 - takes a third of a second, for this verb alone

        for framework in words[1:] or project.frameworks():
            inventory.show_update(update(project, framework), Console())
            if project.inside:
                inventory.show_locks(eras.add_missing(project, framework), Console())
        if project.inside:
            name_branches(project)
        return ExitCode.FINE
    if words[0] == "claims":
        project.renewable("releases claims")
        from outlive.releases import packages  # noqa: PLC0415 - as above

        for framework in words[1:] or project.frameworks():
            inventory.show_claims(framework, packages.refresh(project, framework), Console())
        return ExitCode.FINE
    if len(words) > 1:
        raise UsageError(f"releases takes one framework, not {' '.join(words)!r}")
    catalogue = Catalogue.load(project, words[0])
    inventory.show_releases(catalogue.releases if everything else catalogue.stable(), Console())
    return ExitCode.FINE
