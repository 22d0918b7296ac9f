"""What the automatic collector costs: how long it stops the worker."""

from ._harness import Measured, tracked

UNIT = "ms/1,000 requests"
ON = ("on",)


class Aiohttp(Measured):
    """The collector under aiohttp."""

    track_gc_pause = tracked("aiohttp", "gc pauses", "collector.pause_ms_per_1000_requests", UNIT, ON)


class Flask(Measured):
    """The collector under Flask."""

    track_gc_pause = tracked("flask", "gc pauses", "collector.pause_ms_per_1000_requests", UNIT, ON)
