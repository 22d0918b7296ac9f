"""Remedies, which are said to reduce what requests leave, and practices, which are said to add to it.

Both are functions in files. One that takes nothing is called before the app is imported; one that takes the
app is called once that is loaded, and what it returns, if anything, is served instead. The packages that a
file needs are its script metadata (PEP 723), without versions: those are up to the stack.
`apps/<framework>/remedies.toml` describes ours; a user's are named as `FILE.py:function`. A remedy, like the
gc policy, is part of what is measured: its results are stored apart.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from outlive.errors import UsageError
from outlive.files import decode_toml, read_bytes, read_text
from outlive.project import Project
from outlive.records.remedy import Remedy
from outlive.service.app import App, Worker
from outlive.service.scenarios import Scenario
from outlive.wording import nearest, one_line

VARIABLE = "OUTLIVE_PRACTICES"
SCRIPT = re.compile(r"^# /// script$\n((?:^#(?:| .*)$\n)+?)^# ///$", re.MULTILINE)
"""The metadata of a script, as PEP 723 has it."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    remedy: tuple[Remedy, ...]


class _Script(msgspec.Struct, frozen=True):
    dependencies: tuple[str, ...] = ()


def load(project: Project, framework: str) -> tuple[Remedy, ...]:
    """Return the remedies of `framework` in the file's order; none if it has no such file.

    Raises UsageError if the file does not have the form that the comment at its top describes.
    """
    path = project.apps / framework / "remedies.toml"
    try:
        found = decode_toml(read_bytes(path), _File).remedy
        names = [remedy.name for remedy in found]
        for remedy in found:
            SpecifierSet(remedy.versions)
            if names.count(remedy.name) > 1:
                raise ValueError(f"two are named {remedy.name}")
            if bool(remedy.versions) != bool(remedy.needs):
                raise ValueError(f"{remedy.name}: `versions` and `needs` go together")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, InvalidSpecifier, msgspec.ValidationError, UsageError) as error:
        raise UsageError(f"{path}: not a file of remedies: {one_line(str(error))}") from None
    return tuple(_resolved(remedy, path.parent) for remedy in found)


def find(project: Project, framework: str, name: str) -> Remedy:
    """Return the remedy named `name`. Raises UsageError with the nearest names if there is none."""
    known = {remedy.name: remedy for remedy in load(project, framework)}
    if name not in known:
        raise UsageError(f"no remedy {name!r} for {framework}; try {nearest(name, known)}")
    return known[name]


def practice(words: str, folder: Path) -> Remedy:
    """Return the practice that `FILE.py:function` names; a relative path is one in `folder`.

    Raises UsageError where there is no such file or function, or its script metadata are none.
    """
    path, function, text = _function(words, folder)
    name = f"{path.name}:{function.name}"
    return Remedy(
        name=name,
        summary=(ast.get_docstring(function) or name).partition("\n")[0],
        kind="practice",
        packages=_needs(path, text),
        functions=(f"{path}:{function.name}",),
        digest=hashlib.sha256(text.encode()).hexdigest()[:8],
    )


def practices(
    project: Project, framework: str, words: Sequence[str], folder: Path | None = None
) -> Remedy | None:
    """Return all that several words name, as one: a remedy of ours, or `FILE.py:function`; None without any.

    They are applied in this order. A relative path is one in `folder`, or in the current one. Raises
    UsageError as `find` and `practice` do.
    """
    folder = folder or Path.cwd()
    each = [practice(one, folder) if ".py" in one else find(project, framework, one) for one in words]
    if len(each) <= 1:
        return each[0] if each else None
    for one in each:
        if one.unsupported:
            raise UsageError(f"{one.name} does not apply to {framework}: {one.unsupported}")
    versions = ",".join(filter(None, (one.versions for one in each)))
    return Remedy(
        name="+".join(one.name for one in each),
        summary="; ".join(one.summary for one in each),
        kind="practice",
        arguments=tuple(word for one in each for word in one.arguments),
        packages=tuple(dict.fromkeys(package for one in each for package in one.packages)),
        versions=versions,
        needs="; ".join(one.needs for one in each if one.needs) or None,
        answers={name: answers for one in each for name, answers in one.answers.items()},
        functions=tuple(function for one in each for function in one.functions),
        digest=hashlib.sha256(" ".join(one.key for one in each).encode()).hexdigest()[:8],
    )


def expecting(scenario: Scenario, remedy: Remedy | None) -> Scenario:
    """Return the scenario with the answers that are right when `remedy` is applied."""
    answers = remedy.answers if remedy else {}
    return msgspec.structs.replace(scenario, expect=answers.get(scenario.name, scenario.expect))


def served(app: App, remedy: Remedy) -> App:
    """Return `app` with workers that apply `remedy`."""
    return msgspec.structs.replace(app, workers=with_practice(app.workers, remedy))


def with_practice(workers: Sequence[Worker], remedy: Remedy) -> tuple[Worker, ...]:
    """Return workers that apply `remedy`, after what they apply already."""
    added = remedy.arguments
    if remedy.functions:
        added = (*added, "--env", f"{VARIABLE}={chr(10).join(remedy.functions)}")
    return tuple(msgspec.structs.replace(worker, arguments=(*worker.arguments, *added)) for worker in workers)


def _resolved(remedy: Remedy, folder: Path) -> Remedy:
    """Return one of ours with the function that its entry names, and what that needs."""
    if remedy.function is None:
        return remedy
    path, function, text = _function(remedy.function, folder)
    return msgspec.structs.replace(
        remedy, functions=(f"{path}:{function.name}",), packages=_needs(path, text)
    )


def _function(words: str, folder: Path) -> tuple[Path, ast.FunctionDef, str]:
    """Return the file, its function and its text."""
    file, _, name = words.rpartition(":")
    if not file.endswith(".py"):
        raise UsageError(f"{one_line(words)}: a practice is FILE.py:function, as in tracing.py:tracing")
    path = (folder / file).resolve()
    try:
        text = read_text(path)
        tree = ast.parse(text)
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{path} is not Python: {one_line(str(error))}") from None
    functions = {
        node.name: node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    }
    if name not in functions:
        near = nearest(name, functions) or "it has none"
        raise UsageError(f"{path} has no function {name!r}; try {near}")
    return path, functions[name], text


def _needs(path: Path, text: str) -> tuple[str, ...]:
    """Return the packages that a file's script metadata name."""
    found = SCRIPT.search(text)
    if found is None:
        return ()
    toml = "".join(line.removeprefix("#").removeprefix(" ") for line in found[1].splitlines(keepends=True))
    try:
        needed = decode_toml(toml, _Script).dependencies
        for one in needed:
            Requirement(one)
    except (msgspec.DecodeError, InvalidRequirement) as error:
        raise UsageError(f"{path}: its script metadata are none: {one_line(str(error))}") from None
    return needed
