"""What docs/paths.md quotes: what each default scenario alone finds over the stored history."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from outlive.markdown import table
from outlive.project import Project
from outlive.replay.store import read
from outlive.service import scenarios

HERE = Path(__file__).parent
HEADER = ("scenario", "stacks", "rings and paths", "shown by no other scenario")


def only_it() -> str:
    """Return a table: rings and paths of references (fingerprints) that a scenario shows, and it alone."""
    project = Project(HERE.parents[1])
    shown: dict[str, set[tuple[str, str]]] = defaultdict(set)
    stacks: dict[str, int] = defaultdict(int)
    for path in sorted((project.published / "measurements").glob("*/*/*.json")):
        of_stack: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for m in read(path).measurements:
            of_stack[m.scenario].update((m.framework, fingerprint) for fingerprint in m.fingerprints)
        for scenario, found in of_stack.items():
            stacks[scenario] += 1
            shown[scenario] |= found
    default = [one.name for one in scenarios.load_set(project.scenarios, "default") if stacks[one.name]]
    rows = []
    for name in default:
        others = set().union(*(shown[other] for other in default if other != name))
        rows.append([name, str(stacks[name]), str(len(shown[name])), str(len(shown[name] - others))])
    return "\n".join(table(HEADER, rows, right=3))
