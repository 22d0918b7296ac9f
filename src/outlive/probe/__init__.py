"""The counter in code of your own: in a service (`start`, `ask`, `read`, `prometheus`), and in tests.

Importing this does nothing, and imports nothing but the standard library; what it offers comes from
`outlive.probe.monitor` when it is asked for, since each run of pytest imports the plugin beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from outlive.probe.monitor import Reading, ask, prometheus, read, start, stop

__all__ = ["Reading", "ask", "prometheus", "read", "start", "stop"]


def __getattr__(name: str) -> Any:
    """Return what `outlive.probe.monitor` has under a public name."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from outlive.probe import monitor  # noqa: PLC0415 - see above

    return getattr(monitor, name)
