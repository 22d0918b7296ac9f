"""The commands that make the comparison of a report again. Pure."""

from __future__ import annotations

import shlex

from outlive.comparison.pair import Comparison, Side
from outlive.reports.evidence import Evidence
from outlive.wording import number, one_line


def exact(evidence: Evidence, comparison: Comparison) -> str:
    """Return the command that measured, or one that measures the same again."""
    return evidence.command or f"outlive report {_pair(comparison)} --fresh"


def under_load(evidence: Evidence, comparison: Comparison) -> str:
    """Return the command that compares under load, with the same traffic if that was done before."""
    comparisons = evidence.loads.comparisons
    policies = [load.deployment.gc for load in comparisons] or ["on", "off"]
    words = [f"outlive compare {_pair(comparison)} --load", *(f"--gc {gc}" for gc in policies)]
    if comparisons:
        first, traffic = comparisons[0], comparisons[0].traffic
        words += [f"--user {traffic.user} --connection {traffic.connection} --clients {traffic.clients}"]
        words += [f"--requests {traffic.requests}"] if traffic.requests else []
        words += [f"--rate {number(traffic.rate)}"] if traffic.rate else []
        words += [f"--rounds {first.rounds}", f"--worker {first.deployment.worker}"]
        words += [f"--scenario {shlex.quote(pattern)}" for pattern in traffic.scenarios]
    return " ".join(words)


def _pair(comparison: Comparison) -> str:
    """Return the words of a command that name both sides and the practices."""
    names = (comparison.after.stack.practice or "").split("+")
    return _stacks(comparison) + "".join(f" --with-practice {one_line(name)}" for name in names if name)


def _stacks(comparison: Comparison) -> str:
    sides = [_words(comparison, side) for side in (comparison.before, comparison.after)]
    framework = comparison.after.stack.framework
    if any("," in side for side in sides):
        return " ".join(sides)
    before, after = (side.removeprefix(f"{framework}==") for side in sides)
    return f"{framework} {before} {after} --python {comparison.after.stack.python}"


def _words(comparison: Comparison, side: Side) -> str:
    stack = side.stack
    asked = [difference.package for difference in comparison.differences if difference.asked]
    pins = [str(package) for package in stack.packages if package.name in asked]
    python = (
        [f"python=={stack.python}"] if comparison.before.stack.python != comparison.after.stack.python else []
    )
    return ",".join([f"{stack.framework}=={stack.release}", *pins, *python])
