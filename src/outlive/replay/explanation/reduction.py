"""Reduces a program to what it needs to show an effect.

Statements, list elements, keyword arguments and exception handlers are removed in ever smaller parts
(Zeller's delta debugging), together with definitions that nothing uses any more.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Callable

Shows = Callable[[str], bool]


def reduce(source: str, keep: str, shows: Shows, trials: int) -> str:
    """Return a reduced `source` for which `shows` is still true, after at most `trials` calls of it.

    The function named `keep` stays. Comments and docstrings are dropped.
    """
    program = ast.parse(source)
    removed: set[int] = set()
    text = _without(program, removed, keep)
    candidates = _candidates(program)
    part = len(candidates)
    while part > 1 and trials > 0:
        part = -(-part // 2)
        left = [number for number in candidates if number not in removed]
        for start in range(0, len(left), part):
            trial = removed | set(left[start : start + part])
            smaller = _without(program, trial, keep)
            if smaller == text:
                removed = trial
            elif trials > 0 and not _undefined(smaller):
                trials -= 1
                if shows(smaller):
                    removed, text = trial, smaller
        if part == 1:
            break
    return text


def _candidates(tree: ast.Module) -> list[int]:
    """Return the numbers (in the order of `ast.walk`) of all nodes that can be removed, last first."""
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    removable: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.List):
            removable.update(numbers[id(element)] for element in node.elts)
        elif isinstance(node, ast.Call):
            removable.update(numbers[id(keyword)] for keyword in node.keywords)
        elif isinstance(node, (ast.stmt, ast.ExceptHandler)) and not isinstance(node, ast.Return):
            removable.add(numbers[id(node)])
    return sorted(removable, reverse=True)


def _without(tree: ast.Module, removed: set[int], keep: str) -> str:
    """Return the program without the nodes of these numbers and what is then unused."""
    smaller = copy.deepcopy(tree)
    gone = {id(node) for number, node in enumerate(ast.walk(smaller)) if number in removed}
    _Remover(gone).visit(smaller)
    while _drop_unused(smaller, keep):
        pass
    return ast.unparse(ast.fix_missing_locations(smaller))


class _Remover(ast.NodeTransformer):
    def __init__(self, gone: set[int]) -> None:
        self.gone = gone

    def visit(self, node: ast.AST) -> ast.AST | list[ast.AST] | None:
        """Return the node without its removed parts, or None if the node itself is removed."""
        if id(node) in self.gone:
            return None
        self.generic_visit(node)
        if isinstance(node, ast.Try) and not node.handlers and not node.finalbody:
            return list(node.body)
        body = getattr(node, "body", None)
        if isinstance(body, list):
            if body and _is_docstring(body[0]):
                del body[0]
            if not body and not isinstance(node, ast.Module):
                body.append(ast.Pass())
        return node


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _drop_unused(tree: ast.Module, keep: str) -> bool:
    """Drop one top-level definition or import that nothing uses; return whether there was one."""
    for place, node in enumerate(tree.body):
        defined = _defined(node)
        rest = [statement for statement in tree.body if statement is not node]
        if defined and keep not in defined and not defined & set().union(*map(_used, rest)):
            del tree.body[place]
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)) and len(node.names) > 1:
            used = set().union(*map(_used, rest))
            unused = [alias for alias in node.names if bound_by(alias) not in used]
            if unused:
                node.names.remove(unused[0])
                return True
    return False


def _undefined(text: str) -> set[str]:
    """Return the names that a program uses and does not bind."""
    bound = set(dir(builtins))
    used = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case _:
                bound |= _defined(node)
    return used - bound


def _defined(node: ast.AST) -> set[str]:
    """Return the names that a definition, an assignment or an import binds."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign():
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        case ast.Import() | ast.ImportFrom():
            return set(map(bound_by, node.names))
    return set()


def bound_by(imported: ast.alias) -> str:
    """Return the name that an import binds."""
    return imported.asname or imported.name.partition(".")[0]


def _used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
