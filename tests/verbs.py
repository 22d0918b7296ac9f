"""The verbs of the command line."""

from __future__ import annotations

import click

from outlive.cli import VERBS, cli

NAMES = tuple(name for verbs in VERBS.values() for name in verbs)


def verb(name: str) -> click.Command:
    """Return a verb by its name."""
    found = cli.get_command(click.Context(cli), name)
    assert found
    return found
