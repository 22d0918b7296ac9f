"""The workflows and the action: what they use is pinned, what they may do is to read."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.yml"))


def pinned(name: str) -> set[str]:
    """Return the names that a file of `.github` pins, each with its hashes."""
    text = (CHECKOUT / ".github" / name).read_text(encoding="utf-8")
    return set(re.findall(r"^([\w.-]+)==.+\\\n    --hash=sha256:", text, re.MULTILINE))


@pytest.mark.parametrize("path", [*WORKFLOWS, CHECKOUT / "action.yml"], ids=lambda path: path.name)
def test_what_is_used_is_pinned_by_its_hash(path: Path) -> None:
    used = re.findall(r"uses: (\S+)(.*)", path.read_text(encoding="utf-8"))
    assert used
    for what, comment in used:
        if what != "./":
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", what)
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), "say which version that is"


def test_what_the_action_installs_is_pinned_by_its_hash() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = (*project["project"]["dependencies"], *project["build-system"]["requires"])
    assert {re.split(r"[^\w.-]", one)[0] for one in needed} <= pinned("requirements.txt")
    installs = re.findall(r"install --quiet (\S+)", (CHECKOUT / "action.yml").read_text(encoding="utf-8"))
    assert installs == ["--require-hashes", "--no-deps"]


def test_what_the_workflows_install_is_pinned_by_its_hash() -> None:
    wanted = (CHECKOUT / ".github" / "ci.in").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[^\w.-]", one)[0] for one in wanted if one and not one.startswith("#")}
    assert names <= pinned("ci.txt")
    for path in WORKFLOWS:
        for install in re.findall(r"pip install (.*)", path.read_text(encoding="utf-8")):
            assert install == "--require-hashes -r .github/ci.txt"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^ *permissions:\n((?: +\S.*\n)*)", text, re.MULTILINE) == ["  contents: read\n"]
    assert "persist-credentials: false" in text
    assert "secrets." not in text


@pytest.mark.parametrize("path", [*WORKFLOWS, CHECKOUT / "action.yml"], ids=lambda path: path.name)
def test_nothing_from_outside_is_pasted_into_a_script(path: Path) -> None:
    for script in re.findall(
        r"^( *)run: \|\n((?:\1 +.*\n?)+)", path.read_text(encoding="utf-8"), re.MULTILINE
    ):
        assert "${{" not in script[1]


def test_hooks_of_pre_commit_have_the_versions_that_tox_has() -> None:
    groups = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    versions = {tool for group in ("lint", "typing") for tool in groups[group] if "==" in tool}
    versions |= set((CHECKOUT / ".github" / "ci.in").read_text(encoding="utf-8").splitlines())
    hooks = (CHECKOUT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    used = set(re.findall(r'additional_dependencies: \["(\S+)"\]', hooks))
    assert used
    assert used <= versions


def test_the_suite_runs_on_every_python_that_the_harness_supports() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    workflow = (CHECKOUT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    pythons = set(re.findall(r'"3\.(\d+)"', workflow))
    oldest, newest = (int(edge(map(int, pythons))) for edge in (min, max))
    assert project["requires-python"] == f">=3.{oldest}"
    assert pythons == {str(minor) for minor in range(oldest, newest + 1)}
