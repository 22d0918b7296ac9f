"""The counter in code of your own: in a service (`start`, `ask`, `read`, `prometheus`), and in tests.

Importing this does nothing, and imports nothing but the standard library; what it offers is imported when it
is asked for, since each run of pytest imports the plugin beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlive.probe.monitor import start, stop
    from outlive.probe.readings import Reading, ask, prometheus, read

__all__ = ["Reading", "ask", "prometheus", "read", "start", "stop"]


def __getattr__(name: str) -> Any:
    """Return what one of the modules has under a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlive.probe import monitor, readings  # noqa: PLC0415 - see above

    return getattr(monitor if name in ("start", "stop") else readings, name)
