"""`outlive releases`: list the releases of a framework, or update the list."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from packaging.version import Version
from rich.console import Console

from outlive.asv.repository import name_branches
from outlive.commands.parts import inventory
from outlive.commands.parts.progress import Meter, progressing
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode, UsageError
from outlive.files import JsonDocument
from outlive.project import Project
from outlive.releases.catalogue import Catalogue, ReleasesDocument
from outlive.releases.claims import ClaimsDocument
from outlive.stacks import eras
from outlive.tables import output
from outlive.wording import one_line

if TYPE_CHECKING:  # slow to import, and only one verb needs it
    from outlive.releases.index import Update


class UpdatesDocument(JsonDocument, frozen=True, kw_only=True):
    """What changed in the lists of releases and, in a checkout, the new locks of each framework, as JSON."""

    updates: tuple[Update, ...]
    locks: dict[str, eras.Added]


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
@click.option("--since", metavar="VERSION", help="Start at this version.")
@click.option("--all", "everything", is_flag=True, help="Also list pre-releases.")
@json_option
def list_command(*, framework: str, since: str | None, everything: bool, json_file: Path | None) -> int:
    """List the releases of a framework, newest first, with dates, Pythons, yanks and reasons."""
    catalogue = Catalogue.load(Project.find(), framework)
    releases = catalogue.releases if everything else catalogue.stable()
    if since:
        try:
            first = Version(since)
        except ValueError:  # also a number with more digits than Python reads
            raise UsageError(f"--since takes a version, as in 3.11.0, not {one_line(since)!r}") from None
        releases = tuple(release for release in releases if release.parsed >= first)
        if not releases:
            raise UsageError(f"no release of {framework} is {since} or later")
    newest_first = releases[::-1]
    write_json(json_file, ReleasesDocument(releases=newest_first))
    inventory.show_releases(newest_first, output())
    return ExitCode.FINE


@releases_command.command("update")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
@json_option
def update_command(frameworks: tuple[str, ...], *, json_file: Path | None) -> int:
    """Read the list from the package index.

    In a checkout it updates releases/ and locks new releases; elsewhere it updates your own list.
    """
    from outlive.releases.index import update  # noqa: PLC0415 - takes a third of a second, only for this verb

    project = Project.find()
    names = frameworks or project.frameworks()
    reading = progressing(names, "reading the list of")
    updates, added = [update(project, framework) for framework in reading], {}
    for changes in updates:
        inventory.show_update(changes, output())
    if project.inside:
        with Meter(Console(stderr=True), "lock") as meter:
            meter.more(sum(len(eras.missing(project, framework)) for framework in names))
            for framework in names:
                added[framework] = eras.add_missing(project, framework, meter.advance)
                with meter.aside():
                    inventory.show_locks(framework, added[framework], output())
        name_branches(project)
    write_json(json_file, UpdatesDocument(updates=tuple(updates), locks=added))
    return ExitCode.FINE


@releases_command.command("claims")
@click.argument("frameworks", nargs=-1, metavar="[FRAMEWORK…]")
@json_option
def claims_command(frameworks: tuple[str, ...], *, json_file: Path | None) -> int:
    """Extract what changelogs say about memory from the released packages (in a checkout)."""
    from outlive.releases import packages  # noqa: PLC0415 - as above

    project = Project.find()
    project.renewable("releases claims")
    reading = progressing(frameworks or project.frameworks(), "reading")
    changelogs = {framework: packages.refresh(project, framework) for framework in reading}
    for framework, logs in changelogs.items():
        inventory.show_claims(framework, logs, output())
    write_json(json_file, ClaimsDocument(changelogs=changelogs))
    return ExitCode.FINE
