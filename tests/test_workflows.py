"""The workflows and the action: what they use is pinned, what they may do is to read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from outlive import processes

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


TEXTS = r"^\s*(?:- )?(?:about|default|description|label|name|title): (?![\"'|>\[{])(.*(?:: | #).*)$"


@pytest.mark.parametrize(
    "path", [*CHECKOUT.glob("*.y*ml"), *(CHECKOUT / ".github").rglob("*.yml")], ids=lambda path: path.name
)
def test_a_text_with_a_colon_is_quoted(path: Path) -> None:
    """`description: Release to gate; default: the newest` is no YAML: GitHub refused the whole action."""
    assert not re.findall(TEXTS, path.read_text(encoding="utf-8"), re.MULTILINE)


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


def gate_step(folder: Path, outlive: str, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the action's last step as a runner does, with `outlive` as what was installed before it."""
    text = (CHECKOUT / "action.yml").read_text(encoding="utf-8")
    gate = text[text.index("- name: Gate") :]
    variables = dict(re.findall(r"^        (\w+): \$\{\{ inputs\.(\w+) \}\}$", gate, re.MULTILINE))
    defaults = dict(
        re.findall(r'^  (\w+):\n    description: .*\n    default: "?(.*?)"?$', text, re.MULTILINE)
    )
    assert defaults.keys() == set(variables.values())
    program = folder / "temporary" / "outlive" / "bin" / "outlive"
    program.parent.mkdir(parents=True)
    program.write_text(outlive)
    program.chmod(0o755)
    script = folder / "step.sh"
    script.write_text(textwrap.dedent(gate.partition("run: |\n")[2]))
    given = {name: (defaults | inputs)[name_of] for name, name_of in variables.items()}
    given |= {"RUNNER_TEMP": str(folder / "temporary"), "OUTLIVE_ROOT": str(CHECKOUT)}
    given |= {"GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    return processes.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        timeout=300,
        cwd=folder,
        env={**os.environ, **given},
    )


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"framework": "flask"}, "gate|flask|--gc|off|--python|3.13"),
        (
            {"framework": "flask", "version": "3.1.3", "update": "true", "limits": "my limits.toml"},
            "releases|update|flask\ngate|flask==3.1.3|--gc|off|--python|3.13|--limits|my limits.toml",
        ),
        (
            {"framework": "flask", "unreleased": ".", "arguments": "--scenario\n\n*-error\n"},
            "gate|flask|--gc|off|--python|3.13|--unreleased|.|--scenario|*-error",
        ),
        ({"app": "my shop", "gc": "on", "update": "true"}, "gate|--app|my shop|--gc|on|--python|3.13"),
    ],
)
def test_the_action_says_to_outlive_what_its_inputs_say(
    tmp_path: Path, inputs: dict[str, str], said: str
) -> None:
    program = "#!/bin/bash\n(IFS='|'; echo \"$*\") >> said\n"
    assert gate_step(tmp_path, program, reports="r", **inputs).returncode == 0
    written = "--json|r/gate.json|--junit|r/junit.xml|--sarif|r/gate.sarif"
    assert (tmp_path / "said").read_text() == f"{said}|{written}\n"


@pytest.mark.real
def test_the_action_gates_an_application_and_tells_the_run(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "kept = []\ndef serve(environ, start_response):\n    kept.append([])\n"
        "    start_response('200 OK', [])\n    return [b'shop']\n"
    )
    settings = 'target = "shop:serve"\npackages = []\nname = "bare"\n[[scenario]]\nname = "ok"\n'
    (tmp_path / "outlive.toml").write_text(settings)
    real = f'#!/bin/sh\nexec {sys.executable} -m outlive "$@"\n'
    done = gate_step(tmp_path, real, app=".", gc="on", arguments="--connection\nclose", reports="r")
    assert done.returncode == 1, done.stderr
    assert "RED" in done.stdout
    assert "ok" in (tmp_path / "summary.md").read_text()
    assert json.loads((tmp_path / "r" / "gate.sarif").read_bytes())["runs"][0]["results"]


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
