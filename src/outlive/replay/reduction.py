"""Reduction: a program without everything that it does not need to show what it shows.

Statements, elements of lists, keyword arguments and exception handlers are taken away in ever smaller parts
(Zeller's delta debugging); what nothing refers to any more goes with them.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections.abc import Callable

Shows = Callable[[str], bool]


def reduce(source: str, keep: str, shows: Shows, trials: int) -> str:
    """Return what is left of `source` for which `shows` is still true, after at most so many trials.

    The function named `keep` stays. Comments and docstrings go.
    """
    whole = ast.parse(source)
    removed: set[int] = set()
    text = _without(whole, removed, keep)
    candidates = _candidates(whole)
    part = len(candidates)
    while part > 1 and trials > 0:
        part = -(-part // 2)
        left = [number for number in candidates if number not in removed]
        for start in range(0, len(left), part):
            trial = removed | set(left[start : start + part])
            smaller = _without(whole, trial, keep)
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
    """Return the numbers, in the order of `ast.walk`, of all nodes that can be taken away; the last first."""
    numbers = {id(node): number for number, node in enumerate(ast.walk(tree))}
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.List):
            found.update(numbers[id(element)] for element in node.elts)
        elif isinstance(node, ast.Call):
            found.update(numbers[id(keyword)] for keyword in node.keywords)
        elif isinstance(node, (ast.stmt, ast.ExceptHandler)) and not isinstance(node, ast.Return):
            found.add(numbers[id(node)])
    return sorted(found, reverse=True)


def _without(tree: ast.Module, removed: set[int], keep: str) -> str:
    """Return the program without the nodes of these numbers, and without what is then not referred to."""
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
        """Return the node without what is to go; None if it is to go itself."""
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
    """Drop a definition or import at the top that nothing else refers to; return whether there was one."""
    for place, node in enumerate(tree.body):
        defined = _defined(node)
        others = [other for other in tree.body if other is not node]
        if defined and keep not in defined and not defined & set().union(*map(_used, others)):
            del tree.body[place]
            return True
        if isinstance(node, (ast.Import, ast.ImportFrom)) and len(node.names) > 1:
            used = set().union(*map(_used, others))
            unused = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) not in used]
            if unused:
                node.names.remove(unused[0])
                return True
    return False


def _undefined(text: str) -> set[str]:
    """Return the names that a program refers to and nothing in it binds."""
    bound = set(dir(builtins))
    used = set()
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.AsyncFunctionDef(name=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=alias):
                bound.add(alias or name.partition(".")[0])
    return used - bound


def _defined(node: ast.stmt) -> set[str]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.Assign():
            return {target.id for target in node.targets if isinstance(target, ast.Name)}
        case ast.Import() | ast.ImportFrom():
            return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return set()


def _used(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
