"""`outlive doctor`: whether this machine can measure."""

from __future__ import annotations

import click

from outlive.commands.parts import inventory
from outlive.errors import ExitCode
from outlive.project import Project
from outlive.tables import output


@click.command("doctor")
def doctor_command() -> int:
    """Check whether this machine can measure.

    It tries interpreters, uv, the package index, gunicorn and the probe, and says what to do about each
    that fails.
    """
    from outlive.commands.parts.doctor_checks import checks  # noqa: PLC0415 - talks to the index, which is slow to import

    fine = inventory.show_checks(checks(Project.find()), output())
    return ExitCode.FINE if fine else ExitCode.FAULT
