"""`outlive doctor`: check whether this machine can measure."""

from __future__ import annotations

from pathlib import Path

import click

from outlive.commands.parts import inventory
from outlive.commands.parts.writing import json_option, write_json
from outlive.errors import ExitCode
from outlive.project import Project
from outlive.tables import output


@click.command("doctor")
@json_option
def doctor_command(json_file: Path | None) -> int:
    """Check whether this machine can measure.

    It checks interpreters, uv, the package index, gunicorn and the probe, and says how to fix each failure.
    """
    from outlive.commands.parts.doctor_checks import (  # noqa: PLC0415 - slow to import
        ChecksDocument,
        checks,
    )

    results = inventory.show_checks(checks(Project.find()), output())
    write_json(json_file, ChecksDocument(checks=results))
    fine = all(check.fine or not check.needed for check in results)
    return ExitCode.FINE if fine else ExitCode.FAULT
