"""What the automatic collector costs: how long it stops the worker."""

from ._harness import publish

publish(
    __name__,
    "The collector under {}.",
    track_gc_pause={
        "what": "gc pauses",
        "reading": "collector.pause_ms_per_1000_requests",
        "unit": "ms/1,000 requests",
        "policies": ("on",),
    },
)
