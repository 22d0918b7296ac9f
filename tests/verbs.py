"""The verbs of the command line."""

from __future__ import annotations

import shlex
from typing import Any

import click

from outlive.cli import VERBS, cli

NAMES = tuple(name for verbs in VERBS.values() for name in verbs)


def verb(name: str) -> click.Command:
    """Return a verb by its name."""
    found = cli.get_command(click.Context(cli), name)
    assert found
    return found


def asked(command: str) -> dict[str, Any]:
    """Return what a printed command asks its verb for. Fails where the verb does not take it."""
    outlive, name, *words = shlex.split(command)
    assert outlive == "outlive"
    return verb(name).make_context(name, words, parent=click.Context(cli)).params
