"""The command line: the verbs, and how each ends: one clear line and the exit code."""

from __future__ import annotations

from typing import NoReturn

import click

from outlive import __version__, ending
from outlive.commands.attribute import attribute_command
from outlive.commands.compare import compare_command
from outlive.commands.doctor import doctor_command
from outlive.commands.explain import explain_command
from outlive.commands.gate import gate_command
from outlive.commands.leaks import leaks_command
from outlive.commands.load import load_command
from outlive.commands.measure import measure_command
from outlive.commands.publish import publish_command
from outlive.commands.releases import releases_command
from outlive.commands.remedies import remedies_command
from outlive.commands.report import report_command
from outlive.commands.steps import steps_command
from outlive.commands.sweep import sweep_command


def main() -> NoReturn:
    """Run the command line and exit with one of `ExitCode`; errors are one line on standard error."""
    ending.run(lambda: cli(standalone_mode=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="outlive")
def cli() -> None:
    """Measure what framework releases leave in memory after failed requests, and compare them.

    Exit codes: 0 fine, 1 regression, 2 usage, 3 inconclusive, 4 harness or environment fault, 5 release
    withdrawn or unavailable, 130 interrupted.
    """


for command in (
    compare_command,
    report_command,
    publish_command,
    measure_command,
    load_command,
    explain_command,
    attribute_command,
    leaks_command,
    gate_command,
    sweep_command,
    steps_command,
    remedies_command,
    releases_command,
    doctor_command,
):
    cli.add_command(command)
