"""The counter in code of your own: in a service (`start`, `ask`, `read`, `prometheus`), and in tests.

Importing this package does nothing and imports only the standard library: every run of pytest imports the
plugin in it. Its names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlive.probe.monitor import start, stop
    from outlive.probe.readings import Reading, ask, prometheus, read

__all__ = ["Reading", "ask", "prometheus", "read", "start", "stop"]


def __getattr__(name: str) -> Any:
    """Import and return a public name of the package."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlive.probe import monitor, readings  # noqa: PLC0415 - see above

    return getattr(monitor if name in ("start", "stop") else readings, name)
