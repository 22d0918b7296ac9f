"""What a framework is on the package index, as its folder says."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlive.errors import UsageError
from outlive.project import Project
from outlive.releases import frameworks
from outlive.releases.frameworks import ChangelogRules, Elsewhere, Framework

CHECKOUT = Project(Path(__file__).parents[2])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "apps" / "bottle"
    folder.mkdir(parents=True)
    return folder / "framework.toml"


def test_nothing_has_to_be_said(path: Path) -> None:
    found = frameworks.load(Project(path.parents[2]), "bottle")
    assert found == Framework(name="bottle", title="bottle")
    assert found.modules == "bottle, gunicorn.app.base"


def test_what_is_said(path: Path) -> None:
    path.write_text(
        'title = "Bottle"\ncovered = ["==0.12.*", ">=0.13"]\nmodule = "bottle_web"\npackages = ["uvicorn"]\n'
        '[changelog]\nfiles = ["docs/changes.rst"]\nheading = "Bottle"\n'
        '[[changelog.elsewhere]]\nwords = "cookies?"\nscenarios = ["*cookie*"]\n'
    )
    found = frameworks.load(Project(path.parents[2]), "bottle")
    rules = ChangelogRules(("docs/changes.rst",), "Bottle", (Elsewhere("cookies?", ("*cookie*",)),))
    assert found == Framework(
        name="bottle",
        title="Bottle",
        covered=("==0.12.*", ">=0.13"),
        module="bottle_web",
        packages=("uvicorn",),
        changelog=rules,
    )
    assert found.modules == "bottle_web, gunicorn.app.base"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title =", "Invalid value (at end of document)"),
        (b"\xff", "it is not UTF-8 text"),
        (b'titel = "B"', "Object contains unknown field `titel`"),
        (b'covered = ["three"]', "Invalid specifier: 'three'"),
        (
            b'packages = ["uvicorn >"]',
            "Expected ",
        ),
        (
            b'[[changelog.elsewhere]]\nwords = "("\nscenarios = []',
            "missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_a_wrong_file_is_one_line(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        frameworks.load(Project(path.parents[2]), "bottle")
    assert str(caught.value).startswith(f"{path}: not a framework file: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", CHECKOUT.frameworks())
def test_the_committed_files_are_well_formed(name: str) -> None:
    assert frameworks.load(CHECKOUT, name).title.lower() == name
