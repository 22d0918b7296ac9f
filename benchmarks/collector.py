"""What the automatic collector costs: how long it stops the worker. Noisy."""

from ._harness import publish

publish(
    __name__,
    Pauses={
        "what": "gc pauses",
        "reading": "collector.pause_ms_per_1000_requests",
        "unit": "ms/1,000 requests",
        "gc": "on",
    },
)
