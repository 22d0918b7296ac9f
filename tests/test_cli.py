"""What the verbs say of themselves."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from outlive.cli import cli


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_examples_stand_one_a_line(verb: str) -> None:
    found = CliRunner().invoke(cli, [verb, "--help"], prog_name="outlive")
    assert found.exit_code == 0
    assert "\\b" not in found.output
    assert "\b" not in found.output
    assert not [line for line in found.output.splitlines() if line.count("outlive ") > 1]
