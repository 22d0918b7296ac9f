"""Measure what framework releases leave in memory after failed requests, and compare them.

The verbs are also functions, loaded when first used: see `outlive.api`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlive.api import compare, explain, gate, leaks, load, measure, report

__all__ = ["compare", "explain", "gate", "leaks", "load", "measure", "report"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Return a function of `outlive.api` under its public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlive import api  # noqa: PLC0415 - see above

    return getattr(api, name)
