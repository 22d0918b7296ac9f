"""Remedies, which are said to reduce what requests leave, and practices, which are said to add to it.

Both are functions in files. A function without parameters is called before the app is imported. A function
that takes the app is called once the app is loaded; if it returns something, that is served instead. The
packages that a file needs are in its script metadata (PEP 723), without versions: the stack decides those.
`apps/<framework>/remedies.toml` describes the built-in ones; a user's are named as `FILE.py:function`. A
remedy, like the gc policy, is part of what is measured: its results are stored apart.
"""

from __future__ import annotations

import ast
import functools
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
"""The metadata of a script, as in PEP 723."""


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
        listed = decode_toml(read_bytes(path), _File).remedy
        names = [remedy.name for remedy in listed]
        for remedy in listed:
            SpecifierSet(remedy.versions)
            if names.count(remedy.name) > 1:
                raise ValueError(f"two are named {remedy.name}")
            if bool(remedy.versions) != bool(remedy.needs):
                raise ValueError(f"{remedy.name}: `versions` and `needs` go together")
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, InvalidSpecifier, msgspec.ValidationError, UsageError) as error:
        raise UsageError(f"{path}: not a file of remedies: {one_line(str(error))}") from None
    return tuple(_resolved(remedy, path.parent) for remedy in listed)


def find(project: Project, framework: str, name: str) -> Remedy:
    """Return the remedy named `name`. Raises UsageError with the nearest names if there is none."""
    by_name = {remedy.name: remedy for remedy in load(project, framework)}
    if name not in by_name:
        raise UsageError(f"no remedy {name!r} for {framework}; try {nearest(name, by_name)}")
    return by_name[name]


def practice(words: str, folder: Path) -> Remedy:
    """Return the practice that `FILE.py:function` names; a relative path starts in `folder`.

    Raises UsageError if there is no such file or function, or its script metadata are malformed.
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
    """Return one practice that combines all that `words` name, or None without words.

    A word is the name of a built-in remedy, or `FILE.py:function`; they are applied in this order. A relative
    path starts in `folder` (default: the current one). Raises UsageError as `find` and `practice` do.
    """
    folder = folder or Path.cwd()
    parts = [practice(word, folder) if ".py" in word else find(project, framework, word) for word in words]
    if len(parts) <= 1:
        return parts[0] if parts else None
    for part in parts:
        if part.unsupported:
            raise UsageError(f"{part.name} does not apply to {framework}: {part.unsupported}")
    versions = ",".join(filter(None, (part.versions for part in parts)))
    return Remedy(
        name="+".join(part.name for part in parts),
        summary="; ".join(part.summary for part in parts),
        kind="practice",
        arguments=tuple(word for part in parts for word in part.arguments),
        packages=tuple(dict.fromkeys(package for part in parts for package in part.packages)),
        versions=versions,
        needs="; ".join(part.needs for part in parts if part.needs) or None,
        answers={name: answers for part in parts for name, answers in part.answers.items()},
        functions=tuple(function for part in parts for function in part.functions),
        digest=hashlib.sha256(" ".join(part.key for part in parts).encode()).hexdigest()[:8],
    )


def expecting(scenario: Scenario, remedy: Remedy | None) -> Scenario:
    """Return the scenario with the answers that are right when `remedy` is applied."""
    answers = remedy.answers if remedy else {}
    return msgspec.structs.replace(scenario, expect=answers.get(scenario.name, scenario.expect))


def served(app: App, remedy: Remedy) -> App:
    """Return `app` with workers that apply `remedy`."""
    return msgspec.structs.replace(app, workers=with_practice(app.workers, remedy))


def with_practice(workers: Sequence[Worker], remedy: Remedy) -> tuple[Worker, ...]:
    """Return workers that apply `remedy` after what they already apply."""
    added = remedy.arguments
    if remedy.functions:
        added = (*added, "--env", f"{VARIABLE}={chr(10).join(remedy.functions)}")
    return tuple(msgspec.structs.replace(worker, arguments=(*worker.arguments, *added)) for worker in workers)


def _resolved(remedy: Remedy, folder: Path) -> Remedy:
    """Return a built-in remedy with the function that its entry names, and the packages that it needs."""
    if remedy.function is None:
        return remedy
    path, function, text = _function(remedy.function, folder)
    return msgspec.structs.replace(
        remedy, functions=(f"{path}:{function.name}",), packages=_needs(path, text)
    )


def _function(words: str, folder: Path) -> tuple[Path, ast.FunctionDef, str]:
    """Return the file that `words` name, its function, and its text."""
    file, _, name = words.rpartition(":")
    if not file.endswith(".py"):
        raise UsageError(f"{one_line(words)}: a practice is FILE.py:function, as in tracing.py:tracing")
    path = (folder / file).resolve()
    try:
        text = read_text(path)
        tree = _tree(text)
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


@functools.cache  # many practices are functions of one file
def _tree(text: str) -> ast.Module:
    return ast.parse(text)


def _needs(path: Path, text: str) -> tuple[str, ...]:
    """Return the packages that a file's script metadata name."""
    script = SCRIPT.search(text)
    if script is None:
        return ()
    toml = "".join(line.removeprefix("#").removeprefix(" ") for line in script[1].splitlines(keepends=True))
    try:
        needed = decode_toml(toml, _Script).dependencies
        for requirement in needed:
            Requirement(requirement)
    except (msgspec.DecodeError, InvalidRequirement) as error:
        raise UsageError(f"{path}: its script metadata are none: {one_line(str(error))}") from None
    return needed
