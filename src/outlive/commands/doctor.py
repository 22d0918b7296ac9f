"""`outlive doctor`: whether this machine can measure."""

from __future__ import annotations

import click
from rich.console import Console

from outlive.errors import ExitCode
from outlive.project import Project
from outlive.report import inventory


@click.command("doctor")
def doctor_command() -> int:
    """Check what this machine has: interpreters, uv, the package index, gunicorn, the probe."""
    from outlive.doctor import checks  # noqa: PLC0415 - talks to the index, which is slow to import

    fine = inventory.show_checks(checks(Project.find()), Console())
    return ExitCode.FINE if fine else ExitCode.FAULT
