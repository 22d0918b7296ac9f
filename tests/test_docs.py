"""Generated pages are what the code says now, and every command in the documentation is one that we have."""

from __future__ import annotations

import configparser
import importlib.util
import json
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import ModuleType

import click
import pytest

from goldens import same_as_golden
from outlive import processes
from outlive.cli import cli
from outlive.history.stored import fullest
from outlive.pages.drawings.badge import badge
from outlive.project import Project
from outlive.records.stack import KNOWN, Stack
from outlive.releases.catalogue import Catalogue
from outlive.service import scenarios
from verbs import NAMES, verb

CHECKOUT = Path(__file__).parents[1]
PROJECT = Project(CHECKOUT)
PUBLISHED = PROJECT.publishing()
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
PARSED_BY_LOCUST = """
import json, sys
from locust import argument_parser
from locust.util.load_locustfile import load_locustfile
users = load_locustfile(sys.argv[1])[0]
for words in json.load(sys.stdin):
    options = argument_parser.parse_options(words)
    assert set(options.user_classes) <= set(users), words
"""


def script(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, CHECKOUT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_blocks_are_what_the_code_and_the_results_say() -> None:
    command = [sys.executable, "-m", "cogapp", "--check", "-I", "docs/blocks", "@docs/blocks/pages.txt"]
    done = processes.run(command, timeout=120, cwd=CHECKOUT)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}\nrun `tox -e docs`"


@pytest.mark.parametrize("framework", PROJECT.frameworks())
def test_a_badge_of_readme_says_what_the_newest_measured_release_leaves(framework: str) -> None:
    named = f"docs/pictures/{framework}.svg"
    assert named in (CHECKOUT / "README.md").read_text(encoding="utf-8")
    same_as_golden(f"../../{named}", f"{badge(fullest(PUBLISHED, framework), framework)}\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_link_to_a_file_leads_to_one(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    files = [link.partition("#")[0] for link in links if "://" not in link]
    assert [name for name in files if not (page.parent / name).exists()] == []


def test_every_page_with_blocks_is_checked() -> None:
    listed = (CHECKOUT / "docs/blocks/pages.txt").read_text(encoding="utf-8").split()
    assert listed == [
        str(page.relative_to(CHECKOUT))
        for page in sorted(CHECKOUT.glob("docs/**/*.md"))
        if "[[[cog" in page.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", ["decision_rates", "interval_choice"])
def test_what_was_simulated_was_so_with_these_constants(name: str) -> None:
    simulation = script(f"benchmarks/by_hand/{name}.py")
    stored = json.loads(simulation.FILE.read_bytes())
    assert stored["constants"] == simulation.constants(), f"run `python benchmarks/by_hand/{name}.py`"


def test_the_page_shows_every_constant_that_decides() -> None:
    from outlive.comparison.noisy import metrics, noise
    from outlive.retention import growth

    page = (CHECKOUT / "docs" / "how-we-decide.md").read_text(encoding="utf-8")
    for module in (growth, noise, metrics):
        names = [name for name in vars(module) if name.isupper() and isinstance(getattr(module, name), float)]
        assert not [name for name in names if f"| `{name}` |" not in page]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"ok": 8, "a": 8, "b": 8}, "**confirmed**"),
        ({"ok": 0, "a": 0, "b": 8}, "**confirmed**"),
        ({"ok": 8, "a": 48, "b": 93}, "**partly**"),
        ({"ok": 8, "a": 49, "b": 93}, "**not confirmed**"),
        ({"ok": 8, "a": 99, "b": 99}, "**not confirmed**"),
    ],
)
def test_a_claim_is_confirmed_partly_or_not(after: dict[str, float], said: str) -> None:
    before = {"ok": 8.0, "a": 88.0, "b": 93.0, "clean": 8.0}
    assert script("docs/blocks/advice.py").judged(before, {"clean": 8, **after}, 8) == said


def test_the_table_of_pythons_has_each_minor_version_and_two_patches_of_some() -> None:
    rows = script("docs/blocks/pythons.py").rows().splitlines()[2:]
    minors = [row.split()[1].rpartition(".")[0] for row in rows]
    assert set(minors) == set(KNOWN)
    assert len(minors) > len(KNOWN)
    assert all(row.split(" | ")[1].strip().isdigit() for row in rows)


def tox_environments() -> dict[str, str]:
    """Return the last command that each environment of tox.ini runs, those included that toxfile.py makes."""
    tox = configparser.ConfigParser()
    tox.read(CHECKOUT / "tox.ini")
    found = {
        section.removeprefix("testenv:"): tox[section]["commands"].strip().splitlines()[-1]
        for section in tox.sections()
        if "commands" in tox[section]
    }
    for framework, policy, load in product(PROJECT.frameworks(), ("off", "on"), ("", "-load")):
        command = found[f"gate{load}"].replace("{env:FRAMEWORK}", framework).replace("{env:GC}", policy)
        found[f"{framework}-gc{policy}{load}"] = command
    return found


TOX = tox_environments()


def commands() -> Iterator[tuple[str, str]]:
    """Yield each command of a page, or of the help of a verb, with where it stands."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            if line.startswith("$ "):
                yield f"{page.name}:{number}", line.removeprefix("$ ")
    for name in NAMES:
        for line in (verb(name).help or "").splitlines():
            if line.startswith("outlive "):
                yield f"outlive {name} --help", line


@pytest.mark.parametrize(("where", "line"), [pytest.param(*one, id=": ".join(one)) for one in commands()])
def test_a_command_is_one_that_we_have(where: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if Path(words[0]).name == "tox":
        environments, rest = words[words.index("-e") + 1].split(","), shlex.join(words[4:])
        *_, words = (shlex.split(re.sub(r"\{posargs(:[^}]*)?\}", rest, TOX[name])) for name in environments)
    if words[0] == "outlive":
        with click.Context(cli) as context:
            parsed = parse(context, words[1:])
        check(parsed, words)
    for word in words[1:]:
        if word.startswith(("benchmarks/", "loadtests/", "docs/")):
            assert (CHECKOUT / word).is_file()


def parse(context: click.Context, words: list[str]) -> dict[str, object]:
    """Return the parameters of a command line, as the verb gets them. Raises UsageError as the verb does."""
    name, verb, rest = cli.resolve_command(context, words)
    assert verb is not None
    return verb.make_context(name, rest, parent=context).params


def check(parsed: dict[str, object], words: list[str]) -> None:
    """Check what verbs look at only when they run: that stacks and scenarios are there."""
    if "--app" in words:
        return  # its scenarios and packages are a user's own
    patterns = parsed.get("patterns")
    if isinstance(patterns, tuple):
        scenarios.find(PROJECT.scenarios, patterns)
    for word in words:
        if "==" in word:
            stack = Stack.parse(word)
            assert stack.release in {one.version for one in Catalogue.load(PROJECT, stack.framework).releases}


def test_commands_of_locust_are_understood() -> None:
    """Also those on another machine, or in a network namespace."""
    line = re.compile(r"^(?:\w*\$|# ip netns exec \w+)\s+locust (.*)$", re.MULTILINE)
    texts = [text for page in PAGES for text in line.findall(page.read_text(encoding="utf-8"))]
    assert len(texts) >= 7
    words = [shlex.split(text, comments=True) for text in texts]
    argv = [sys.executable, "-c", PARSED_BY_LOCUST, str(CHECKOUT / "loadtests" / "locustfile.py")]
    done = processes.run(argv, text=json.dumps(words), timeout=120, cwd=CHECKOUT)
    assert done.returncode == 0, done.stderr
