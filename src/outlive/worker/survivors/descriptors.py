"""Tries the cached properties of extension modules: some keep a reference to each value that they return.

Runs in the worker after all else. Where C code forgets to give a reference back, nothing that the collector
sees holds the object, and its type does not tell whose code it was. A property that is tried on a value of
ours does.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRIES = 5
"""Times that a property is asked: one that leaks keeps as many references."""
EXTENSIONS = (".so", ".pyd")


def leaking() -> list[str]:
    """Return the dotted names of the descriptor types of extension modules that leak what they return."""
    kinds: dict[type, None] = {}
    for obj in gc.get_objects():
        if issubclass(type(obj), type):  # isinstance would ask a lazy object, which runs the app's code
            for value in list(type.__getattribute__(obj, "__dict__").values()):
                kinds.setdefault(type(value))
    return sorted(
        f"{kind.__module__}.{kind.__qualname__}" for kind in kinds if _is_foreign(kind) and _leaks(kind)
    )


def _is_foreign(kind: type) -> bool:
    """Return whether a type is a descriptor of an extension module that is installed."""
    path = getattr(sys.modules.get(str(kind.__module__)), "__file__", None) or ""
    return hasattr(kind, "__get__") and path.endswith(EXTENSIONS) and "site-packages" in path


def _leaks(kind: Any) -> bool:
    """Return whether a descriptor that is made of a function keeps references to what that returns."""
    value: list[Any] = []

    def tried(_: object) -> Any:
        return value

    try:
        owner = type("Owner", (), {"tried": kind(tried)})
        before = sys.getrefcount(value)
        for _ in range(TRIES):
            instance = owner()
            instance._cache = {}
            if instance.tried is not value:
                return False
            del instance
        return sys.getrefcount(value) - before >= TRIES
    except Exception:  # noqa: BLE001 - it is no cached property, whatever it says to that
        return False
