"""Memory of the served worker: blocks and C heap that requests leave, peak resident memory. Noisy."""

from ._harness import publish

POLICIES = {"gc": ("on", "off")}

publish(
    __name__,
    Blocks={
        **POLICIES,
        "what": "allocated blocks",
        "reading": "blocks_per_request",
        "unit": "blocks/request",
    },
    Heap={**POLICIES, "what": "C heap", "reading": "heap_bytes_per_request", "unit": "bytes/request"},
    PeakRss={**POLICIES, "what": "peak memory of the worker", "reading": "peak_rss_bytes", "unit": "bytes"},
)
